"""Activations of a layer on disk: rows in shards, and of each row the sample and unit it is of.

Rows go to disk as they come, in safetensors files of a bounded size; `activations.json`, written
last, holds what they follow from. Nothing that fits a space needs more than a shard in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.concepts.layer import Layer
from harness.explainers.concepts.rows import BATCH
from harness.explainers.engine import Progress
from harness.explainers.models.choose import chosen_inputs, model_of
from harness.explainers.models.model import Model
from harness.identity import digest, file_hash
from harness.records import HarnessError, Sample, Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INDEX = "activations.json"
_VERSION = 1
_BLOCK = 64  # samples that are read together
_NONE = -1  # in the index, where a unit has no such place
DTYPES = ("float32", "float64", "float16")


@dataclass(frozen=True)
class _Shard:
    """One file: its name, its rows, and how many rows lie in the shards before it."""

    file: str
    rows: int
    before: int


class Activations:
    """Activations in a folder, opened: an iterable of shards (rows x width), and `Rows` to fit.

    `layer` and `at` say where they were taken, `revision` is the hash of the model, `samples` are
    the samples' ids, `key` hashes all that the rows follow from. Raises `HarnessError` for a folder
    without finished activations.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / INDEX
        if not path.is_file():
            raise HarnessError(f"there are no finished activations in {self.folder}; collect them")
        known: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if known.get("version") != _VERSION:
            raise HarnessError(
                f"{path} is of version {known.get('version')}, and this harness reads {_VERSION}; "
                "collect the activations again"
            )
        self.model, self.revision = str(known["model"]), str(known["revision"])
        self.layer, self.at = str(known["layer"]), str(known["at"])
        self.samples: tuple[str, ...] = tuple(known["samples"])
        self.settings: Mapping[str, Any] = known["settings"]
        self.key = digest({name: known[name] for name in known if name != "shards"})
        self._width = int(known["width"])
        self._shards: list[_Shard] = []
        for one in known["shards"]:
            self._shards.append(_Shard(one["file"], one["rows"], len(self)))

    @property
    def width(self) -> int:
        """Numbers a row."""
        return self._width

    def __len__(self) -> int:
        """Rows in all shards."""
        return self._shards[-1].before + self._shards[-1].rows if self._shards else 0

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Each shard's rows, rows x width."""
        for shard in self._shards:
            yield self._read(shard, "rows")

    def batches(self, size: int = BATCH, seed: int | None = None) -> Iterator[NDArray[Any]]:
        """All rows once, in batches of `size`, the last of which may be smaller: in their order, or
        with a `seed` shards and the rows of each in an order drawn from it."""
        import numpy as np

        rng = None if seed is None else np.random.default_rng(seed)
        order = np.arange(len(self._shards)) if rng is None else rng.permutation(len(self._shards))
        held: list[NDArray[Any]] = []
        count = 0
        for place in order:
            rows = self._read(self._shards[place], "rows")
            rows = rows if rng is None else rows[rng.permutation(len(rows))]
            held.append(rows)
            count += len(rows)
            if count < size:
                continue
            joined = np.concatenate(held) if len(held) > 1 else rows
            whole = count - count % size
            for start in range(0, whole, size):
                yield joined[start : start + size]
            held, count = [joined[whole:]], count - whole
        if count:
            yield np.concatenate(held)

    def take(self, rows: Sequence[int]) -> NDArray[Any]:
        """The rows at these places, in this order: rows x width."""
        import numpy as np

        found = np.empty((len(rows), self.width), dtype=self.settings["dtype"])
        for shard, mine, inside in self._where(rows):
            found[mine] = self._read(shard, "rows")[inside]
        return found

    def units(self, rows: Sequence[int] | None = None) -> list[tuple[str, Unit]]:
        """Sample and unit of the rows at these places; of all rows where none are given."""
        wanted = range(len(self)) if rows is None else rows
        found: list[Any] = [None] * len(wanted)
        for shard, mine, inside in self._where(wanted):
            index = _Index.read(self.folder / shard.file)
            for place, row in zip(mine.tolist(), inside.tolist(), strict=True):
                sample, unit = index.at(row)
                found[place] = (self.samples[sample], unit)
        return found

    def sample_places(self) -> NDArray[np.int64]:
        """For each row the place of its sample in `samples`."""
        import numpy as np

        shards = [self._read(shard, "sample") for shard in self._shards]
        return np.concatenate([np.zeros(0, dtype=np.int64), *shards])

    def _where(
        self, rows: Sequence[int]
    ) -> Iterator[tuple[_Shard, NDArray[np.int64], NDArray[np.int64]]]:
        """Shards that hold some of the rows, with their places in `rows` and in the shard."""
        import numpy as np

        wanted = np.asarray(rows, dtype=np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise HarnessError(f"rows are 0 to {len(self) - 1} in {self.folder}")
        for shard in self._shards:
            inside = wanted - shard.before
            (mine,) = np.nonzero((inside >= 0) & (inside < shard.rows))
            if len(mine):
                yield shard, mine, inside[mine]

    def _read(self, shard: _Shard, name: str) -> NDArray[Any]:
        from safetensors import safe_open

        with safe_open(self.folder / shard.file, framework="numpy") as file:
            found: NDArray[Any] = file.get_tensor(name)
        return found


@dataclass(frozen=True, eq=False)
class _Index:
    """Of each row of a shard the sample's place and the unit; texts in one stretch of UTF-8."""

    numbers: NDArray[np.int64]  # sample, part, start, end, top, left, height, width
    text: bytes
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, Unit]]) -> _Index:
        import numpy as np

        numbers = np.full((len(rows), 8), _NONE, dtype=np.int64)
        texts = [unit.text.encode("utf-8", "replace") for _, unit in rows]
        for row, (sample, unit) in zip(numbers, rows, strict=True):
            row[:2] = sample, unit.part
            if unit.start is not None and unit.end is not None:
                row[2:4] = unit.start, unit.end
            if unit.box is not None:
                row[4:] = unit.box
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        return cls(numbers, b"".join(texts), ends)

    def arrays(self) -> dict[str, NDArray[Any]]:
        import numpy as np

        text = np.frombuffer(self.text, dtype=np.uint8).copy()
        places = np.ascontiguousarray(self.numbers[:, 0])
        return {"sample": places, "unit": self.numbers, "text": text, "text_ends": self.ends}

    @classmethod
    def read(cls, path: Path) -> _Index:
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            text = file.get_tensor("text").tobytes()
            return cls(file.get_tensor("unit"), text, file.get_tensor("text_ends"))

    def at(self, row: int) -> tuple[int, Unit]:
        sample, part, start, end, *box = self.numbers[row].tolist()
        text = self.text[0 if row == 0 else int(self.ends[row - 1]) : int(self.ends[row])]
        located = start != _NONE
        return sample, Unit(
            text.decode("utf-8"),
            start if located else None,
            end if located else None,
            (box[0], box[1], box[2], box[3]) if box[0] != _NONE else None,
            part,
        )


