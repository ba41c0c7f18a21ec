"""Comprehensiveness and sufficiency: is the rationale needed, and is it enough?"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.metrics.metric import Asking, Measured, Trial
from harness.explainers.metrics.removal_curves import ranks_of
from harness.records import HarnessError, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)  # DeYoung et al. 2020, section 4.2
_SCALES = ("gap", "none", "bounds")


class _Aopc:
    """The mean over several sizes of the rationale of how far the output falls.

    - `shares`: the sizes, as shares of the units; each is rounded up to whole units
    - `scale`: `gap` divides by |full - empty| (or 1 % of the range of the outputs where that is
      larger), `none` does not; `bounds` places the mean between the lowest and the highest that any
      order of these units has, 0 to 1 (Edin et al. 2025, "Normalized AOPC: Fixing Misleading
      Faithfulness Metrics for Feature Attributions Explainability"), found by beam search
    - `beam`: orders that the search keeps; it asks for about beam x units squared sets. With
      2^units or more it is exact
    """

    family = "faithfulness"
    metric: Metric

    def __init__(
        self, shares: Sequence[float] = _SHARES, scale: str = "gap", beam: int = 5
    ) -> None:
        where = f"metric '{self.metric.name}'"
        fields.one_of(where, _SCALES, scale=scale)
        fields.whole(where, 1, beam=beam)
        sizes = tuple(shares)
        if not sizes or not all(isinstance(s, (int, float)) and 0 < s <= 1 for s in sizes):
            raise HarnessError(f"{where}: shares are numbers above 0 and at most 1, not {shares!r}")
        self.settings: Mapping[str, Any] = {"shares": list(sizes), "scale": scale, "beam": beam}

    def _mean_drop(self, trial: Trial, keep: bool) -> Asking:
        import numpy as np

        sizes = np.ceil(np.array(self.settings["shares"]) * trial.players - 1e-9).astype(np.int64)
        first = ranks_of(trial.order)[None] < sizes[:, None]
        values = yield first if keep else ~first
        drops = trial.full - values
        detail = {"units": sizes.tolist(), "values": values.tolist()}
        if self.settings["scale"] == "none":
            return Measured(float(drops.mean()), detail)
        if self.settings["scale"] == "gap":
            return Measured(float(drops.mean()) / trial.scale, detail)
        low = yield from self._bound(trial, sizes, keep, np.min)
        high = yield from self._bound(trial, sizes, keep, np.max)
        detail |= {"lowest": low, "highest": high}
        if high - low <= 1e-9 * trial.scale:
            return Measured(None, detail, "every order of the units scores the same")
        return Measured(min(1.0, max(0.0, (float(drops.mean()) - low) / (high - low))), detail)

    def _bound(
        self, trial: Trial, sizes: NDArray[np.int64], keep: bool, best: Callable[..., Any]
    ) -> Generator[NDArray[np.bool_], NDArray[np.float64], float]:
        """The lowest or highest mean drop of any order, by beam search over sets that grow."""
        import numpy as np

        players, beam = trial.players, self.settings["beam"]
        weights = np.bincount(sizes, minlength=players + 1)  # how often a set of this size counts
        sign = 1.0 if best is np.max else -1.0
        kept: dict[bytes, tuple[float, NDArray[np.bool_]]] = {
            b"": (0.0, np.zeros(players, dtype=bool))
        }
        for size in range(1, int(sizes.max()) + 1):
            grown: dict[bytes, tuple[float, NDArray[np.bool_]]] = {}
            for total, members in kept.values():
                for player in np.flatnonzero(~members):
                    larger = members.copy()
                    larger[player] = True
                    key = larger.tobytes()
                    if key not in grown or sign * total > sign * grown[key][0]:
                        grown[key] = (total, larger)
            rows = np.array([members for _, members in grown.values()])
            values = yield rows if keep else ~rows
            drops = trial.full - values
            # Sets whose size does not count are told apart by what they do all the same.
            found = [
                (total + weights[size] * drop, drop, members)
                for (total, members), drop in zip(grown.values(), drops.tolist(), strict=True)
            ]
            found.sort(key=lambda one: (-sign * one[0], -sign * one[1]))
            kept = {members.tobytes(): (total, members) for total, _, members in found[:beam]}
        return float(best([total for total, _ in kept.values()])) / int(weights.sum())


class Comprehensiveness(_Aopc):
    """How far the output falls without the units of the largest values, over several sizes of the
    rationale: higher is better. Settings: `shares`, `scale`, `beam`.

    Source: DeYoung et al. 2020, "ERASER: A Benchmark to Evaluate Rationalized NLP Models", section
    4.2; the mean is over the sizes given, without the empty rationale that their sum begins with.
    """

    metric = Metric(
        "comprehensiveness", "attribution", (None, None), "higher",
        about="how far the output falls without the units of the largest values",
        title="output lost without the top units",
    )  # fmt: skip

    def ask(self, trial: Trial) -> Asking:
        """The outputs by size are the metric's detail."""
        return self._mean_drop(trial, keep=False)


class Sufficiency(_Aopc):
    """How far the output falls with nothing but the units of the largest values, over several
    sizes of the rationale: lower is better. Settings: `shares`, `scale`, `beam`.

    Source: DeYoung et al. 2020, section 4.2.
    """

    metric = Metric(
        "sufficiency", "attribution", (None, None), "lower",
        about="how far the output falls with nothing but the units of the largest values",
        title="output lost with the top units alone",
    )  # fmt: skip

    def ask(self, trial: Trial) -> Asking:
        """The outputs by size are the metric's detail."""
        return self._mean_drop(trial, keep=True)
