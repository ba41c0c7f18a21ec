"""Metrics against evidence: planted truths, expectations over ties, scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from trials_for_tests import trial_of

from harness.explainers.metrics.localisation import (
    AUPRC,
    F1,
    IoU,
    PointingGame,
    RelevanceMass,
    RelevanceRank,
)
from harness.explainers.metrics.metric import Trial

ALL = [PointingGame, RelevanceMass, RelevanceRank, IoU, F1, AUPRC]
EVIDENCE = np.array([False, True, True, False, False, False, False, True])


def value(metric: type, trial: Trial) -> float:
    found = metric().look(trial)
    assert found.value is not None, found.why
    return found.value


@pytest.mark.parametrize("metric", ALL)
def test_evidence_itself_is_perfect_and_the_rest_of_the_input_is_worst(metric: type) -> None:
    assert value(metric, trial_of(EVIDENCE * 2.0, evidence=EVIDENCE)) == pytest.approx(1.0)
    wrong = value(metric, trial_of(1.0 - EVIDENCE, evidence=EVIDENCE))
    assert wrong == pytest.approx(3 / 8 if metric is AUPRC else 0.0)


@pytest.mark.parametrize("metric", ALL)
def test_everything_scores_the_share_that_evidence_has(metric: type) -> None:
    scores = [value(metric, trial_of(np.ones(8), None, s, EVIDENCE)) for s in range(400)]
    expected = 3 / 8
    if metric is IoU:  # the mean over hypergeometric overlaps k of k / (6 - k)
        ways = [1 * 10, 3 * 10, 3 * 5, 1]  # of 56 triples those with 0, 1, 2, 3 in evidence
        expected = sum(w * k / (6 - k) for k, w in enumerate(ways)) / 56
    slack = 4 * np.std(scores) / 20 + 1e-12
    assert np.mean(scores) == pytest.approx(expected, abs=slack)


@pytest.mark.parametrize("metric", [PointingGame, RelevanceMass, RelevanceRank, AUPRC])
def test_no_order_of_equal_units_is_drawn_where_the_expectation_is_known(metric: type) -> None:
    scores = {value(metric, trial_of(np.ones(8), None, s, EVIDENCE)) for s in range(5)}
    assert scores == {3 / 8}


@pytest.mark.parametrize("seed", range(5))
def test_auprc_is_the_average_precision_of_features(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, sizes = np.round(rng.normal(size=12), 1), rng.integers(1, 6, size=12)
    evidence = rng.random(sizes.sum()) < 0.3
    evidence[0] = True
    mine = value(AUPRC, trial_of(values, None, 0, evidence, sizes))
    assert mine == pytest.approx(average_precision_score(evidence, np.repeat(values, sizes)))


@pytest.mark.parametrize("seed", range(5))
def test_relevance_rank_and_mass_are_those_of_single_features(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, evidence = rng.normal(size=30), rng.random(30) < 0.3
    trial = trial_of(values, None, 0, evidence)
    top = np.argsort(-values)[: evidence.sum()]
    assert value(RelevanceRank, trial) == pytest.approx(evidence[top].mean())
    positive = values.clip(0)
    assert value(RelevanceMass, trial) == pytest.approx(positive[evidence].sum() / positive.sum())
    both, count = evidence[top].sum(), evidence.sum()
    assert value(IoU, trial) == pytest.approx(both / (2 * count - both))
    assert value(F1, trial) == pytest.approx(both / count)


def test_the_matched_area_is_the_nearest_to_that_of_evidence() -> None:
    evidence = np.array([True] * 5 + [False] * 15)
    sizes = np.array([4, 3, 13])
    found = F1().look(trial_of([3.0, 2.0, 1.0], None, 0, evidence, sizes))
    assert found.detail == {"units": 1, "area": 4.0, "evidence": 5.0}
    assert found.value == pytest.approx(2 * 4 / 9)


def test_the_mass_of_a_unit_is_spread_over_its_features() -> None:
    evidence = np.array([True, False, False, False, True])
    trial = trial_of([2.0, 1.0, -5.0], None, 0, evidence, [2, 2, 1])
    assert value(RelevanceMass, trial) == pytest.approx((2.0 * 0.5) / 3.0)


def test_pointing_counts_a_unit_that_holds_any_evidence() -> None:
    evidence = np.array([True, False, False, False])
    assert value(PointingGame, trial_of([2.0, 1.0], None, 0, evidence, [2, 2])) == 1.0
    assert value(PointingGame, trial_of([1.0, 2.0], None, 0, evidence, [2, 2])) == 0.0
    assert value(PointingGame, trial_of([1.0, 1.0], None, 0, evidence, [2, 2])) == 0.5


@pytest.mark.parametrize(
    ("evidence", "said"),
    [(None, "no such evidence"), (np.zeros(3), "no unit"), (np.ones(3), "fills the input")],
)
@pytest.mark.parametrize("metric", ALL)
def test_metrics_do_not_apply_where_there_is_nothing_to_find(
    metric: type, evidence: np.ndarray | None, said: str
) -> None:
    found = metric().look(trial_of([1.0, 2.0, 3.0], evidence=evidence))
    assert found.value is None
    assert said in found.why


def test_mass_does_not_apply_where_no_value_is_positive() -> None:
    assert RelevanceMass().look(trial_of([-1.0, 0.0], evidence=[True, False])).value is None
