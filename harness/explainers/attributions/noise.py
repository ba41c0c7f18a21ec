"""Gradients averaged over noisy copies of the sample, or over a path from the empty one."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.attributions.integrated_gradients import IntegratedGradients, on_the_line
from harness.explainers.attributions.saliency import InputXGradient
from harness.explainers.gradients import Answer, Ask, Descended, Descent, Gradient, Slope
from harness.identity import draw
from harness.records import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

OF = ("gradient", "input_x_gradient", "integrated_gradients")


class _Noisy:
    """Settings that the three methods share, and the moments of values over noisy copies.

    - `samples`: how many copies
    - `sigma`: standard deviation of the noise, as a share of the sample's largest feature less its
      smallest (Smilkov 2017, section 3.1, where 0.1 to 0.2 is best)
    - `of`: the method whose values at the copies are taken: the signed `gradient`,
      `input_x_gradient`, or `integrated_gradients` (from the same empty sample)
    - `steps`: of integrated gradients at each copy, at Gauss-Legendre nodes

    A copy depends on seed and number alone, so that batches cannot change it. It takes `samples`
    rows, times `steps` for integrated gradients.
    """

    name: str

    def __init__(
        self, samples: int = 25, sigma: float = 0.15, of: str = "gradient", steps: int = 20
    ) -> None:
        where = f"explainer '{self.name}'"
        fields.whole(where, 1, samples=samples, steps=steps)
        fields.one_of(where, OF, of=of)
        number = isinstance(sigma, int | float) and not isinstance(sigma, bool)
        if not number or not 0 < sigma < float("inf"):
            raise HarnessError(f"{where}: sigma is a number above 0, not {sigma!r}")
        self.settings: Mapping[str, Any] = {
            "samples": samples,
            "sigma": sigma,
            "of": of,
            "steps": steps,
        }

    def _moments(self, slope: Slope, squares: bool) -> Generator[Ask, Answer, tuple[Any, Any]]:
        """The mean of the values and, if wanted, that of their squares."""
        count = self.settings["samples"]

        def noisy(number: int) -> Tensor:
            return _noisy(slope, number, self.settings["sigma"])

        if self.settings["of"] == "gradient":
            answer = yield Ask(noisy, [1 / count] * count, squares)
            return answer.gradients, answer.squares
        found = yield from _together([self._inner(slope, noisy(i)) for i in range(count)])
        mean = sum(one.values for one in found) / count
        return mean, sum(one.values**2 for one in found) / count if squares else None

    def _inner(self, slope: Slope, x: Tensor) -> Descent:
        import numpy as np

        method: Gradient = InputXGradient()
        if self.settings["of"] == "integrated_gradients":
            method = IntegratedGradients(steps=self.settings["steps"], nodes="gauss_legendre")
        unknown = np.full_like(slope.full_value, np.nan)
        return method.descend(dataclasses.replace(slope, x=x, full_value=unknown))


class SmoothGrad(_Noisy):
    """The mean of a method's values over copies of the sample with normal noise: signed, in the
    units of the method. Settings: `samples`, `sigma`, `of`, `steps`, as of all noisy methods here.

    Source: Smilkov, Thorat, Kim, Viegas and Wattenberg 2017, "SmoothGrad: removing noise by adding
    noise", section 3.
    """

    name = "smooth_grad"

    @property
    def reduce(self) -> str:
        """As for the method whose values are averaged."""
        return "l2" if self.settings["of"] == "gradient" else "sum"

    def descend(self, slope: Slope) -> Descent:
        """Values of targets x features x ...."""
        mean, _ = yield from self._moments(slope, squares=False)
        return Descended(mean)


class SquareGrad(_Noisy):
    """The mean of the squares of a method's values over noisy copies of the sample: not negative,
    in the square of the method's units. Settings: `samples`, `sigma`, `of`, `steps`.

    Source: Hooker, Erhan, Kindermans and Kim 2019, "A Benchmark for Interpretability Methods in
    Deep Neural Networks", section 4.1 (SG-SQ).
    """

    name = "square_grad"
    reduce = "sum"

    def descend(self, slope: Slope) -> Descent:
        """Values of targets x features x ...."""
        _, squares = yield from self._moments(slope, squares=True)
        return Descended(squares)


class VarGrad(_Noisy):
    """The variance of a method's values over noisy copies of the sample, divided by their number:
    not negative, in the square of the method's units. Settings: `samples`, `sigma`, `of`, `steps`.

    Source: Adebayo, Gilmer, Goodfellow and Kim 2018, "Local Explanation Methods for Deep Neural
    Networks Lack Sensitivity to Parameter Values", section 2.
    """

    name = "var_grad"
    reduce = "sum"

    def descend(self, slope: Slope) -> Descent:
        """Values of targets x features x ...."""
        mean, squares = yield from self._moments(slope, squares=True)
        return Descended((squares - mean**2).clamp(min=0))  # rounding may fall below zero


class GradientShap:
    """The mean gradient at `samples` random places between the empty sample and the full one, times
    their difference: signed, in units of the output, summing on average to the full value less the
    empty one.

    One place is drawn from each of as many equal parts of the way, which has a smaller error than
    places drawn from all of it, and no noise is added. With the empty sample as the only baseline
    this is integrated gradients at random nodes; it takes `samples` rows.

    Source: Erion, Janizek, Sturmfels, Lundberg and Lee 2021, "Improving performance of deep
    learning models with axiomatic attribution priors and expected gradients", equation 3; Captum's
    `GradientShap` without its noise.
    """

    reduce = "sum"

    def __init__(self, samples: int = 25) -> None:
        fields.whole("explainer 'gradient_shap'", 1, samples=samples)
        self.settings: Mapping[str, Any] = {"samples": samples}

    def descend(self, slope: Slope) -> Descent:
        """Values of targets x features x ...."""
        count = self.settings["samples"]

        def between(number: int) -> Tensor:
            share = draw("gradient_shap", slope.seed, number)
            return on_the_line(slope, (number + share) / count)

        answer = yield Ask(between, [1 / count] * count)
        difference = slope.x.double() - slope.empty.double()
        return Descended(answer.gradients * difference.to(answer.gradients), complete=True)


def _noisy(slope: Slope, number: int, sigma: float) -> Tensor:
    """Copy `number` of the sample; drawn in 64 bits, so that precision does not change the draw."""
    import torch

    seed = int(draw("noise", slope.seed, number) * 2**48)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(slope.x.shape, generator=generator, dtype=torch.float64)
    spread = slope.x.max() - slope.x.min()
    return slope.x + sigma * spread * noise.to(slope.x)


def _together(descents: list[Descent]) -> Generator[Ask, Answer, list[Descended]]:
    """Several descents that each ask once, in one ask: each weighs only its own points."""
    import numpy as np

    asks = [next(descent) for descent in descents]
    owners = [(ask, i) for ask in asks for i in range(ask.count)]
    weights = np.zeros((len(asks), len(owners)))
    starts = np.cumsum([0, *(ask.count for ask in asks)])
    for row, ask in enumerate(asks):
        weights[row, starts[row] : starts[row + 1]] = ask.weights
    answer = yield Ask(lambda place: owners[place][0].point(owners[place][1]), weights)
    found = []
    for row, descent in enumerate(descents):
        mine = Answer(answer.gradients[row], None, answer.values[starts[row] : starts[row + 1]])
        try:
            descent.send(mine)
        except StopIteration as end:
            found.append(end.value)
    return found
