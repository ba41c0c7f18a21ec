"""Integrated gradients, with as many steps as their completeness needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.gradients import Ask, Descended, Descent, Slope
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float64]

_WHERE = "explainer 'integrated_gradients'"
NODES = ("nested", "midpoint", "gauss_legendre")
# Nodes of the coarsest rule, at least. On small random BERT-, GPT-2-, Llama- and ViT-type models a
# start at 4 took as many rows and ended less exact.
_FEWEST = 8
# Most that values may still change, as a share of their norm. On the same models sums that were
# right by chance came with changes above 0.3, others with changes below 0.1.
_SETTLED = 0.1
# A larger share that is missed is refused unless asked for: such values explain another change than
# that of the output.
_REFUSED = 0.05


class IntegratedGradients:
    """The mean gradient on the straight line from the empty sample to the full one, times their
    difference: signed, in units of the output, summing to the full value less the empty one.

    Without `steps` there are as many as needed until, for every target, the sum is within
    `tolerance` of that difference (relative to the larger of the difference and 1 % of the range of
    the outputs) and the values have settled: Clenshaw-Curtis rules of 8, 15, 29, ... nodes, each of
    which holds all nodes of the one before, so that nothing is computed twice. Never more than
    `most` steps; a note says where they did not suffice. With `steps`, exactly these, at `nodes`:
    `midpoint` or `gauss_legendre` (Captum's `riemann_middle` and `gausslegendre`), or `nested`
    (Clenshaw-Curtis). Values that miss the sum by more than 5 % are refused, unless `incomplete`
    asks for them; what is missed is marked wherever values are shown.

    Source: Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks", equation 1;
    the nested rule is that of Clenshaw and Curtis 1960, "A method for numerical integration on an
    automatic computer". Raises `HarnessError` for settings that contradict one another.
    """

    reduce = "sum"
    deterministic = True

    def __init__(
        self,
        steps: int | None = None,
        nodes: str = "nested",
        tolerance: float = 0.01,
        most: int = 1000,
        incomplete: bool = False,
    ) -> None:
        fields.switches(_WHERE, incomplete=incomplete)
        fields.one_of(_WHERE, NODES, nodes=nodes)
        fields.whole(_WHERE, 2 * _FEWEST - 1, most=most)
        if steps is not None:
            fields.whole(_WHERE, 2 if nodes == "nested" else 1, steps=steps)
        elif nodes != "nested":
            raise HarnessError(f"{_WHERE}: nodes {nodes} are not nested; say how many steps")
        number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
        if not number or not 0 < tolerance < 1:
            raise HarnessError(
                f"{_WHERE}: tolerance is a number between 0 and 1, not {tolerance!r}"
            )
        self.settings: Mapping[str, Any] = {
            "steps": steps,
            "nodes": nodes,
            "tolerance": tolerance,
            "most": most,
            "incomplete": incomplete,
        }

    def descend(self, slope: Slope) -> Descent:
        """Values of targets x features x ...."""
        if self.settings["steps"] is None:
            found = yield from self._adaptive(slope)
        else:
            places, weights = _rule(self.settings["nodes"], self.settings["steps"])
            answer = yield _ask(slope, places, weights)
            found = Descended(_times_difference(answer.gradients, slope), complete=True)
        if not self.settings["incomplete"]:
            _check_complete(found.values, slope)
        return found

    def _adaptive(self, slope: Slope) -> Descent:
        import numpy as np

        levels = _levels(self.settings["most"])
        rules = [_clenshaw_curtis(level) for level in levels]
        sums: Any = 0
        values: Any = None
        for number, level in enumerate(levels):
            # Weights of a node differ from rule to rule, so its gradient is summed for each rule
            # that is yet to come.
            new = np.arange(level + 1) if number == 0 else np.arange(1, level, 2)
            coming = range(number, len(levels))
            places = rules[number][0][new]
            weights = np.array([rules[i][1][new * (levels[i] // level)] for i in coming])
            answer = yield _ask(slope, places, weights)
            sums = answer.gradients + sums
            before, values = values, _times_difference(sums[0], slope)
            if self._reached(values, slope) and _settled(before, values):
                return Descended(values, complete=True)
            sums = sums[1:]
        missed = (
            f"{levels[-1] + 1} steps did not bring integrated gradients to settle within "
            f"{self.settings['tolerance']:.3g} of completeness"
        )
        return Descended(values, complete=True, notes=(missed,))

    def _reached(self, values: Tensor, slope: Slope) -> bool:
        return bool((_missed(values, slope) <= self.settings["tolerance"]).all())


def _missed(values: Tensor, slope: Slope) -> Floats:
    """By which share each target's values miss the change: of the larger of the change and 1 % of
    the outputs' range. NaN where what the target is worth is not known (at a noisy copy)."""
    import numpy as np

    change = slope.full_value - slope.empty_value
    found = values.flatten(1).sum(dim=1).cpu().numpy()
    size = np.maximum(np.maximum(np.abs(change), 0.01 * slope.range), 1e-12)
    missed: Floats = np.abs(found - change) / size
    return missed


def _check_complete(values: Tensor, slope: Slope) -> None:
    missed = _missed(values, slope)
    if (missed > _REFUSED).any():
        most = missed[missed > _REFUSED].max()
        raise HarnessError(
            f"integrated gradients miss what they must sum to by {most:.0%}; give more steps, use "
            "a perturbation method such as kernel_shap, or ask for them with incomplete"
        )


def on_the_line(slope: Slope, place: float) -> Tensor:
    """The point at `place` between the empty sample (0) and the full one (1)."""
    return slope.empty + place * (slope.x - slope.empty)


def _settled(before: Tensor | None, values: Tensor) -> bool:
    """Whether every target's values changed little from the rule before: a sum may be right by
    chance where the values are not yet."""
    if before is None:
        return False
    change = (values - before).flatten(1).norm(dim=1)
    return bool((change <= _SETTLED * values.flatten(1).norm(dim=1)).all())


def _ask(slope: Slope, places: Floats, weights: Floats) -> Ask:
    return Ask(lambda i: on_the_line(slope, places[i]), weights)


def _times_difference(gradients: Tensor, slope: Slope) -> Tensor:
    return gradients * (slope.x.double() - slope.empty.double()).to(gradients)


def _levels(most: int) -> list[int]:
    """Intervals of rules, each twice those before; the last comes as near to `most` as it can."""
    coarsest, doublings = most - 1, 0
    while coarsest // 2 >= _FEWEST - 1:
        coarsest, doublings = coarsest // 2, doublings + 1
    return [coarsest * 2**doubling for doubling in range(doublings + 1)]


def _rule(nodes: str, steps: int) -> tuple[Floats, Floats]:
    """Places in [0, 1] and their weights, which sum to 1."""
    import numpy as np

    if nodes == "nested":
        return _clenshaw_curtis(steps - 1)
    if nodes == "midpoint":
        return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)
    places, weights = np.polynomial.legendre.leggauss(steps)
    return (1 + places) / 2, weights / 2


def _clenshaw_curtis(intervals: int) -> tuple[Floats, Floats]:
    """The rule with one node more than `intervals`; every second node is one of half as many."""
    import numpy as np

    nodes = np.arange(intervals + 1)
    j = np.arange(1, intervals // 2 + 1)
    terms = np.where(2 * j == intervals, 1, 2) / (4 * j**2 - 1)
    sums = np.cos(2 * np.pi * np.outer(nodes, j) / intervals) @ terms
    ends = np.where((nodes == 0) | (nodes == intervals), 1, 2)
    return (1 - np.cos(np.pi * nodes / intervals)) / 2, ends * (1 - sums) / (2 * intervals)
