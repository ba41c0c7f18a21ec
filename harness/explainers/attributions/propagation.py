"""Methods that propagate otherwise than by gradients, by Captum, where a network allows them.

Each of these gives numbers for any network, and means something for few. What it cannot be right
for is refused: by the kinds of modules, and by whether what it gives adds up.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.attributions.activations import (
    LINEAR,
    PLAIN,
    STEPS_OF,
    check_activations,
)
from harness.explainers.attributions.integrated_gradients import on_the_line
from harness.explainers.attributions.modules import left_alone, network_of
from harness.explainers.gradients import Descended
from harness.explainers.inside import Inside
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

# A method that misses what its values must sum to by more than this share is refused. Where each
# step has its rule only rounding is missed: at most 1e-4 in the networks of the tests.
_MISS = 0.01
# Modules that are linear or affine maps, or do nothing, while a network is evaluated.
_AFFINE = (
    "Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "BatchNorm1d",
    "BatchNorm2d", "BatchNorm3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d",
    "Identity", "Flatten", "Unflatten", "Embedding", "ZeroPad2d", "Upsample",
)  # fmt: skip
# Those whose differences Captum 0.9 propagates; its rule for softmax takes off a mean and is then
# not complete, so it is left out.
_DEEP_LIFT = (
    "ReLU", "ELU", "LeakyReLU", "Sigmoid", "Tanh", "Softplus", "MaxPool1d", "MaxPool2d",
    "MaxPool3d",
)  # fmt: skip
# Those for which Captum 0.9 has a rule.
_LRP = (
    "Linear", "Conv2d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "AvgPool2d", "AdaptiveAvgPool2d",
    "BatchNorm2d", "ReLU", "Tanh", "Dropout",
)  # fmt: skip


class DeepLift:
    """Differences from the empty sample, propagated by the rescale rule: signed, in units of the
    output, summing to the full value less the empty one.

    Source: Shrikumar, Greenside and Kundaje 2017, "Learning Important Features Through Propagating
    Activation Differences", section 3.5.1; by Captum's `DeepLift`. Raises `HarnessError` for a
    network with modules that the rule is not known for or activations that no module makes, for an
    output other than the network's own, and where the sum is more than 1 % of the larger of the
    difference and 1 % of the outputs' range away from it.
    """

    reduce = "sum"
    deterministic = True

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features x ...."""
        from captum.attr import DeepLift as OfCaptum

        _check_differences(inside, "DeepLift")
        with _ready(inside, "DeepLift", _AFFINE + _DEEP_LIFT):
            values = _each_target(
                inside,
                lambda target: OfCaptum(inside.network()).attribute(
                    _row(inside.slope.x), _row(inside.slope.empty), target=target
                ),
            )
        _check_sums(inside, "DeepLift", values, inside.slope.full_value - inside.slope.empty_value)
        return Descended(values, complete=True)


class DeepLiftShap:
    """The mean of DeepLift over `samples` baselines between the empty sample and the full one.

    Lundberg and Lee 2017 ("A Unified Approach to Interpreting Model Predictions", section 4.2)
    average over baselines drawn from data. With a single sample at hand they are on the way from
    the empty sample to the full one, at equal distances beginning with the empty one and ending
    half way, so values sum to the full value less the mean of the values at the baselines. Signed,
    in units of the output; by Captum's `DeepLiftShap`. Refused as `DeepLift` is.
    """

    reduce = "sum"

    def __init__(self, samples: int = 5) -> None:
        fields.whole("explainer 'deep_lift_shap'", 2, samples=samples)
        self.settings: Mapping[str, Any] = {"samples": samples}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features x ...."""
        import torch
        from captum.attr import DeepLiftShap as OfCaptum

        _check_differences(inside, "DeepLiftShap")
        slope, count = inside.slope, self.settings["samples"]
        places = [place / (2 * (count - 1)) for place in range(count)]
        baselines = torch.stack([on_the_line(slope, place) for place in places]).detach()
        with _ready(inside, "DeepLiftShap", _AFFINE + _DEEP_LIFT):
            values = _each_target(
                inside,
                lambda target: OfCaptum(inside.network()).attribute(
                    _row(slope.x), baselines, target=target
                ),
            )
        with torch.no_grad():
            below = inside.network()(baselines).double().mean(dim=0).cpu().numpy()
        _check_sums(inside, "DeepLiftShap", values, slope.full_value - below)
        return Descended(values)


class LRP:
    """Layer-wise relevance propagation of a logit by the epsilon rule: signed, in units of the
    output, summing to the output at the sample, with nothing taken off for an empty one.

    Source: Bach, Binder, Montavon, Klauschen, Mueller and Samek 2015, "On Pixel-Wise Explanations
    for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation", equation 58; by
    Captum's `LRP`. A contrast is the difference of the relevances of its classes. Raises
    `HarnessError` for a network with modules that there is no rule for or activations that no
    module makes, for an output other than the network's own, and where relevance misses the output
    by more than 1 % of the larger of the output and 1 % of the outputs' range: biases take
    relevance that no feature then has.
    """

    reduce = "sum"
    deterministic = True

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features x ...."""
        import numpy as np
        import torch
        from captum import attr

        _check_own_output(inside, "LRP")
        _check_modules(inside, "LRP", _LRP)
        check_activations(inside, "LRP", tuple(n for n in _LRP if n in STEPS_OF), LINEAR, True)
        # Captum multiplies by the output at the end, so each column must be a target of its own.
        columns = len(inside.weights)
        single = dataclasses.replace(inside, weights=np.eye(columns))
        needed = [column for column in range(columns) if inside.weights[column].any()]
        with _ready(inside, "LRP", _LRP):
            relevance = _each_target(
                single,
                lambda target: attr.LRP(single.network()).attribute(
                    _row(inside.slope.x), target=target
                ),
                needed,
            )
        weights = torch.as_tensor(inside.weights[needed].T).to(relevance)
        values = torch.tensordot(weights, relevance, dims=1)
        _check_sums(
            inside, "LRP", values, inside.slope.full_value,
            "; attn_lrp says what biases hold of the output",
        )  # fmt: skip
        return Descended(values, notes=("relevance sums to the output, not to a difference",))


