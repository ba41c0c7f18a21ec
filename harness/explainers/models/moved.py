"""A model whose features are moved: by noise, or by a constant that it takes away again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.explainers.models.model import Differentiable
from harness.explainers.models.reading import ArrayPart, Reading, Removal, Size, TextPart
from harness.identity import draw
from harness.records import Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class MovedReading:
    """A reading whose features are moved; what is left of it is the set itself."""

    still: Reading

    @property
    def sample(self) -> str:
        return self.still.sample

    @property
    def input(self) -> str:
        return self.still.input

    @property
    def parts(self) -> tuple[TextPart | ArrayPart, ...]:
        return self.still.parts

    @property
    def fixed(self) -> NDArray[np.bool_]:
        return self.still.fixed

    @property
    def notes(self) -> tuple[str, ...]:
        return self.still.notes

    def sizes(self, kept: NDArray[np.bool_]) -> Sequence[Size]:
        """As of the reading itself."""
        return self.still.sizes(kept)

    def left(self, kept: NDArray[np.bool_]) -> tuple[MovedReading, NDArray[np.bool_]]:
        """The reading, and which of its features are kept."""
        return self, kept


class _Of:
    """A model in front of another one."""

    def __init__(self, model: Any) -> None:
        self._model: Differentiable = model
        self.name, self.scale, self.revision = model.name, model.scale, model.revision
        self.tokens, self.module = model.tokens, model.module

    def columns(self, reading: Any) -> Sequence[str]:
        """As of the model itself."""
        return self._model.columns(_still(reading))

    def shape(self, reading: Any) -> Any:
        """As of the model itself."""
        return self._model.shape(_still(reading))

    def evaluating(self) -> Any:
        """As of the model itself."""
        return self._model.evaluating()


class Noisy(_Of):
    """Each kept feature that can be removed has noise of its own added, drawn evenly from
    [-radius, radius] times the range of the sample's features. Removed features have none."""

    def __init__(self, model: Any, radius: float, seed: str) -> None:
        super().__init__(model)
        self._radius, self._seed = radius, seed
        self._drawn: dict[int, tuple[MovedReading, Tensor]] = {}

    def read(self, sample: Sample, removal: Removal) -> MovedReading:
        """The sample as the model itself reads it."""
        return MovedReading(self._model.read(sample, removal))

    def point_before(self, reading: MovedReading) -> Tensor:
        """The features without noise."""
        return self._model.point(reading.still)

    def noise(self, reading: MovedReading) -> Tensor:
        """What is added to the features of a reading, features x ...."""
        import torch

        if id(reading) not in self._drawn:
            point = self.point_before(reading)
            seed = int(draw("noise", self._seed, reading.sample) * 2**48)
            generator = torch.Generator().manual_seed(seed)
            even = torch.rand(point.shape, generator=generator, dtype=torch.float64) * 2 - 1
            even[torch.as_tensor(reading.fixed)] = 0
            spread = float(point.max() - point.min())
            self._drawn[id(reading)] = reading, (self._radius * spread * even).to(point)
        return self._drawn[id(reading)][1]

    def point(self, reading: MovedReading, kept: NDArray[np.bool_] | None = None) -> Tensor:
        """The features, with noise on those that are kept."""
        import torch

        point, noise = self._model.point(reading.still, kept), self.noise(reading)
        if kept is None:
            return point + noise
        mask = torch.as_tensor(kept, device=noise.device)
        return point + noise * mask.reshape(-1, *[1] * (noise.ndim - 1))

    def forward(self, readings: Sequence[MovedReading], points: Tensor) -> Tensor:
        """As of the model itself: the points hold the noise."""
        return self._model.forward([reading.still for reading in readings], points)

    def outputs(
        self, left: Sequence[tuple[MovedReading, NDArray[np.bool_]]]
    ) -> Iterable[NDArray[np.float64]]:
        """Outputs at the points of these sets."""
        import torch

        points = torch.stack([self.point(reading, kept) for reading, kept in left])
        with self.evaluating(), torch.no_grad():
            found = self.forward([reading for reading, _ in left], points)
        rows: NDArray[np.float64] = found.double().cpu().numpy()
        return rows


class Shifted(_Of):
    """Every feature has a constant added, which is taken away before the model sees it."""

    def __init__(self, model: Any, size: float) -> None:
        super().__init__(model)
        self._size = size

    def read(self, sample: Sample, removal: Removal) -> Reading:
        """The sample as the model itself reads it."""
        return self._model.read(sample, removal)

    def _constant(self, reading: Any) -> float:
        point = self._model.point(reading)
        return self._size * float(point.max() - point.min())

    def point(self, reading: Any, kept: NDArray[np.bool_] | None = None) -> Tensor:
        """The features with the constant, removed ones too."""
        return self._model.point(reading, kept) + self._constant(reading)

    def forward(self, readings: Sequence[Any], points: Tensor) -> Tensor:
        """What the model says of the points without the constant."""
        import torch

        shifts = torch.tensor([self._constant(reading) for reading in readings]).to(points)
        return self._model.forward(readings, points - shifts.reshape(-1, *[1] * (points.ndim - 1)))

    def outputs(self, left: Sequence[Any]) -> Iterable[NDArray[np.float64]]:
        """As of the model itself: the constant is there and taken away."""
        return self._model.outputs(left)


def _still(reading: Any) -> Any:
    return reading.still if isinstance(reading, MovedReading) else reading
