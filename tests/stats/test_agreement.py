"""Agreement against scikit-learn, statsmodels, published examples and planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from statsmodels.stats.inter_rater import fleiss_kappa

from harness.records import HarnessError
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


def test_fleiss_kappa_equals_statsmodels_and_wants_equal_raters():
    counts = np.random.default_rng(1).multinomial(4, [0.5, 0.3, 0.2], size=25)
    assert agreement.fleiss_kappa(counts).value == pytest.approx(fleiss_kappa(counts))
    with pytest.raises(HarnessError, match="same number"):
        agreement.fleiss_kappa([[2, 1], [1, 1]])


# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: four observers,
# twelve units, with missing values.
_N = None
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _N, _N, _N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _N, 3],
    [_N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _N],
]


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_krippendorff_alpha_equals_the_published_example(level, alpha):
    found = agreement.krippendorff_alpha(KRIPPENDORFF, level)
    assert found.value == pytest.approx(alpha, abs=6e-4)
    assert found.n == 11  # the last unit has one rating only
    assert found.low < found.value < found.high


def test_human_ceiling_of_two_raters_is_their_kappa():
    rng = np.random.default_rng(2)
    a = {f"u{i}": bool(rng.random() < 0.5) for i in range(50)}
    b = {u: label ^ bool(rng.random() < 0.2) for u, label in a.items()}
    found = agreement.human_ceiling({"a": a, "b": b})
    assert found.value == pytest.approx(cohen_kappa_score(list(a.values()), list(b.values())))


def test_human_ceiling_leaves_the_rater_out_and_ties_aside():
    truth = {f"u{i}": i % 2 == 0 for i in range(30)}
    stray = {unit: not label for unit, label in truth.items()}
    found = agreement.human_ceiling({"a": truth, "b": truth, "c": stray})
    # a against {b, c} and b against {a, c} are ties everywhere; only c has a majority against it
    assert found.value == pytest.approx(-1.0)
    assert agreement.human_ceiling({"a": truth, "b": truth}, "auc").value == 1.0
    assert agreement.human_ceiling({"a": truth}).value is None


def test_within_groups_ignores_levels_that_differ_between_groups():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(6), 60)
    x, y = groups * 5.0 + rng.normal(size=360), groups * 5.0 + rng.normal(size=360)
    found = agreement.within(groups.tolist(), x, y)
    assert found.raw > 0.9
    assert found.pooled.low < 0 < found.pooled.high
    assert abs(found.pooled.value) < 0.15


@pytest.mark.parametrize("method", ["spearman", "kendall"])
def test_within_one_group_equals_scipy(method):
    from scipy import stats

    rng = np.random.default_rng(4)
    x = rng.normal(size=40)
    y = x + rng.normal(size=40)
    oracle = stats.spearmanr(x, y) if method == "spearman" else stats.kendalltau(x, y)
    found = agreement.within(["g"] * 40, x, y, method)
    assert found.pooled.value == pytest.approx(oracle.statistic)
    assert found.raw == pytest.approx(oracle.statistic)


def test_within_leaves_out_small_and_constant_groups():
    found = agreement.within(["a"] * 3 + ["b"] * 6, [1, 2, 3] + [1] * 6, range(9))
    assert (found.pooled.value, found.groups, found.left_out) == (None, 0, 2)