def collect(
    classifier: Any,
    samples: Any,
    layer: str,
    at: str,
    folder: str | Path,
    *,
    dtype: str = "float32",
    shard_rows: int = 32_768,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
    **inputs: Any,
) -> Activations:
    """What the module `layer` says of the samples, streamed to `folder`, and opened.

    - `classifier`, `samples`, `inputs`: as in `harness.explain`; a language model's prompts and
      answers are one text, of which a `token` row of the answer is a unit of its own
    - `layer`: a module's name (`model.named_modules()`), whose output is n x width, n x tokens x
      width or n x channels x height x width
    - `at`: `token`, `word`, `sentence`, `paragraph`, `cls`, `patch` (a grid's cell or an image's
      token; its box is in pixels of the array that the classifier is given) or `pooled`. A row is
      the mean over the unit's tokens or cells; special tokens belong to no unit
    - `shard_rows`: most rows of a file; `batch_tokens`: most tokens of a batch

    The same call gives the same bytes, and the model is left as it was. Raises `HarnessError` for a
    model that is a function, a module or unit that there is not, and a folder that has activations.
    """
    fields.whole("collect", 1, shard_rows=shard_rows)
    fields.one_of("collect", DTYPES, dtype=dtype)
    if batch_tokens is not None:
        fields.whole("collect", 1, batch_tokens=batch_tokens)
    target = Path(folder)
    if (target / INDEX).exists():
        raise HarnessError(f"{target} holds activations already; open them, or name another folder")
    target.mkdir(parents=True, exist_ok=True)
    asked, items = chosen_inputs(classifier, samples, inputs)
    writer = _Writer(target, shard_rows, dtype)
    hashes: list[str] = []
    model: Any = None
    for start in range(0, len(items), _BLOCK):
        block = items[start : start + _BLOCK]
        model = asked if isinstance(asked, Model) else model_of(asked, block, **inputs)
        where = Layer(model, layer, at, batch_tokens)
        readings = where.read(block)
        hashes += [reading.input for reading in readings]
        for place, (placed, rows) in enumerate(where.rows(readings), start):
            writer.add(place, placed.units, rows.to_dense().double().numpy())
        if progress is not None:
            progress(start + len(block), len(items))
    writer.finish(model, layer, at, items, digest(hashes))
    return Activations(target)


class _Writer:
    """Rows on their way to disk."""

    def __init__(self, folder: Path, most: int, dtype: str) -> None:
        self._folder, self._most, self._dtype = folder, most, dtype
        self._rows: list[NDArray[Any]] = []
        self._units: list[tuple[int, Unit]] = []
        self._shards: list[dict[str, Any]] = []
        self._width: int | None = None

    def add(self, place: int, units: Sequence[Unit], rows: NDArray[Any]) -> None:
        """The rows of one sample."""
        if self._width not in (None, rows.shape[1]):
            raise HarnessError(
                f"the layer says rows of {self._width} and of {rows.shape[1]} numbers; take another"
            )
        self._width = rows.shape[1]
        self._rows.append(rows.astype(self._dtype))
        self._units += [(place, unit) for unit in units]
        while len(self._units) >= self._most:
            self._write(self._most)

    def finish(
        self, model: Model, layer: str, at: str, samples: Sequence[Sample], inputs: str
    ) -> None:
        """What is left, and the index, which marks the folder as finished."""
        if self._units:
            self._write(len(self._units))
        known = {
            "version": _VERSION,
            "model": model.name,
            "revision": model.revision,
            "layer": layer,
            "at": at,
            "width": self._width,
            "inputs": inputs,
            "samples": [sample.id for sample in samples],
            "settings": {"dtype": self._dtype, "shard_rows": self._most},
            "shards": self._shards,
        }
        text = json.dumps(known, ensure_ascii=False, indent=1) + "\n"
        (self._folder / INDEX).write_text(text, encoding="utf-8")

    def _write(self, count: int) -> None:
        import numpy as np
        from safetensors.numpy import save_file

        held = np.concatenate(self._rows)
        mine, self._rows = held[:count], [held[count:]]
        units, self._units = self._units[:count], self._units[count:]
        path = self._folder / f"shard-{len(self._shards):05d}.safetensors"
        save_file({"rows": np.ascontiguousarray(mine), **_Index.of(units).arrays()}, path)
        self._shards.append({"file": path.name, "rows": count, "sha256": file_hash(path)})
