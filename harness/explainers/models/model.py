"""What the engines ask of a classifier, and what its outputs mean.

A model turns samples into readings, and what is left of them into outputs, one column a class. The
columns are on a scale of their own: logits that a softmax, or a sigmoid each, makes probabilities
of; probabilities where the classifier says nothing else; or values that are what they are: any
real numbers, log-probabilities of the tokens of an answer, or activations.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from harness.explainers.models.reading import Reading, Removal
from harness.records import HarnessError, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Scale = Literal["softmax", "sigmoid", "probability", "real", "value", "activation"]
OUTPUTS = ("logit", "probability", "log_probability", "value")

NO_PROBABILITIES = "for numbers that are no probabilities of one class each, use output value"


@runtime_checkable
class Model(Protocol):
    """A classifier as it is explained. `tokens` is what a batch may cost."""

    name: str
    scale: Scale
    revision: str
    tokens: int

    def read(self, sample: Sample, removal: Removal) -> Reading:
        """The sample as it is seen. Raises `HarnessError` where it cannot be read that way."""
        ...

    def columns(self, reading: Any) -> Sequence[str]:
        """What its outputs for this reading are called: the classes."""
        ...

    def outputs(self, left: Sequence[Any]) -> Iterable[NDArray[np.float64]]:
        """What it says of what is `left` of samples, all of one shape: one row of outputs each.
        Pure, and the model is left as it was."""
        ...


@runtime_checkable
class Differentiable(Model, Protocol):
    """A model whose outputs have gradients by its features: embeddings, pixels, numbers."""

    module: Any

    def point(self, reading: Any, kept: NDArray[np.bool_] | None = None) -> Tensor:
        """The features of a reading, features x ...; removed ones as the removal leaves them."""
        ...

    def forward(self, readings: Sequence[Any], points: Tensor) -> Tensor:
        """Outputs, points x columns, at points (points x features x ...), one for each of readings
        of one shape."""
        ...

    def shape(self, reading: Any) -> tuple[Hashable, int]:
        """Readings of one shape share a batch of gradients; and what one of them costs."""
        ...

    def evaluating(self) -> Any:
        """A context in which the model is differentiated; it is left as it was."""
        ...


def transformed(columns: Any, scale: Scale, output: str, xp: Any) -> Any:
    """Outputs (rows x columns) on the scale that `output` names; `xp` is NumPy or torch."""
    if output in ("logit", "value") or scale in ("real", "value", "activation"):
        return columns
    if scale == "probability":
        return columns if output == "probability" else xp.log(xp.clip(columns, 1e-300, None))
    if scale == "sigmoid":
        logs = -_softplus(-columns, xp)
    else:
        shifted = columns - _largest(columns)
        logs = shifted - xp.log(xp.exp(shifted).sum(-1))[..., None]
    return logs if output == "log_probability" else xp.exp(logs)


def choose_output(output: str | None, scale: Scale, name: str) -> str:
    """The output to explain: the logit where there is one, unless another is named."""
    if scale == "value":
        if output not in (None, "log_probability"):
            raise HarnessError(f"{name} gives log-probabilities; leave output out")
        return "log_probability"
    if scale == "activation":
        if output not in (None, "activation"):
            raise HarnessError(f"{name} gives activations; leave output out")
        return "activation"
    if scale == "real":
        return "value"
    if output is None:
        return "probability" if scale == "probability" else "logit"
    if output not in OUTPUTS:
        raise HarnessError(f"output is one of {', '.join(OUTPUTS)}, not '{output}'")
    if output == "value":
        raise HarnessError(
            f"{name} is a classifier, whose output is a logit or a probability; output value is "
            "for functions, estimators and torch modules"
        )
    if output == "logit" and scale == "probability":
        raise HarnessError(
            f"{name} gives probabilities and no logits; use output probability or log_probability"
        )
    return output


def _softplus(values: Any, xp: Any) -> Any:
    zero = values * 0
    return xp.maximum(values, zero) + xp.log1p(xp.exp(-abs(values)))


def _largest(columns: Any) -> Any:
    largest = columns.max(-1)
    return getattr(largest, "values", largest)[..., None]
