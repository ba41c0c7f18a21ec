"""Attributions together, as `harness.explain` returns them: a sequence, a table, and files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

from harness import serial
from harness.records import Attribution, HarnessError
from harness.store.arrays import joined, split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Explanation(Sequence[Attribution]):
    """Attributions in the order of samples, then methods, then targets."""

    attributions: tuple[Attribution, ...]

    def __len__(self) -> int:
        return len(self.attributions)

    @overload
    def __getitem__(self, place: int) -> Attribution: ...
    @overload
    def __getitem__(self, place: slice) -> Explanation: ...
    def __getitem__(self, place: int | slice) -> Attribution | Explanation:
        if isinstance(place, slice):
            return Explanation(self.attributions[place])
        return self.attributions[place]

    def __iter__(self) -> Iterator[Attribution]:
        return iter(self.attributions)

    @property
    def frame(self) -> pd.DataFrame:
        """One row a unit: sample, method, target, unit's place, text, where it is, value, error."""
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
                    )
                )  # fmt: skip
        names = (
            "sample", "method", "target", "output", "removal", "unit", "place", "text", "part",
            "start", "end", "box", "value", "standard_error",
        )  # fmt: skip
        return pd.DataFrame(rows, columns=pd.Index(names))

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
