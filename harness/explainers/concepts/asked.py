"""Whatever is to be explained, at a layer, with samples as it reads them and their targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.explainers.concepts.layer import Layer
from harness.explainers.models.choose import chosen_inputs, model_of
from harness.explainers.models.model import Model, choose_output, transformed
from harness.explainers.models.reading import Reading
from harness.explainers.targets import Target, Targets, resolve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Asked:
    """Samples at a layer. `outputs` are what the model says of each (columns), `targets` what is
    explained of it, on the scale `output`."""

    layer: Layer
    readings: Sequence[Reading]
    outputs: Sequence[NDArray[np.float64]]
    targets: Sequence[Targets]
    output: str

    @classmethod
    def of(
        cls,
        classifier: Any,
        samples: Any,
        layer: str,
        at: str,
        target: Target = None,
        output: str | None = None,
        batch_tokens: int | None = None,
        **inputs: Any,
    ) -> Asked:
        """As `harness.explain` takes them, with the layer and unit of `collect`. Raises
        `HarnessError` as both do."""
        asked, items = chosen_inputs(classifier, samples, inputs, output)
        model: Any = (
            asked if isinstance(asked, Model) else model_of(asked, items, output=output, **inputs)
        )
        where = Layer(model, layer, at, batch_tokens)
        readings = where.read(items)
        outputs = where.outputs(readings)
        own = getattr(model, "targets", None)
        targets = [
            own(reading, target)
            if own is not None
            else resolve(target, model.columns(reading), row, f"sample '{reading.sample}'")
            for reading, row in zip(readings, outputs, strict=True)
        ]
        return cls(
            where, readings, outputs, targets, choose_output(output, model.scale, model.name)
        )

    def values(self, outputs: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """The targets' values of what the model says: one array of targets a sample."""
        import numpy as np

        scale = self.layer.model.scale
        return [
            transformed(row[None], scale, self.output, np)[0] @ targets.weights
            for row, targets in zip(outputs, self.targets, strict=True)
        ]
