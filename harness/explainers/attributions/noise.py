"""Gradients averaged over noisy copies of the sample, or over a path from the empty one."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import fields, plugins
from harness.explainers.attributions.integrated_gradients import IntegratedGradients, on_the_line
from harness.explainers.attributions.joint import together
from harness.explainers.attributions.saliency import InputXGradient
from harness.explainers.gradients import (
    Ask,
    Descended,
    Descent,
    Gradient,
    Slope,
    Visit,
    VisitingDescent,
)
from harness.explainers.inside import Inside, Inspection
from harness.explainers.models.model import Differentiable
from harness.explainers.models.reading import Reading
from harness.identity import draw
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

OF = ("gradient", "input_x_gradient", "integrated_gradients")
# Copies that another method looks at together: each has sums of gradients of its own in memory.
_AT_ONCE = 8


class _Noisy:
    """Settings that the three methods share, and the moments of values over noisy copies.

    - `samples`: how many copies
    - `sigma`: standard deviation of the noise, as a share of the sample's largest feature less its
      smallest (Smilkov 2017, section 3.1, where 0.1 to 0.2 is best)
    - `of`: the method whose values at the copies are taken: the signed `gradient`,
      `input_x_gradient`, `integrated_gradients` (from the same empty sample, with as many `steps`),
      or any other that needs gradients: its name, a mapping of its name (`kind`) and its settings,
      or an explainer. Its draws, if any, are others at each copy
    - `steps`: of integrated gradients at each copy, at Gauss-Legendre nodes; 20 unless given

    A copy depends on seed and number alone, so that batches cannot change it. It takes `samples`
    rows, times those of the method at each copy. Raises `HarnessError` for a perturbation method.
    """

    name: str

    def __init__(
        self,
        samples: int = 25,
        sigma: float = 0.15,
        of: Any = "gradient",
        steps: int | None = None,
        beside: str | None = None,
    ) -> None:
        where = f"explainer '{self.name}'"
        fields.whole(where, 1, samples=samples)
        number = isinstance(sigma, int | float) and not isinstance(sigma, bool)
        if not number or not 0 < sigma < float("inf"):
            raise HarnessError(f"{where}: sigma is a number above 0, not {sigma!r}")
        self.settings: Mapping[str, Any] = {"samples": samples, "sigma": sigma}
        self._of: Gradient | Inspection | None = None
        if isinstance(of, str) and of in OF:
            fields.whole(where, 1, steps=20 if steps is None else steps)
            self.settings |= {"of": of, "steps": 20 if steps is None else steps}
            if of == "input_x_gradient":
                self._of = InputXGradient()
            elif of == "integrated_gradients":
                self._of = IntegratedGradients(self.settings["steps"], "gauss_legendre")
        elif steps is not None:
            raise HarnessError(f"{where}: steps are for of integrated_gradients; leave them out")
        else:
            kind, self._of = _method(of, where, beside)
            self.settings |= {"of": {"kind": kind, **self._of.settings}}

    def _moments(
        self, slope: Slope, squares: bool
    ) -> Generator[Ask | Visit, Any, tuple[Any, Any, tuple[str, ...]]]:
        """The mean of the values, if wanted that of their squares, and what is to be noted."""
        count = self.settings["samples"]

        def noisy(number: int) -> Tensor:
            return _noisy(slope, number, self.settings["sigma"])

        if self._of is None:
            answer = yield Ask(noisy, [1 / count] * count, squares)
            return answer.gradients, answer.squares, ()
        size = count if self.settings["of"] in OF else _AT_ONCE
        total: Any = 0
        squared: Any = 0
        notes: dict[str, None] = {}
        for start in range(0, count, size):
            numbers = range(start, min(start + size, count))
            found = yield from self._at(self._of, [_copy(slope, noisy(i), i) for i in numbers])
            for one in found:
                total = total + one.values.double()
                squared = squared + one.values.double() ** 2 if squares else 0
                notes |= dict.fromkeys(one.notes)
        return total / count, squared / count if squares else None, tuple(notes)

    def _at(
        self, method: Gradient | Inspection, copies: Sequence[Slope]
    ) -> Generator[Ask | Visit, Any, list[Descended]]:
        """What the method finds at each of these copies."""
        if not isinstance(method, Gradient):
            found: list[Descended] = yield Visit(partial(_inspected, method, copies))
            return found
        if self.settings["of"] not in OF:
            copies = yield from _valued(copies)
        return (yield from together([method.descend(copy) for copy in copies]))


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
        return "l2" if self._of is None else self._of.reduce

    def descend(self, slope: Slope) -> VisitingDescent:
        """Values of targets x features x ...."""
        mean, _, notes = yield from self._moments(slope, squares=False)
        return Descended(mean, notes=notes)


class SquareGrad(_Noisy):
    """The mean of the squares of a method's values over noisy copies of the sample: not negative,
    in the square of the method's units. Settings: `samples`, `sigma`, `of`, `steps`.

    Source: Hooker, Erhan, Kindermans and Kim 2019, "A Benchmark for Interpretability Methods in
    Deep Neural Networks", section 4.1 (SG-SQ).
    """

    name = "square_grad"
    reduce = "sum"

    def descend(self, slope: Slope) -> VisitingDescent:
        """Values of targets x features x ...."""
        _, squares, notes = yield from self._moments(slope, squares=True)
        return Descended(squares, notes=notes)


class VarGrad(_Noisy):
    """The variance of a method's values over noisy copies of the sample, divided by their number:
    not negative, in the square of the method's units. Settings: `samples`, `sigma`, `of`, `steps`.

    Source: Adebayo, Gilmer, Goodfellow and Kim 2018, "Local Explanation Methods for Deep Neural
    Networks Lack Sensitivity to Parameter Values", section 2.
    """

    name = "var_grad"
    reduce = "sum"

    def descend(self, slope: Slope) -> VisitingDescent:
        """Values of targets x features x ...."""
        mean, squares, notes = yield from self._moments(slope, squares=True)
        # Rounding may fall below zero.
        return Descended((squares - mean**2).clamp(min=0), notes=notes)


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


def _method(of: Any, where: str, beside: str | None) -> tuple[str, Gradient | Inspection]:
    """The method that `of` names, and what it is called. Raises `HarnessError` for what is none, or
    needs no gradients."""
    made = of
    if isinstance(of, Mapping):
        settings = dict(of)
        kind = settings.pop("kind", None)
        if not isinstance(kind, str):
            raise HarnessError(f"{where}: of has no 'kind', the name of a method")
    else:
        settings, (kind,) = {}, plugins.by_name(of)
    if isinstance(of, (str, Mapping)):
        made = plugins.create("explainers", kind, Path(beside) if beside else None, **settings)
    if not isinstance(made, (Gradient, Inspection)):
        raise HarnessError(
            f"{where}: of is one of {', '.join(OF)}, or any other method by gradients, not '{kind}'"
        )
    return kind, made


def _copy(slope: Slope, x: Tensor, number: int) -> Slope:
    """What a method may know of a noisy copy; what the targets are worth there is not known."""
    import numpy as np

    unknown = np.full_like(slope.full_value, np.nan)
    seed = int(draw("copy", slope.seed, number) * 2**31)
    return dataclasses.replace(slope, x=x, full_value=unknown, seed=seed)


def _valued(copies: Sequence[Slope]) -> Generator[Visit, Any, list[Slope]]:
    """The same copies with what the targets are worth there."""
    values = yield Visit(partial(_values, copies))
    return [
        dataclasses.replace(copy, full_value=row) for copy, row in zip(copies, values, strict=True)
    ]


def _values(
    copies: Sequence[Slope],
    model: Differentiable,
    reading: Reading,
    weights: NDArray[np.float64],
    output: str,
) -> NDArray[np.float64]:
    """What the targets are worth at copies of a sample: copies x targets."""
    import torch

    network = Inside(model, reading, copies[0], weights, output).network()
    at_once = max(1, model.tokens // model.shape(reading)[1])
    points = [copy.x for copy in copies]
    with torch.no_grad():
        rows = [
            network(torch.stack(points[start : start + at_once])).double().cpu()
            for start in range(0, len(points), at_once)
        ]
    found: NDArray[np.float64] = torch.cat(rows).numpy()
    return found


def _inspected(
    method: Inspection,
    copies: Sequence[Slope],
    model: Differentiable,
    reading: Reading,
    weights: NDArray[np.float64],
    output: str,
) -> list[Descended]:
    """What a method inside the network finds at each copy of a sample."""
    values = _values(copies, model, reading, weights, output)
    return [
        method.attribute(
            Inside(model, reading, dataclasses.replace(copy, full_value=row), weights, output)
        )
        for copy, row in zip(copies, values, strict=True)
    ]
