"""A background set as removal: what is removed is filled from each of many rows, and the outputs
are averaged, as in the interventional Shapley expectation (Lundberg and Lee 2017, equation 11)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.explainers.engine import Engine
from harness.explainers.models.images import PixelReading
from harness.explainers.models.inputs import InputReading
from harness.explainers.models.model import Model, Scale, transformed
from harness.explainers.models.reading import ArrayPart, Reading, Removal, Size, TextPart
from harness.explainers.models.tensors import TensorModel, TensorReading
from harness.explainers.targets import Target, Targets
from harness.explainers.units.slots import Slots
from harness.records import HarnessError, Part, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.explainers.division import Division

_AS_IT_IS = Removal("mask")  # of readings of which nothing is removed


@dataclass(frozen=True, eq=False)
class BackgroundReading:
    """A sample, and a reading of it for each background row, which fills what is removed."""

    whole: Reading
    filled: tuple[Reading, ...]

    @property
    def rows(self) -> int:
        """How many inputs a value of a set of units is the mean of."""
        return len(self.filled)

    sample = property(lambda self: self.whole.sample)
    input = property(lambda self: self.whole.input)
    parts = property(lambda self: self.whole.parts)
    fixed = property(lambda self: self.whole.fixed)
    notes = property(lambda self: self.whole.notes)

    def sizes(self, kept: NDArray[np.bool_]) -> Sequence[Size]:
        """Those of the first row's inputs."""
        return self.filled[0].sizes(kept)

    def left(self, kept: NDArray[np.bool_]) -> Any:
        """The first row's input; the engine asks each row."""
        return self.filled[0].left(kept)


