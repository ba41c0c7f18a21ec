"""Gradients at the sample itself, alone and times the input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import fields
from harness.explainers.gradients import Ask, Descended, Descent, Slope


class Saliency:
    """The gradient of the target by each feature, at the sample.

    With `absolute` (the default) its absolute value, as in Simonyan, Vedaldi and Zisserman 2014,
    "Deep Inside Convolutional Networks", section 3: how much the output changes with a feature, not
    in which direction. Without it values are signed. In units of output per unit of a feature; they
    sum to nothing in particular. One row.
    """

    reduce = "l2"
    deterministic = True

    def __init__(self, absolute: bool = True) -> None:
        fields.switches("explainer 'saliency'", absolute=absolute)
        self.settings: Mapping[str, Any] = {"absolute": absolute}

    def descend(self, slope: Slope) -> Descent:
        """Values of targets x features x ...."""
        answer = yield Ask(lambda _: slope.x, [1.0])
        values = answer.gradients
        return Descended(values.abs() if self.settings["absolute"] else values)


class InputXGradient:
    """The gradient of the target times the feature itself, signed, in units of the output.

    The input as it is given to the network, with no baseline taken off, as by Captum's
    `InputXGradient`; values sum to the output only for a network that is linear and has no bias.
    One row.

    Source: Shrikumar, Greenside, Shcherbina and Kundaje 2016, "Not Just a Black Box: Learning
    Important Features Through Propagating Activation Differences".
    """

    reduce = "sum"
    deterministic = True

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def descend(self, slope: Slope) -> Descent:
        """Values of targets x features x ...."""
        answer = yield Ask(lambda _: slope.x, [1.0])
        return Descended(answer.gradients * slope.x.to(answer.gradients))
