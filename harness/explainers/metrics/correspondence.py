"""Do the values say how far the output falls? Infidelity, sensitivity-n, tau-LOO, monotonicity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.metrics.metric import Asking, Measured, Trial
from harness.explainers.metrics.removal_curves import cuts, ranks_of
from harness.explainers.metrics.similarity import levels
from harness.records import HarnessError, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
_ROUNDING = 1e-6  # of the outputs: what single precision leaves


class _Draws:
    """Random sets of units to be removed: `draws` of each size of `shares` (of the units, rounded
    to whole ones, one at least and all but one at most). Both metrics that draw see the same sets,
    and so does every method of a sample."""

    family = "faithfulness"
    metric: Metric
    settings: Mapping[str, Any]

    def _drawn(self, trial: Trial) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The sizes, and the sets that are removed: sizes x draws x players."""
        import numpy as np

        players = trial.players
        wanted = np.round(np.array(self.settings["shares"]) * players).astype(np.int64)
        sizes = np.unique(wanted.clip(1, max(1, players - 1)))
        rng = np.random.default_rng(trial.seed)
        removed = np.zeros((len(sizes), self.settings["draws"], players), dtype=bool)
        for same, size in zip(removed, sizes, strict=True):
            for row in same:
                row[rng.permutation(players)[:size]] = True
        return sizes, removed


def _checked(where: str, shares: Sequence[float], draws: int) -> dict[str, Any]:
    fields.whole(where, 2, draws=draws)
    sizes = list(shares)
    if not sizes or not all(isinstance(s, (int, float)) and 0 < s <= 1 for s in sizes):
        raise HarnessError(f"{where}: shares are numbers above 0 and at most 1, not {shares!r}")
    return {"shares": sizes, "draws": draws}


class Infidelity(_Draws):
    """The mean squared difference between the sum of the values of removed units and how far the
    output falls without them, over random sets: lower is better.

    - `shares`, `draws`: sizes of the sets as shares of the units, and how many of each size
    - `scaled`: multiplies the values by the one factor not below zero that fits best, so that
      methods are not judged by the unit of their values, but by their signs
    - `normalised`: divides by the mean square of the falls. With `scaled`, 0 is a perfect fit and 1
      that of values which are all zero, or say the opposite of what happens

    Source: Yeh, Hsieh, Suggala, Inouye and Ravikumar 2019, "On the (In)fidelity and Sensitivity of
    Explanations", definition 2.1, with the removal of sets of features as the perturbation.
    """

    metric = Metric(
        "infidelity", "attribution", (0.0, None), "lower",
        about="mean squared difference between summed values and how far the output falls",
        title="error of summed values",
    )  # fmt: skip

    def __init__(
        self,
        shares: Sequence[float] = _SHARES,
        draws: int = 20,
        scaled: bool = True,
        normalised: bool = True,
    ) -> None:
        self.settings: Mapping[str, Any] = {
            **_checked("metric 'infidelity'", shares, draws),
            "scaled": scaled,
            "normalised": normalised,
        }

    def ask(self, trial: Trial) -> Asking:
        """The factor is in the metric's detail."""
        import numpy as np

        _, removed = self._drawn(trial)
        removed = removed.reshape(-1, trial.players)
        falls = trial.full - (yield ~removed)
        said = removed @ trial.values
        factor = 1.0
        if self.settings["scaled"]:
            square = float(said @ said)
            factor = max(0.0, float(said @ falls) / square) if square > 0 else 0.0
        error = float(np.mean((factor * said - falls) ** 2))
        if not self.settings["normalised"]:
            return Measured(error, {"factor": factor})
        size = float(np.mean(falls**2))
        if size <= (_ROUNDING * max(abs(trial.full), trial.scale)) ** 2:
            return Measured(None, {"factor": factor}, "the output never changes")
        return Measured(error / size, {"factor": factor})


