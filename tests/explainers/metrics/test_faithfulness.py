"""Metrics that ask the classifier, against closed forms, brute force and Captum."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from captum.metrics import infidelity
from games_for_tests import additive, ask, conjunction, random_game
from scipy.stats import pearsonr
from trials_for_tests import measured, trial_of

from harness.explainers.metrics.aopc import Comprehensiveness, Sufficiency
from harness.explainers.metrics.correspondence import (
    Infidelity,
    Monotonicity,
    SensitivityN,
    TauLoo,
)
from harness.explainers.metrics.removal_curves import Deletion, Insertion, cuts
from harness.records import HarnessError

EFFECTS = np.array([4.0, -1.0, 2.0, 0.5, -3.0, 1.5])
EVERY = [Deletion, Insertion, Comprehensiveness, Sufficiency, Infidelity, SensitivityN, TauLoo, Monotonicity]  # fmt: skip


def test_deletion_and_insertion_are_areas_of_sums_where_units_add_up() -> None:
    f = additive(EFFECTS, 7.0)
    trial = trial_of(EFFECTS, f)
    ordered = np.sort(EFFECTS)[::-1]
    kept = np.concatenate([[0], np.cumsum(ordered)]) / abs(EFFECTS.sum())
    gone = (EFFECTS.sum() - np.concatenate([[0], np.cumsum(ordered)])) / abs(EFFECTS.sum())
    shares = np.linspace(0, 1, 7)
    found, asked = measured(Insertion(), trial, f)
    assert found.value == pytest.approx(np.trapezoid(kept, shares))
    assert asked == 7
    found, _ = measured(Deletion(), trial, f)
    assert found.value == pytest.approx(np.trapezoid(gone, shares))
    assert found.detail["heights"] == pytest.approx(gone)


def test_the_true_order_has_the_best_curves_of_all_orders() -> None:
    f = additive(EFFECTS[:5])
    truth = EFFECTS[:5]
    several = [
        (
            measured(Deletion(), trial_of(values, f), f)[0].value,
            -measured(Insertion(), trial_of(values, f), f)[0].value,
        )
        for values in itertools.permutations(truth)
    ]
    best = measured(Deletion(), trial_of(truth, f), f)[0].value
    assert best == pytest.approx(min(one for one, _ in several))
    best = measured(Insertion(), trial_of(truth, f), f)[0].value
    assert -best == pytest.approx(min(one for _, one in several))


@pytest.mark.parametrize(("players", "steps"), [(6, 20), (40, 20), (33, 7), (1, 20), (1000, 3)])
def test_steps_of_a_curve_go_from_none_to_all_and_differ_by_one_at_most(
    players: int, steps: int
) -> None:
    counts = cuts(players, steps)
    assert (counts[0], counts[-1]) == (0, players)
    assert len(counts) == min(players, steps) + 1
    assert np.ptp(np.diff(counts)) <= 1


def test_comprehensiveness_and_sufficiency_are_mean_drops_of_the_top_units() -> None:
    f = additive(EFFECTS)
    trial = trial_of(EFFECTS, f)
    # of 6 units the shares .01, .05, .1, .2, .5 are 1, 1, 1, 2, 3 units
    tops = np.array([4, 4, 4, 6, 7.5])
    found, _ = measured(Comprehensiveness(scale="none"), trial, f)
    assert found.value == pytest.approx(tops.mean())
    found, _ = measured(Sufficiency(scale="none"), trial, f)
    assert found.value == pytest.approx((EFFECTS.sum() - tops).mean())
    found, _ = measured(Comprehensiveness(), trial, f)
    assert found.value == pytest.approx(tops.mean() / 4.0)


@pytest.mark.parametrize("metric", [Comprehensiveness, Sufficiency])
@pytest.mark.parametrize("seed", range(5))
def test_bounds_are_the_lowest_and_highest_of_all_orders(metric: type, seed: int) -> None:
    f = random_game(5, seed)
    shares = (0.2, 0.4, 0.6, 0.8, 1.0)
    every = [
        measured(metric(shares, "none"), trial_of(np.argsort(order), f), f)[0].value
        for order in itertools.permutations(range(5))
    ]
    values = np.random.default_rng(seed).normal(size=5)
    mine = measured(metric(shares, "none"), trial_of(values, f), f)[0].value
    found, _ = measured(metric(shares, "bounds", beam=2**5), trial_of(values, f), f)
    assert found.detail["lowest"] == pytest.approx(min(every))
    assert found.detail["highest"] == pytest.approx(max(every))
    assert found.value == pytest.approx((mine - min(every)) / (max(every) - min(every)))


def test_a_small_beam_lies_within_the_bounds_of_the_full_search() -> None:
    f = random_game(7, 3)
    values = np.random.default_rng(0).normal(size=7)
    wide, _ = measured(Comprehensiveness(scale="bounds", beam=128), trial_of(values, f), f)
    narrow, few = measured(Comprehensiveness(scale="bounds", beam=1), trial_of(values, f), f)
    assert wide.detail["lowest"] <= narrow.detail["lowest"] + 1e-12
    assert wide.detail["highest"] >= narrow.detail["highest"] - 1e-12
    assert few < 60


def test_infidelity_is_that_of_captum_on_the_same_sets() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    network = network.double()
    x = torch.randn(1, 6, dtype=torch.float64)

    def f(sets: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(x * torch.from_numpy(sets)).numpy()

    # Values that point the right way: Captum's factor may be negative, and ours may not.
    single = f(~np.eye(6, dtype=bool))[:, 0]
    values = f(np.ones((1, 6), dtype=bool))[0, 0] - single
    values = values + 0.3 * np.random.default_rng(1).normal(size=6) * np.abs(values).mean()
    plain = Infidelity(draws=10, scaled=False, normalised=False)
    trial = trial_of(values, f)
    drawn = next(plain.ask(trial))
    kept = iter(torch.from_numpy(drawn))

    def perturb(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        one = next(kept)
        return (~one).double()[None], inputs * one

    for scaled in (False, True):
        kept = iter(torch.from_numpy(drawn))
        theirs = infidelity(
            network, perturb, x, torch.from_numpy(values)[None], n_perturb_samples=len(drawn),
            max_examples_per_batch=1, normalize=scaled,
        )  # fmt: skip
        ours, _ = measured(Infidelity(draws=10, scaled=scaled, normalised=False), trial, f)
        assert ours.value == pytest.approx(float(theirs))


@pytest.mark.parametrize("effects", [[-0.05, -0.12, -0.03, -0.08], [0.4, -0.1, 0.2, 0.0, 0.3]])
@pytest.mark.parametrize("factor", [1.0, 2.0, 1e3])
def test_infidelity_of_values_with_every_sign_turned_is_that_of_no_values(
    effects: list[float], factor: float
) -> None:
    true, f = np.array(effects), additive(np.array(effects), 0.6)
    assert measured(Infidelity(), trial_of(factor * true, f), f)[0].value == pytest.approx(0)
    turned = measured(Infidelity(), trial_of(-factor * true, f), f)[0]
    assert turned.value == pytest.approx(1)
    assert turned.detail["factor"] == 0
    assert measured(Infidelity(), trial_of(0 * true, f), f)[0].value == pytest.approx(1)


def test_sensitivity_n_is_pearsons_correlation_at_each_n() -> None:
    f = random_game(6, 2)
    values = np.random.default_rng(3).normal(size=6)
    metric = SensitivityN(shares=(0.5,), draws=12)
    trial = trial_of(values, f)
    kept = next(metric.ask(trial))
    assert set((~kept).sum(1)) == {3}
    falls = trial.full - ask(f, kept)[:, 0]
    expected = pearsonr((~kept) @ values, falls).statistic
    found, _ = measured(metric, trial, f)
    assert found.value == pytest.approx(expected)


@pytest.mark.parametrize("metric", EVERY)
def test_true_values_of_an_additive_game_are_perfect_and_reversed_ones_worst(metric: type) -> None:
    f = additive(EFFECTS)
    one = metric()
    right = measured(one, trial_of(EFFECTS, f), f)[0].value
    wrong = measured(one, trial_of(-EFFECTS, f), f)[0].value
    perfect = {
        "infidelity": 0.0, "sensitivity_n": 1.0, "tau_loo": 1.0, "monotonicity": 1.0
    }  # fmt: skip
    if one.metric.name in perfect:
        assert right == pytest.approx(perfect[one.metric.name], abs=1e-9)
    if one.metric.name in ("sensitivity_n", "tau_loo"):
        assert wrong == pytest.approx(-1.0)
    if one.metric.name == "infidelity":  # which a factor of -1 mends
        wrong = measured(metric(scaled=False), trial_of(-EFFECTS, f), f)[0].value
        assert wrong == pytest.approx(4.0)
    better = right < wrong if one.metric.direction == "lower" else right > wrong
    assert better


@pytest.mark.parametrize("metric", EVERY)
@pytest.mark.parametrize("factor", [1e-3, 50.0])
def test_no_metric_of_faithfulness_depends_on_the_units_of_values(
    metric: type, factor: float
) -> None:
    f, values = random_game(6, 5), np.random.default_rng(6).normal(size=6)
    before = measured(metric(), trial_of(values, f), f)[0].value
    after = measured(metric(), trial_of(factor * values, f), f)[0].value
    assert after == pytest.approx(before, rel=1e-9)


def test_equal_values_are_ordered_by_chance_and_not_by_place() -> None:
    f = additive(np.array([1.0, 0, 0, 0, 0, 0, 0, 0]))
    curves = [
        measured(Insertion(), trial_of(np.ones(8), f, seed), f)[0].value for seed in range(400)
    ]
    # the one unit that matters comes at each of 8 places alike: the mean height is one half
    assert np.mean(curves) == pytest.approx(0.5, abs=4 * np.std(curves) / math.sqrt(400))
    assert np.std(curves) > 0.2


def test_metrics_say_why_they_do_not_apply() -> None:
    flat = additive(np.zeros(4), 2.0)
    trial = trial_of(np.arange(4.0), flat)
    assert "never differs" in measured(SensitivityN(), trial, flat)[0].why
    assert "never changes" in measured(Infidelity(), trial, flat)[0].why
    assert "equally" in measured(TauLoo(), trial, flat)[0].why
    assert "zero" in measured(Monotonicity(), trial_of(np.zeros(4), flat), flat)[0].why
    every = conjunction([0, 1])
    assert measured(Comprehensiveness(scale="bounds"), trial_of([1, 2], every), every)[0].why


def test_the_steps_of_monotonicity_count_what_goes_the_other_way() -> None:
    f = additive(np.array([1.0, 2.0, -3.0, 4.0]))
    found, _ = measured(Monotonicity(), trial_of([1.0, 2.0, 3.0, 4.0], f), f)
    assert found.value == pytest.approx(0.75)
    assert found.detail["all_steps"] is False


@pytest.mark.parametrize(
    ("metric", "options", "said"),
    [
        (Deletion, {"steps": 0}, "steps"),
        (Comprehensiveness, {"shares": (0.0,)}, "shares"),
        (Comprehensiveness, {"scale": "all"}, "scale"),
        (Sufficiency, {"beam": 0}, "beam"),
        (Infidelity, {"draws": 1}, "draws"),
        (SensitivityN, {"shares": (2.0,)}, "shares"),
    ],
)
def test_settings_that_cannot_be_are_refused(metric: type, options: dict, said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        metric(**options)
