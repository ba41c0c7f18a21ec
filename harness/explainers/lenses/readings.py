"""What a lens reads of one sample, layer by layer, as a record; and several of them together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from harness import serial
from harness.records import HarnessError

if TYPE_CHECKING:
    import pandas as pd

Likely = tuple[str, float]


@dataclass(frozen=True)
class LensReading:
    """What each layer of a network says of one sample's targets.

    `layers` are `embeddings` (what stands before the first layer) and the layers' names; the last
    one is what the model itself says. `positions` are what the head reads: each token of an answer,
    or of a classifier its one position. `targets` are the target of each: that token, or the class.

    All values are layers x positions. `logits` are the target's, as the head gives them;
    `log_probabilities` its natural logarithms; `ranks` its place among all columns, 1 for the
    likeliest; `divergences` the Kullback-Leibler divergence of what the layer says from what the
    model says, in nats; `top` the likeliest tokens or classes with their log-probabilities.

    `lens` is `logit` or `tuned`. `seed` and `settings` are those that a tuned lens was trained
    with. `classifier` is the model's hash and `input` the sample's.
    """

    sample: str
    lens: Literal["logit", "tuned"]
    layers: tuple[str, ...]
    positions: tuple[str, ...]
    targets: tuple[str, ...]
    logits: tuple[tuple[float, ...], ...]
    log_probabilities: tuple[tuple[float, ...], ...]
    ranks: tuple[tuple[int, ...], ...]
    divergences: tuple[tuple[float, ...], ...]
    top: tuple[tuple[tuple[Likely, ...], ...], ...]
    classifier: str
    input: str
    seed: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LensReadings(Sequence[LensReading]):
    """Readings in the order of samples, then targets."""

    readings: tuple[LensReading, ...]

    def __len__(self) -> int:
        return len(self.readings)

    @overload
    def __getitem__(self, place: int) -> LensReading: ...
    @overload
    def __getitem__(self, place: slice) -> LensReadings: ...
    def __getitem__(self, place: int | slice) -> LensReading | LensReadings:
        if isinstance(place, slice):
            return LensReadings(self.readings[place])
        return self.readings[place]

    def __iter__(self) -> Iterator[LensReading]:
        return iter(self.readings)

    @property
    def frame(self) -> pd.DataFrame:
        """One row a layer and position: sample, lens, layer and its place, position, target, logit,
        log-probability, rank, divergence, and the likeliest token or class."""
        import pandas as pd

        rows = [
            (
                one.sample, one.lens, depth, layer, position, one.targets[place],
                one.logits[depth][place], one.log_probabilities[depth][place],
                one.ranks[depth][place], one.divergences[depth][place],
                one.top[depth][place][0][0],
            )
            for one in self.readings
            for depth, layer in enumerate(one.layers)
            for place, position in enumerate(one.positions)
        ]  # fmt: skip
        names = (
            "sample", "lens", "depth", "layer", "position", "target", "logit", "log_probability",
            "rank", "divergence", "likeliest",
        )  # fmt: skip
        return pd.DataFrame(rows, columns=pd.Index(names))

    def save(self, path: str | Path) -> None:
        """Writes the records to `path` as JSON."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        records = [json.loads(serial.dumps(one)) for one in self.readings]
        path.write_text(json.dumps(records), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> LensReadings:
        """Reads what `save` wrote. Raises `HarnessError` where there is no such file."""
        path = Path(path)
        if not path.is_file():
            raise HarnessError(f"there is no file {path}")
        records = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(serial.loads(LensReading, json.dumps(record)) for record in records))