class _Rectified:
    """Gradients in which ReLU passes on other gradients than its own."""

    name: str
    of_captum: str
    reduce = "l2"
    deterministic = True

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features x ...."""
        import captum.attr

        kind = getattr(captum.attr, self.of_captum)
        check_activations(inside, self.name, ("ReLU",), PLAIN, False)
        with _ready(inside, self.name):
            values = _each_target(
                inside,
                lambda target: kind(inside.network()).attribute(
                    _row(inside.slope.x), target=target
                ),
            )
        return Descended(values)


class GuidedBackprop(_Rectified):
    """Gradients in which every ReLU passes on positive gradients alone: signed, in units of output
    per unit of a feature, summing to nothing in particular.

    Source: Springenberg, Dosovitskiy, Brox and Riedmiller 2015, "Striving for Simplicity: The All
    Convolutional Net", section 3.4; by Captum's `GuidedBackprop`. Raises `HarnessError` for a
    network that has any activation but `torch.nn.ReLU` modules.
    """

    name, of_captum = "guided back-propagation", "GuidedBackprop"


class Deconvolution(_Rectified):
    """Gradients in which every ReLU passes on positive gradients, also where it was shut: signed,
    in units of output per unit of a feature, summing to nothing in particular.

    Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section
    2.1; by Captum's `Deconvolution`. Raises `HarnessError` for a network that has any activation
    but `torch.nn.ReLU` modules.
    """

    name, of_captum = "deconvolution", "Deconvolution"


@contextmanager
def _ready(inside: Inside, what: str, known: tuple[str, ...] | None = None) -> Iterator[None]:
    """The network for the block: of known modules, silent, and restored; Captum's complaints in one
    sentence."""
    module = network_of(inside, what)
    if known is not None:
        _check_modules(inside, what, known)
    with left_alone(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except HarnessError:
            raise
        except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
            said = " ".join(str(error).split())
            raise HarnessError(
                f"{what} does not support {inside.model.name}: {said:.200}"
            ) from error


def _check_modules(inside: Inside, what: str, known: tuple[str, ...]) -> None:
    import torch

    types = {getattr(torch.nn, name) for name in known}
    for name, part in inside.model.module.named_modules():
        if not list(part.children()) and type(part) not in types:
            # A module of one's own without children may hold parameters, or compute anything.
            raise HarnessError(
                f"{what} does not support {inside.model.name}: its module "
                f"{name or 'itself'!r} is a {type(part).__name__}, for which it has no rule"
                + ("; attn_lrp goes by functions and not by modules" if what == "LRP" else "")
            )


def _check_own_output(inside: Inside, what: str) -> None:
    if inside.output != "logit" and inside.model.scale in ("softmax", "sigmoid"):
        raise HarnessError(
            f"{what} explains what the last layer of {inside.model.name} says; use output logit"
        )


def _check_differences(inside: Inside, what: str) -> None:
    """Whether the rescale rule is applied to all of the network that is not linear."""
    network_of(inside, what)
    _check_own_output(inside, what)
    _check_modules(inside, what, _AFFINE + _DEEP_LIFT)
    check_activations(inside, what, _DEEP_LIFT, LINEAR, True)


def _row(point: Tensor) -> Tensor:
    return point.detach().clone()[None]


def _each_target(
    inside: Inside, attribute: Callable[[int], Tensor], targets: list[int] | None = None
) -> Tensor:
    """Values of targets x features x ..., one target after another."""
    import torch

    every = range(inside.weights.shape[1]) if targets is None else targets
    return torch.stack([attribute(target)[0].detach().double() for target in every])


def _check_sums(
    inside: Inside, what: str, values: Tensor, wanted: NDArray[np.float64], instead: str = ""
) -> None:
    import numpy as np

    sums = values.flatten(1).sum(dim=1).cpu().numpy()
    for found, full in zip(sums, wanted, strict=True):
        size = max(abs(full), 0.01 * inside.slope.range)
        # Written so that NaN is refused as well.
        if not np.abs(found - full) <= max(_MISS * size, 1e-12):
            raise HarnessError(
                f"{what} does not support {inside.model.name}: its values at sample "
                f"'{inside.reading.sample}' sum to {found:.4g} where {full:.4g} is to be explained"
                f", a miss of {abs(found - full) / max(size, 1e-12):.0%}{instead}"
            )
