"""Attributions together, as `harness.explain` returns them: a sequence, a table, and files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, overload

from harness import serial
from harness.drawing.words import short
from harness.records import Attribution, HarnessError, Sample
from harness.store.arrays import joined, split
from harness.terminal import page

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from harness.drawing.figure import Figure

SHOWN = 20  # attributions in a notebook's output; more are named
LISTED = 4  # attributions in a terminal's


@dataclass(frozen=True, repr=False)
class Explanation(Sequence[Attribution]):
    """Attributions in the order of samples, then methods, then targets.

    `samples` are what was explained, for pictures over images. They are no part of the explanation:
    neither compared nor saved.
    """

    attributions: tuple[Attribution, ...]
    samples: tuple[Sample, ...] = field(default=(), compare=False, repr=False)

    def __repr__(self) -> str:
        from harness.explainers.summary import incomplete, summary

        many = f"{len(self):,} attribution{'s' if len(self) != 1 else ''}"
        samples = len({a.sample for a in self.attributions})
        lines = [f"Explanation: {many} of {samples:,} sample{'s' if samples != 1 else ''}"]
        for a in self.attributions[:LISTED]:
            lines.append(short(f"  {a.sample}, {a.method}, {a.target}: {summary(a)}", 110))
            lines += [f"    {missed}"] if (missed := incomplete(a)) else []
        if len(self) > LISTED:
            lines.append(f"  and {len(self) - LISTED:,} more; frame has them all as a table")
        return page(lines)

    def __len__(self) -> int:
        return len(self.attributions)

    @overload
    def __getitem__(self, place: int) -> Attribution: ...
    @overload
    def __getitem__(self, place: slice) -> Explanation: ...
    def __getitem__(self, place: int | slice) -> Attribution | Explanation:
        if isinstance(place, slice):
            return Explanation(self.attributions[place], self.samples)
        return self.attributions[place]

    def __iter__(self) -> Iterator[Attribution]:
        return iter(self.attributions)

    @property
    def frame(self) -> pd.DataFrame:
        """One row a unit: sample, method, target, unit's place, text, where it is, value, error,
        and by which share the values miss what they must sum to (none where they need not)."""
        import pandas as pd

        rows = []
        for a in self.attributions:
            errors = a.standard_errors or (None,) * len(a.units)
            for place, (unit, value, error) in enumerate(
                zip(a.units, a.values, errors, strict=True)
            ):
                rows.append(
                    (
                        a.sample, a.method, a.target, a.output, a.removal, a.unit, place,
                        unit.text, unit.part, unit.start, unit.end, unit.box, value, error,
                        a.completeness_error,
                    )
                )  # fmt: skip
        names = (
            "sample", "method", "target", "output", "removal", "unit", "place", "text", "part",
            "start", "end", "box", "value", "standard_error", "completeness_error",
        )  # fmt: skip
        return pd.DataFrame(rows, columns=pd.Index(names))

    @property
    def pair_frame(self) -> pd.DataFrame:
        """One row a pair of units, for methods that give interactions: places, texts, value,
        error."""
        import pandas as pd

        rows = [
            (
                a.sample, a.method, a.target, a.output, a.removal, a.unit, pair.first, pair.second,
                a.units[pair.first].text, a.units[pair.second].text, pair.value,
                pair.standard_error,
            )
            for a in self.attributions
            for pair in a.pairs
        ]  # fmt: skip
        names = (
            "sample", "method", "target", "output", "removal", "unit", "first", "second",
            "first_text", "second_text", "value", "standard_error",
        )  # fmt: skip
        return pd.DataFrame(rows, columns=pd.Index(names))

    def draw(self, place: int = 0, width: float = 640.0) -> Figure:
        """The picture of the attribution at this place, `width` pixels wide.

        A text is marked, parts of an image are shown over it, all else is drawn as bars. `svg` and
        `html` of the picture stand alone, and `save` writes `.svg`, `.html` or, over images,
        `.png`. After `load` there are no samples: parts of an image are then shown without it,
        unless `with_samples` gives them back.
        """
        from harness.explainers.pictures.draw import draw

        attribution = self.attributions[place]
        return draw(attribution, self._sample(attribution.sample), width)

    def with_samples(self, samples: Iterable[Sample]) -> Explanation:
        """The same explanation with the samples that it is of."""
        return Explanation(self.attributions, tuple(samples))

    def save_pictures(self, folder: str | Path, format: str = "svg") -> list[Path]:
        """A picture of each attribution in `folder`, as `svg`, `html` or `png`.

        They are called by place, sample, method and target. Raises `HarnessError` for another
        format, and for `png` where a picture is of no image.
        """
        paths = []
        for place, a in enumerate(self.attributions):
            words = "-".join((f"{place:04d}", a.sample, a.method, a.target))
            name = re.sub(r"[^\w.+-]+", "_", words)[:120]
            paths.append(self.draw(place).save(Path(folder) / f"{name}.{format}"))
        return paths

    def _sample(self, name: str) -> Sample | None:
        return next((sample for sample in self.samples if sample.id == name), None)

    def _repr_html_(self) -> str:
        """What a notebook shows: the first 20 pictures, and how many more there are."""
        from harness.drawing.figure import together

        shown = together([self.draw(place) for place in range(min(SHOWN, len(self)))])
        if len(self) > SHOWN:
            shown += (
                f"<p>{len(self) - SHOWN:,} more attributions are not shown; "
                "<code>explanation.draw(place)</code> draws any.</p>"
            )
        return shown if self.attributions else "<p>No attributions.</p>"

    def save(self, path: str | Path) -> None:
        """Writes `path` (safetensors: values and errors) and beside it `path`.json (the rest)."""
        from safetensors.numpy import save_file

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        records: list[Attribution] = []
        arrays: dict[str, NDArray[np.float64]] = {}
        for place, attribution in enumerate(self.attributions):
            record, mine = split(attribution)
            records.append(record)
            arrays |= {f"{place}.{name}": array for name, array in mine.items()}
        save_file(arrays, path)
        path.with_name(path.name + ".json").write_text(
            json.dumps([json.loads(serial.dumps(record)) for record in records]), encoding="utf-8"
        )

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Reads what `save` wrote. Raises `HarnessError` where one of the two files is missing."""
        from safetensors.numpy import load_file

        path = Path(path)
        beside = path.with_name(path.name + ".json")
        for file in (path, beside):
            if not file.is_file():
                raise HarnessError(f"there is no file {file}; an explanation is two files")
        arrays = load_file(path)
        found = []
        for place, record in enumerate(json.loads(beside.read_text(encoding="utf-8"))):
            prefix = f"{place}."
            mine = {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
            found.append(joined(serial.loads(Attribution, json.dumps(record)), mine))
        return cls(tuple(found))
