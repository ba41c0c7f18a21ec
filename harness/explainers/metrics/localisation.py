"""Does the attribution lie where the known reason lies? For samples with evidence.

Everything is counted in features (pixels, characters or tokens, steps), each of which has its
unit's value, or for mass its part of it. Features that are in no unit, that the classifier does not
see, or that are white space are left out on both sides. Evidence may be named: `evidence` takes the
one of that name alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.explainers.metrics.metric import Measured, Trial
from harness.records import Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class _Areas:
    """By player: its features, and how many of them are evidence."""

    all: NDArray[np.float64]
    evidence: NDArray[np.float64]

    @classmethod
    def of(cls, trial: Trial, name: str) -> _Areas | None:
        import numpy as np

        known = trial.evidence.get(name)
        if known is None:
            return None
        owner = trial.division.unit_of
        seen = (owner >= 0) & trial.counted
        every = np.bincount(owner[seen], minlength=trial.players)
        inside = np.bincount(owner[seen & known], minlength=trial.players)
        return cls(every.astype(np.float64), inside.astype(np.float64))


class _Located:
    """A metric of values against evidence."""

    family = "localisation"

    def __init__(self, evidence: str = "") -> None:
        self.settings: Mapping[str, Any] = {"evidence": evidence}

    def look(self, trial: Trial) -> Measured:
        """`None` where there is no such evidence, where it fills the input, or is not seen."""
        areas = _Areas.of(trial, self.settings["evidence"])
        if areas is None:
            return Measured(None, {}, "the sample has no such evidence")
        if areas.evidence.sum() == 0:
            return Measured(None, {}, "the evidence lies in no unit")
        if areas.evidence.sum() == areas.all.sum():
            return Measured(None, {}, "the evidence fills the input")
        return self._of(trial, areas)

    def _of(self, trial: Trial, areas: _Areas) -> Measured:
        raise NotImplementedError


class PointingGame(_Located):
    """1 where the unit of the largest value holds evidence, else 0; of several such units the share
    that does.

    Source: Zhang, Bargal, Lin, Brandt, Shen and Sclaroff 2018, "Top-down Neural Attention by
    Excitation Backprop"; units take the place of its margin of 15 pixels.
    """

    metric = Metric(
        "pointing_game", "attribution", (0.0, 1.0), "higher",
        about="whether the unit of the largest value holds evidence",
        title="top unit lies in the evidence",
    )  # fmt: skip

    def _of(self, trial: Trial, areas: _Areas) -> Measured:
        top = trial.levels == trial.levels.max()
        return Measured(float((areas.evidence[top] > 0).mean()))


class RelevanceMass(_Located):
    """The share of the positive values that lies in evidence, each unit's value spread evenly over
    its features.

    Source: Arras, Osman and Samek 2022, "CLEVR-XAI: A benchmark dataset for the ground truth
    evaluation of neural network explanations" (relevance mass accuracy).
    """

    metric = Metric(
        "relevance_mass", "attribution", (0.0, 1.0), "higher",
        about="share of the positive values that lies in evidence",
        title="share of value in the evidence",
    )  # fmt: skip

    def _of(self, trial: Trial, areas: _Areas) -> Measured:
        positive = trial.values.clip(min=0)
        if positive.sum() == 0:
            return Measured(None, {}, "no value is positive")
        shares = areas.evidence / areas.all.clip(min=1)
        return Measured(float(positive @ shares / positive.sum()))


class RelevanceRank(_Located):
    """The share of evidence among as many features of the largest values as evidence has.

    Units of equal value count together, and the last ones in part, so that nothing depends on their
    order.

    Source: Arras, Osman and Samek 2022 (relevance rank accuracy).
    """

    metric = Metric(
        "relevance_rank", "attribution", (0.0, 1.0), "higher",
        about="share of evidence among as many top features as evidence has",
        title="evidence among the top features",
    )  # fmt: skip

    def _of(self, trial: Trial, areas: _Areas) -> Measured:
        import numpy as np

        wanted = areas.evidence.sum()
        _, group = np.unique(-trial.levels, return_inverse=True)
        sizes, inside = np.bincount(group, areas.all), np.bincount(group, areas.evidence)
        before = np.cumsum(sizes) - sizes
        taken = (wanted - before).clip(0, sizes)
        return Measured(float((taken * inside / sizes.clip(min=1)).sum() / wanted))


class _Matched(_Located):
    """Overlap of evidence with the units of the largest values: as many whole units as come closest
    to its area. Units of equal value are taken in an order drawn by the seed."""

    def _of(self, trial: Trial, areas: _Areas) -> Measured:
        import numpy as np

        area = np.cumsum(areas.all[trial.order])
        inside = np.cumsum(areas.evidence[trial.order])
        wanted = areas.evidence.sum()
        last = int(np.argmin(np.abs(area - wanted)))
        detail = {"units": last + 1, "area": float(area[last]), "evidence": float(wanted)}
        overlap = self._overlap(float(inside[last]), float(area[last]), float(wanted))
        return Measured(overlap, detail)

    def _overlap(self, both: float, area: float, evidence: float) -> float:
        raise NotImplementedError


class IoU(_Matched):
    """Intersection over union of evidence and the top units at its area."""

    metric = Metric(
        "iou", "attribution", (0.0, 1.0), "higher",
        about="intersection over union of evidence and the top units at its area",
        title="overlap with the evidence (IoU)",
    )  # fmt: skip

    def _overlap(self, both: float, area: float, evidence: float) -> float:
        return both / (area + evidence - both)


class F1(_Matched):
    """F1 of the top units at the area of evidence: twice the intersection over the sum of both
    areas. DeYoung et al. 2020, section 4.1 (token F1), where evidence are rationale spans."""

    metric = Metric(
        "f1", "attribution", (0.0, 1.0), "higher",
        about="F1 of the top units against evidence, at its area",
        title="overlap with the evidence (F1)",
    )  # fmt: skip

    def _overlap(self, both: float, area: float, evidence: float) -> float:
        return 2 * both / (area + evidence)


class AUPRC(_Located):
    """The area under the curve of precision over recall of features (average precision), each with
    its unit's value; units of equal value are one threshold.

    Source: DeYoung et al. 2020, section 4.1 (AUPRC), by the sum over thresholds of precision times
    the gain in recall.
    """

    metric = Metric(
        "auprc", "attribution", (0.0, 1.0), "higher",
        about="area under precision over recall of features, by value",
        title="evidence ranked first",
    )  # fmt: skip

    def _of(self, trial: Trial, areas: _Areas) -> Measured:
        import numpy as np

        _, group = np.unique(-trial.levels, return_inverse=True)
        taken = np.cumsum(np.bincount(group, areas.all))
        found = np.bincount(group, areas.evidence)
        precision = np.cumsum(found) / taken.clip(min=1)
        return Measured(float(precision @ found / found.sum()))
