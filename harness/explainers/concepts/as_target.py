"""Concepts as what a model says, so that any method of attribution explains them: which units of an
input make a concept strong.

    concept_model = ConceptModel(classifier, samples, "layer", "token", space)
    explanation = harness.explain(concept_model, samples, "integrated_gradients", target="pca 3")
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.concepts.asked import Asked
from harness.explainers.concepts.layer import first_of, hooked
from harness.explainers.concepts.places import Places, flattened
from harness.explainers.concepts.spaces.space import Fitted
from harness.explainers.models.model import Differentiable, Scale
from harness.explainers.models.reading import ArrayPart, Reading, Removal, Size, TextPart
from harness.records import HarnessError, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

POOLING = ("max", "mean")


@dataclass(frozen=True, eq=False)
class _Left:
    """What is left of a sample, and which unit each of its positions belongs to."""

    inner: Any
    places: Places


@dataclass(frozen=True, eq=False)
class ConceptReading:
    """A reading whose units at the layer are known."""

    inner: Any
    places: Places

    @property
    def sample(self) -> str:
        """The sample's id."""
        return str(self.inner.sample)

    @property
    def input(self) -> str:
        """The sample's hash."""
        return str(self.inner.input)

    @property
    def parts(self) -> tuple[TextPart | ArrayPart, ...]:
        """As the model reads them."""
        parts: tuple[TextPart | ArrayPart, ...] = self.inner.parts
        return parts

    @property
    def fixed(self) -> NDArray[np.bool_]:
        """As the model reads them."""
        fixed: NDArray[np.bool_] = self.inner.fixed
        return fixed

    @property
    def notes(self) -> tuple[str, ...]:
        """The model's own."""
        return tuple(self.inner.notes)

    def sizes(self, kept: NDArray[np.bool_]) -> Sequence[Size]:
        """The model's own."""
        found: Sequence[Size] = self.inner.sizes(kept)
        return found

    def left(self, kept: NDArray[np.bool_]) -> _Left:
        """What is left, with the units of the positions that are left."""
        import numpy as np

        owner = self.places.owner
        features = len(kept)
        if getattr(self.inner, "replacement", 0) is None and len(owner) >= features:
            remains = np.append(kept, np.ones(len(owner) - features, dtype=bool))
            if not kept.any():  # one token stands for nothing
                owner = np.append(np.full(1, -1), owner[features:])
            else:
                owner = owner[remains]
        return _Left(self.inner.left(kept), Places(self.places.units, owner))


class ConceptModel:
    """A model that says, instead of classes, how strong each concept of a layer is in a sample.

    `pooling` makes one number of a sample's units: `max` or `mean`. Columns are the space's names.
    Units are those of the whole sample; one of which nothing is left says nothing, and where none
    is left every concept is 0. Gradients are the model's own, through the space.

    Raises `HarnessError` for a model that is a function, and a layer or unit that there is not.
    """

    scale: Scale = "activation"

    def __init__(
        self,
        classifier: Any,
        samples: Any,
        layer: str,
        at: str,
        space: Fitted,
        pooling: str = "max",
        **inputs: Any,
    ) -> None:
        fields.one_of("ConceptModel", POOLING, pooling=pooling)
        asked = Asked.of(classifier, samples, layer, at, **inputs)
        self._layer, self._model = asked.layer, asked.layer.model
        self._space, self._pooling = space, pooling
        self.name = f"concepts '{space.kind}' at '{layer}' of {self._model.name}"
        self.revision = f"{self._model.revision}/{layer}/{at}/{pooling}/{space.key}"
        self.tokens = self._model.tokens
        self.module = getattr(self._model, "module", None)

    def read(self, sample: Sample, removal: Removal) -> ConceptReading:
        """As the model reads it, with the units of the whole sample."""
        inner: Reading = self._model.read(sample, removal)
        ((places, _),) = self._layer.rows([inner])
        return ConceptReading(inner, places)

    def columns(self, reading: ConceptReading) -> Sequence[str]:  # noqa: ARG002  the same for all
        """The concepts' names."""
        return self._space.names

    def outputs(self, left: Sequence[_Left]) -> NDArray[np.float64]:
        """Strengths of concepts, rows x concepts."""
        import torch

        with hooked(self._layer.module) as said:
            for _ in self._model.outputs([one.inner for one in left]):
                pass
        flat = flattened(torch.cat([first_of(one, self.name).detach() for one in said]))
        with torch.no_grad():
            found = self._pooled(flat.double(), [one.places for one in left])
        strengths: NDArray[np.float64] = found.cpu().numpy()
        return strengths

    def _pooled(self, flat: Tensor, places: Sequence[Places]) -> Tensor:
        """Of samples x positions x width the strengths of each sample's concepts."""
        import numpy as np
        import torch

        if len(flat) != len(places):
            raise HarnessError(f"{self.name}: the layer was used more than once in a pass")
        found = []
        for one, place in zip(flat, places, strict=True):
            there = torch.as_tensor(
                np.bincount(place.owner + 1, minlength=len(place.units) + 1)[1:]
            )
            rows = place.rows(one)[there > 0]
            if not len(rows):
                found.append(torch.zeros(len(self._space.names)).to(one))
                continue
            strengths = self._space.strengths(rows)
            found.append(strengths.amax(dim=0) if self._pooling == "max" else strengths.mean(dim=0))
        return torch.stack(found)

    # --- gradients ------------------------------------------------------------------------

    def point(self, reading: ConceptReading, kept: NDArray[np.bool_] | None = None) -> Tensor:
        """The features of a reading; see `Differentiable`."""
        point: Tensor = self._differentiable().point(reading.inner, kept)
        return point

    def forward(self, readings: Sequence[ConceptReading], points: Tensor) -> Tensor:
        """Strengths of concepts at points, points x concepts."""
        with hooked(self._layer.module) as said:
            self._differentiable().forward([reading.inner for reading in readings], points)
        if len(said) != 1:
            raise HarnessError(f"{self.name}: the layer was used {len(said)} times in a pass")
        flat = flattened(first_of(said[0], self.name)).double()
        return self._pooled(flat, [reading.places for reading in readings])

    def shape(self, reading: ConceptReading) -> tuple[Hashable, int]:
        """Readings of one shape share a batch of gradients; and what one of them costs."""
        return self._differentiable().shape(reading.inner)

    def evaluating(self) -> Any:
        """A context in which the model is differentiated; it is left as it was."""
        return self._differentiable().evaluating()

    def _differentiable(self) -> Differentiable:
        if not isinstance(self._model, Differentiable):
            raise HarnessError(f"{self._model.name} has no gradients; use a perturbation method")
        return self._model