@dataclass(frozen=True, eq=False)
class SlotReading:
    """A filled template in which removed slots are filled from another row."""

    model: Any
    reading: Any
    spans: tuple[tuple[int, int], ...]
    fillers: tuple[str, ...]

    sample = property(lambda self: self.reading.sample)
    input = property(lambda self: self.reading.input)
    parts = property(lambda self: self.reading.parts)
    fixed = property(lambda self: self.reading.fixed)
    notes = property(lambda self: self.reading.notes)

    def sizes(self, kept: NDArray[np.bool_]) -> list[Size]:
        """Texts filled anew are of lengths of their own."""
        return [self._read(row).sizes(self._all(row))[0] for row in kept]

    def left(self, kept: NDArray[np.bool_]) -> Any:
        """The whole of the text filled anew."""
        reading = self._read(kept)
        return reading.left(self._all(kept)[0])

    def _read(self, kept: NDArray[np.bool_]) -> Any:
        (part,) = self.parts
        text, end = "", 0
        for (start, stop), filler in zip(self.spans, self.fillers, strict=True):
            mine = [
                bool(keep)
                for keep, (first, _) in zip(kept, part.spans, strict=True)
                if start <= first < stop
            ]
            own = part.text[start:stop] if all(mine) else filler
            text, end = text + part.text[end:start] + own, stop
        return self.model.read(Sample(self.sample, (Part(text + part.text[end:]),)), _AS_IT_IS)

    def _all(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        import numpy as np

        return np.ones((1, len(self._read(kept).fixed)), dtype=bool)


class OverBackground:
    """A model whose values of a set of units are means over background rows, on the scale that
    `output` names.

    `rows` are tensors, arrays or a frame with one row each, as the model's own inputs are (a tuple
    or a mapping of several where it takes several); images, for a model of images; or the texts of
    the unit `slots`, for one of texts. Raises `HarnessError` for rows that do not fit.
    """

    scale: Scale = "value"

    def __init__(self, model: Any, rows: Any, output: str, kinds: Mapping[str, Any]) -> None:
        self.inner, self.output = model, output
        self.name = f"{model.name} over a background set"
        self.revision, self.tokens = model.revision, model.tokens
        slots = [kind for kind in kinds.values() if isinstance(kind, Slots)]
        self._slots = slots[0] if slots else None
        self._rows = _rows_of(model, rows)
        hashed = hashlib.sha256()
        _feed(self._rows, hashed)
        self.shown = {"rows": len(self._rows), "sha256": hashed.hexdigest()}
        """What a record says of the rows: how many there are, and their hash."""
        if hasattr(model, "targets"):
            self.targets = self._targets

    def read(self, sample: Sample, removal: Removal) -> BackgroundReading:  # noqa: ARG002
        """The sample with each row behind it."""
        whole = self.inner.read(sample, _AS_IT_IS)
        filled = tuple(self._filled(whole, row, place) for place, row in enumerate(self._rows))
        return BackgroundReading(whole, filled)

    def columns(self, reading: BackgroundReading) -> Sequence[str]:
        """As of the model itself."""
        found: Sequence[str] = self.inner.columns(reading.whole)
        return found

    def outputs(self, left: Sequence[Any]) -> Iterable[NDArray[np.float64]]:
        """As of the model itself; the engine averages them."""
        found: Iterable[NDArray[np.float64]] = self.inner.outputs(left)
        return found

    def _targets(self, reading: BackgroundReading, target: Target) -> Targets:
        found: Targets = self.inner.targets(reading.whole, target)
        return found

    def _filled(self, whole: Any, row: Any, place: int) -> Any:
        where = f"background row {place}"
        if isinstance(whole, TensorReading):
            return replace(whole, fillers=_fitting(whole.parts, row, where))
        if any(isinstance(part, TextPart) for part in whole.parts):
            return self._in_slots(whole, row, where)
        arrays = [part.array for part in self.inner.read(row, _AS_IT_IS).parts]
        fillers = _fitting(whole.parts, arrays, where)
        if isinstance(whole, PixelReading):
            return replace(whole, filler=fillers[0])
        if isinstance(whole, InputReading):
            return replace(whole, fillers=fillers)
        raise HarnessError(f"{self.inner.name} takes no background set; use a baseline")

    def _in_slots(self, whole: Any, row: Sample, where: str) -> SlotReading:
        if self._slots is None or len(whole.parts) != 1:
            raise HarnessError(
                "a background set of texts fills the slots of a template; divide the text by unit "
                "slots, or use another removal"
            )
        spans = self._slots.split(whole.parts[0].text, whole.sample)
        others = self._slots.split(row.text, where)
        fillers = tuple(row.text[start:stop] for start, stop in others)
        return SlotReading(self.inner, whole, spans, fillers)


class BackgroundEngine(Engine):
    """Values of sets as means over background rows; an input that several rows or sets come to is
    evaluated once."""

    model: Any

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._shared: dict[int, tuple[Reading, dict[bytes, NDArray[np.float64]]]] = {}

    def outputs_of(
        self, questions: Sequence[tuple[Reading, Division, NDArray[np.bool_]]]
    ) -> list[NDArray[np.float64]]:
        """Means over the rows, sets x columns, of outputs on the scale of the question."""
        import numpy as np

        asked = []
        for reading, division, sets in questions:
            assert isinstance(reading, BackgroundReading)
            for one in reading.filled:
                self._shared.setdefault(id(one), (one, super()._cache(reading)))
                asked.append((one, division, sets))
        answers = iter(super().outputs_of(asked))
        means = []
        for reading, _, _ in questions:
            mine = [next(answers) for _ in range(reading.rows)]  # type: ignore[attr-defined]
            inner = self.model.inner
            scaled = [transformed(one, inner.scale, self.model.output, np) for one in mine]
            means.append(np.mean(scaled, axis=0))
        return means

    def _cache(self, reading: Reading) -> dict[bytes, NDArray[np.float64]]:
        return self._shared[id(reading)][1]

    def _key(self, reading: Reading, kept: NDArray[np.bool_]) -> bytes:
        return _content_hash(reading.left(kept))


def _rows_of(model: Model, rows: Any) -> list[Any]:
    """Each row as fillers of a model of tensors, or as a sample."""
    import numpy as np

    if isinstance(model, TensorModel):
        given = list(rows.values()) if isinstance(rows, Mapping) else rows
        several = list(given) if isinstance(given, list | tuple) and _arrays(given) else [given]
        arrays = [_array(one) for one in several]
        if any(one.ndim < 2 for one in arrays) or len({len(one) for one in arrays}) != 1:
            raise HarnessError(
                f"the background set of {model.name} is an array with one row each, "
                "as its inputs are"
            )
        return [[model.placed(one[row]) for one in arrays] for row in range(len(arrays[0]))]
    from harness.explainers.models.choose import samples_of

    if isinstance(rows, np.ndarray | Mapping) or not isinstance(rows, Iterable):
        raise HarnessError(
            f"the background set of {model.name} is a list of inputs as it takes them"
        )
    return samples_of(list(rows))


def _arrays(given: Sequence[Any]) -> bool:
    return len(given) > 0 and all(hasattr(one, "ndim") and one.ndim > 1 for one in given)


def _array(one: Any) -> NDArray[Any]:
    import numpy as np

    if hasattr(one, "to_numpy"):
        one = one.to_numpy()
    return np.asarray(one.detach().cpu() if hasattr(one, "detach") else one)


def _fitting(
    parts: Sequence[Any], arrays: Sequence[NDArray[Any]], where: str
) -> tuple[NDArray[Any], ...]:
    """The arrays as what fills these parts. Raises `HarnessError` where their shapes differ."""
    wanted = [part.array.shape for part in parts if isinstance(part, ArrayPart)]
    found = [array.shape for array in arrays]
    if found != wanted:
        shapes = [" and ".join(" x ".join(map(str, one)) for one in two) for two in (found, wanted)]
        raise HarnessError(f"{where} is {shapes[0]}, where the sample is {shapes[1]}")
    return tuple(array.astype(part.array.dtype) for array, part in zip(arrays, parts, strict=True))


def _content_hash(content: Any) -> bytes:
    hashed = hashlib.blake2b(digest_size=16)
    _feed(content, hashed)
    return hashed.digest()


def _feed(content: Any, hashed: Any) -> None:
    """Hashes whatever a model is given, each thing behind its kind and size."""
    if isinstance(content, Sample):
        content = [part.media.sha256 if part.media else part.text for part in content.input]
    if isinstance(content, Mapping):
        content = [item for pair in content.items() for item in pair]
    elif is_dataclass(content) and not isinstance(content, type):
        content = [getattr(content, field.name) for field in fields(content)]
    elif hasattr(content, "convert") and hasattr(content, "size"):  # a picture of PIL
        import numpy as np

        content = np.asarray(content.convert("RGB"))
    if isinstance(content, list | tuple):
        hashed.update(f"list {len(content)};".encode())
        for one in content:
            _feed(one, hashed)
    elif hasattr(content, "to_numpy") or hasattr(content, "detach") or hasattr(content, "dtype"):
        array = _array(content)
        hashed.update(f"{array.dtype} {array.shape};".encode() + array.tobytes())
    else:
        data = str(content).encode("utf-8", "surrogatepass")
        hashed.update(f"{type(content).__name__} {len(data)};".encode() + data)
