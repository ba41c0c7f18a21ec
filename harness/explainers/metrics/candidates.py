"""Which methods are tried on a classifier where nobody names any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness import plugins
from harness.explainers.models.choose import chosen_inputs, model_of
from harness.explainers.models.model import Differentiable, Model
from harness.explainers.models.networks import quantised
from harness.records import Sample

ANYWHERE = ("leave_one_out", "kernel_shap", "permutation_shap", "lime", "sobol", "rise")
WITH_GRADIENTS = (
    "saliency", "input_x_gradient", "integrated_gradients", "gradient_shap", "smooth_grad",
)  # fmt: skip
"""Those that work on every classifier, and on every network, by their defaults."""


def candidates(classifier: Any, samples: Sequence[Sample]) -> dict[str, Any]:
    """The methods that this classifier supports, by name."""
    asked, items = chosen_inputs(classifier, samples, {})
    model = asked if isinstance(asked, Model) else model_of(asked, items[:1])
    differentiable = isinstance(model, Differentiable) and quantised(model.module) is None
    names = (*ANYWHERE, *(WITH_GRADIENTS if differentiable else ()))
    return {name: plugins.create("explainers", name) for name in names}