class SensitivityN(_Draws):
    """Pearson's correlation between the sum of the values of n removed units and how far the output
    falls without them, over random sets of n, averaged over several n: higher is better.

    `shares` are the n as shares of the units, `draws` how many sets of each. An n at which all sums
    are equal counts 0; one at which the output never changes is left out.

    Source: Ancona, Ceolini, Öztireli and Gross 2018, "Towards better understanding of
    gradient-based attribution methods for Deep Neural Networks". With one n this is the
    faithfulness correlation of Bhatt, Weller and Moura 2020.
    """

    metric = Metric(
        "sensitivity_n", "attribution", (-1.0, 1.0), "higher",
        about="correlation between summed values and how far the output falls",
        title="summed values follow the output",
    )  # fmt: skip

    def __init__(self, shares: Sequence[float] = _SHARES, draws: int = 20) -> None:
        self.settings: Mapping[str, Any] = _checked("metric 'sensitivity_n'", shares, draws)

    def ask(self, trial: Trial) -> Asking:
        """The correlations by n are the metric's detail."""
        sizes, removed = self._drawn(trial)
        outputs = yield ~removed.reshape(-1, trial.players)
        falls = (trial.full - outputs).reshape(removed.shape[:2])
        said = removed @ trial.values
        found: dict[str, float] = {}
        for size, x, y in zip(sizes.tolist(), said, falls, strict=True):
            if y.std() > _ROUNDING * max(abs(trial.full), trial.scale):
                found[str(size)] = correlation(x, y)
        if not found:
            return Measured(None, {}, "the output never differs between sets of one size")
        return Measured(sum(found.values()) / len(found), {"correlations": found})


class TauLoo:
    """Kendall's tau-b between the values and how far the output falls without each unit alone:
    higher is better.

    Source: Jain and Wallace 2019, "Attention is not Explanation", section 4.1 (there with the
    total variation distance of the outputs).
    """

    family = "faithfulness"
    metric = Metric(
        "tau_loo", "attribution", (-1.0, 1.0), "higher",
        about="rank correlation with how far the output falls without each unit alone",
        title="order follows single removals",
    )  # fmt: skip

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def ask(self, trial: Trial) -> Asking:
        """Values without variation have no rank correlation, and count 0."""
        import numpy as np
        from scipy.stats import kendalltau

        if trial.players < 2:
            return Measured(None, {}, "there is a single unit")
        falls = trial.full - (yield ~np.eye(trial.players, dtype=bool))
        if np.ptp(falls) <= _ROUNDING * max(abs(trial.full), trial.scale):
            return Measured(None, {}, "the output falls equally without each unit")
        if np.ptp(trial.levels) == 0:
            return Measured(0.0)
        return Measured(float(kendalltau(trial.levels, levels(falls)).statistic))


class Monotonicity:
    """The share of steps at which the output moves the way the values say, while units are put back
    into the empty input, smallest value first: higher is better.

    A step adds one unit (several, where there are more units than `steps`); it should not lower the
    output where their values sum to more than zero, nor raise it where they sum to less. Steps of
    zero are left out. For values that are all positive this grades the test of Arya et al. 2019,
    "One Explanation Does Not Fit All" (there true or false; here `all_steps` in the
    detail).
    """

    family = "faithfulness"
    metric = Metric(
        "monotonicity", "attribution", (0.0, 1.0), "higher",
        about="share of steps at which the output moves the way the values say",
        title="steps that go the way the values say",
    )  # fmt: skip

    def __init__(self, steps: int = 20) -> None:
        fields.whole("metric 'monotonicity'", 1, steps=steps)
        self.settings: Mapping[str, Any] = {"steps": steps}

    def ask(self, trial: Trial) -> Asking:
        """`all_steps` says whether every step moved that way."""
        import numpy as np

        counts = cuts(trial.players, self.settings["steps"])
        added = ranks_of(trial.order[::-1])[None] < counts[:, None]
        moved = np.diff((yield added))
        said = np.diff(added @ trial.values)
        counted = np.abs(said) > 1e-9 * np.abs(trial.values).max(initial=0.0)
        if not counted.any():
            return Measured(None, {}, "all values are zero")
        slack = _ROUNDING * max(abs(trial.full), trial.scale)
        fits = (np.sign(said) * moved >= -slack)[counted]
        return Measured(float(fits.mean()), {"all_steps": bool(fits.all())})


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pearson's correlation; 0 where one of both does not vary beyond rounding."""
    import numpy as np

    x, y = x - x.mean(), y - y.mean()
    size = float(np.linalg.norm(x) * np.linalg.norm(y))
    flat = np.abs(x).max(initial=0.0) <= 1e-12 or np.abs(y).max(initial=0.0) <= 1e-12
    return 0.0 if flat or size == 0 else float(np.clip(x @ y / size, -1, 1))
