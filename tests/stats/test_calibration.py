"""Calibration, confusion and balanced accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, confusion_matrix

from harness.records import HarnessError
from harness.stats import calibration


def plugin_ece(p, hit):
    """The usual estimate: mean distance of accuracy and confidence, by size of bin."""
    rows = calibration.reliability(p, hit)
    return sum(n * abs(accuracy - confidence) for confidence, accuracy, n in rows) / len(p)


def test_ece_of_a_calibrated_classifier_is_near_zero_where_the_plug_in_is_not():
    rng, plain, debiased, held = np.random.default_rng(0), [], [], 0
    for i in range(60):
        p = rng.uniform(0.5, 1, 150)
        hit = rng.random(150) < p
        found = calibration.ece(p, hit, seed=i)
        plain.append(plugin_ece(p, hit))
        debiased.append(found.value)
        held += found.low == 0
    assert np.mean(plain) > 0.05
    assert np.mean(debiased) < 0.7 * np.mean(plain)
    assert held >= 53  # 95 % of 60, less three standard errors


def test_ece_finds_planted_overconfidence():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.6, 1, 3000)
    found = calibration.ece(p, rng.random(3000) < p - 0.2)
    assert found.value == pytest.approx(0.2, abs=0.03)
    assert found.low <= 0.2 <= found.high


def test_equal_confidences_make_one_bin():
    p, hit = [0.9] * 40, [True] * 20 + [False] * 20
    assert calibration.reliability(p, hit) == ((pytest.approx(0.9), 0.5, 40),)


def test_reliability_bins_partition_the_samples_and_never_part_ties():
    rng = np.random.default_rng(2)
    p = rng.choice([0.2, 0.5, 0.55, 0.9], 400)
    rows = calibration.reliability(p, rng.random(400) < 0.5, bins=15)
    assert sum(n for _, _, n in rows) == 400
    assert [c for c, _, _ in rows] == pytest.approx([0.2, 0.5, 0.55, 0.9])


def test_brier_equals_scikit_learn():
    rng = np.random.default_rng(3)
    p, y = rng.random(50), rng.random(50) < 0.5
    assert calibration.brier(p, y).value == pytest.approx(brier_score_loss(y, p))


def test_confusion_and_balanced_accuracy_equal_scikit_learn():
    rng = np.random.default_rng(4)
    true, predicted = (rng.choice(list("abc"), 90, p=[0.6, 0.3, 0.1]).tolist() for _ in range(2))
    table = calibration.confusion(true, predicted, "cab")
    assert (table == confusion_matrix(true, predicted, labels=list("cab"))).all()
    found = calibration.balanced_accuracy(true, predicted, "abc")
    assert found.value == pytest.approx(balanced_accuracy_score(true, predicted))
    assert found.low < found.value < found.high


def test_intervals_name_the_units_they_count():
    true, sure = ["a", "b"] * 20, [0.9] * 40
    hit = [i % 4 > 0 for i in range(40)]
    forests = [i // 4 for i in range(40)]
    for found in (
        calibration.balanced_accuracy(true, ["a"] * 40, "ab", forests, cluster_name="forest"),
        calibration.ece(sure, hit, 1, forests, cluster_name="forest"),
        calibration.brier(sure, hit, forests, cluster_name="forest"),
    ):
        assert "forest" in found.method


def test_classes_missing_in_the_truth_do_not_count():
    found = calibration.balanced_accuracy(["a", "a", "b", "b"], ["a", "c", "b", "b"], "abc")
    assert found.value == pytest.approx(0.75)


def test_a_perfect_classifier_of_a_rare_class_is_not_certain():
    true = ["a"] * 50 + ["b"] * 2
    found = calibration.balanced_accuracy(true, true, "ab")
    assert found.value == 1.0
    assert found.low < 0.6  # two of two say little of a recall


def test_bad_labels_and_confidences_are_named():
    with pytest.raises(HarnessError, match="'z'"):
        calibration.confusion(["a"], ["z"], "ab")
    with pytest.raises(HarnessError, match=r"\[0, 1\]"):
        calibration.ece([1.2], [True])
    assert calibration.ece([], []).value is None
