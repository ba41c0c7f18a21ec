"""Agreement against scikit-learn, statsmodels, published examples and planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from statsmodels.stats.inter_rater import fleiss_kappa

from harness.stats import agreement


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auc_equals_scikit_learn_with_ties(rows):
    labels, scores = [y for y, _ in rows], [float(s) for _, s in rows]
    found = agreement.auc(labels, scores)
    if len(set(labels)) == 2:
        assert found.value == pytest.approx(roc_auc_score(labels, scores))
    else:
        assert found.value is None


def test_auc_interval_holds_the_true_auc_and_respects_clusters():
    from scipy.stats import norm

    rng, truth, hits = np.random.default_rng(0), norm.cdf(1 / np.sqrt(2)), 0
    for i in range(100):
        labels = rng.random(80) < 0.4
        found = agreement.auc(labels, rng.normal(labels.astype(float), 1), seed=i)
        hits += found.low <= truth <= found.high
    assert 88 <= hits <= 100
    labels = rng.random(40) < 0.4
    scores = rng.normal(labels.astype(float), 1)
    alone = agreement.auc(labels, scores)
    copied = agreement.auc(np.tile(labels, 9), np.tile(scores, 9), np.tile(np.arange(40), 9))
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))


def test_a_perfect_auc_from_few_positives_is_not_certain():
    labels = [True] * 3 + [False] * 60
    found = agreement.auc(labels, np.arange(63.0)[::-1])
    assert found.value == found.high == 1.0
    assert found.low < 0.5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=40))
def test_cohen_kappa_equals_scikit_learn(rows):
    a, b = [x for x, _ in rows], [y for _, y in rows]
    found = agreement.cohen_kappa(a, b)
    if len({*a, *b}) == 1:
        assert found.value is None
    else:
        assert found.value == pytest.approx(cohen_kappa_score(a, b))


def test_auc_within_strata_compares_only_pairs_of_one_stratum():
    rng = np.random.default_rng(5)
    strata = np.repeat(["a", "b", "c"], 40)
    labels, scores = rng.random(120) < 0.4, rng.normal(size=120).round(1)
    wins, pairs = 0.0, 0
    for i in np.flatnonzero(labels):
        for j in np.flatnonzero(~labels & (strata == strata[i])):
            wins, pairs = wins + (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]), pairs + 1
    found = agreement.auc(labels, scores, strata=strata)
    assert found.value == pytest.approx(wins / pairs)


def test_within_strata_a_score_that_only_tells_them_apart_is_worth_nothing():
    # Simpson's paradox: one source is right more often and scores higher, and that is all.
    rng = np.random.default_rng(6)
    strata = np.repeat([0, 1], 200)
    labels = rng.random(400) < np.where(strata, 0.9, 0.1)
    scores = 3.0 * strata + rng.normal(size=400)
    assert agreement.auc(labels, scores).low > 0.8
    within = agreement.auc(labels, scores, strata=strata)
    assert within.low < 0.5 < within.high


def test_difference_of_aucs_is_theirs_and_pairing_narrows_its_interval():
    rng = np.random.default_rng(7)
    labels = rng.random(200) < 0.5
    a = labels + rng.normal(size=200)
    b = a + 0.3 * rng.normal(size=200)
    found = agreement.auc_difference(labels, a, b)
    first, second = agreement.auc(labels, a), agreement.auc(labels, b)
    assert found.value == pytest.approx(first.value - second.value)
    assert found.high - found.low < 0.6 * (first.high - first.low)


# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: the ratings that
# twelve units got from four observers, some missing.
KRIPPENDORFF = [
    [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
    [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
]  # fmt: skip


def test_krippendorff_alpha_equals_the_published_example():
    found = agreement.krippendorff_alpha(KRIPPENDORFF)
    assert found.value == pytest.approx(0.743, abs=6e-4)
    assert found.n == 11  # the last unit has one rating only
    assert found.low < found.value < found.high


def test_krippendorff_alpha_of_many_units_is_fleiss_kappa():
    votes = np.random.default_rng(1).multinomial(4, [0.5, 0.3, 0.2], size=4000)
    ratings = [[name for name, count in enumerate(unit) for _ in range(count)] for unit in votes]
    found = agreement.krippendorff_alpha(ratings)
    assert found.value == pytest.approx(fleiss_kappa(votes), abs=2e-4)


def test_intervals_name_the_units_they_count():
    labels, scores = [True, False] * 5, list(range(10))
    for found in (
        agreement.auc(labels, scores, cluster_name="question"),
        agreement.cohen_kappa(labels, labels, cluster_name="question"),
        agreement.krippendorff_alpha([[x, x] for x in labels], cluster_name="question"),
    ):
        assert "question" in found.method
