"""Shapley-Taylor and k-SII of order 2 against their definitions on all sets, and their axioms."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from games_for_tests import (
    Function,
    additive,
    all_sets,
    ask,
    brute_force_shapley,
    conjunction,
    majority,
    play,
    random_game,
    trace,
)

import harness
from harness import serial
from harness.explainers.attributions.interactions import KSII, ShapleyTaylor
from harness.explainers.explanation import Explanation
from harness.explainers.games import Perturbation, Played
from harness.explainers.summary import summary
from harness.show import explanation_text
from harness.store.arrays import joined, split

METHODS = [ShapleyTaylor(), KSII()]
NAMES = ["shapley_taylor", "k_sii"]


def moebius(f: Function, players: int) -> dict[tuple[int, ...], np.ndarray]:
    """The share of each set that none of its parts has: f is the sum of those of all parts."""
    sets = all_sets(players)
    values = dict(zip(map(tuple, np.where(sets, 1, 0).tolist()), ask(f, sets), strict=True))
    found: dict[tuple[int, ...], np.ndarray] = {}
    for size in range(players + 1):
        for members in itertools.combinations(range(players), size):
            key = tuple(int(p in members) for p in range(players))
            parts = itertools.chain.from_iterable(
                itertools.combinations(members, smaller) for smaller in range(size)
            )
            found[members] = values[key] - sum(found[part] for part in parts)
    return found


def of_definition(name: str, f: Function, players: int) -> tuple[np.ndarray, np.ndarray]:
    """Mains and pairs: Shapley-Taylor shares a set's term among its pairs alike; the Shapley
    interaction index of a pair takes 1 / (size - 1) of each, and k-SII leaves a player its Shapley
    value (1 / size of each) less half of its pairs."""
    terms = moebius(f, players)
    pairs = list(itertools.combinations(range(players), 2))
    targets = terms[()].shape[0]
    mains, both = np.zeros((players, targets)), np.zeros((len(pairs), targets))
    for members, term in terms.items():
        size = len(members)
        for number, pair in enumerate(pairs):
            if set(pair) <= set(members):
                share = 1 / (size - 1) if name == "k_sii" else 2 / (size * (size - 1))
                both[number] += share * term
        for player in members:
            if name == "k_sii":
                mains[player] += term / size
            elif size == 1:
                mains[player] += term
    if name == "k_sii":
        for number, pair in enumerate(pairs):
            mains[list(pair)] -= both[number] / 2
    return mains, both


def pairwise(players: int, seed: int = 0, targets: int = 1) -> Function:
    """Effects of players and of pairs, drawn from the standard normal distribution."""
    rng = np.random.default_rng(seed)
    alone = rng.normal(size=(players, targets))
    first, second = np.triu_indices(players, 1)
    both = rng.normal(size=(len(first), targets))
    return lambda sets: 0.3 + sets @ alone + (sets[:, first] & sets[:, second]) @ both


def pairs_of(played: Played) -> np.ndarray:
    assert played.pairs is not None
    return played.pairs


@pytest.mark.parametrize("method", METHODS)
def test_the_methods_are_perturbation_methods(method: Perturbation) -> None:
    assert isinstance(method, Perturbation)


@pytest.mark.parametrize("players", [2, 3, 4, 5, 7, 10])
@pytest.mark.parametrize(("method", "name"), list(zip(METHODS, NAMES, strict=True)))
def test_with_all_sets_values_follow_the_definition(
    method: Perturbation, name: str, players: int
) -> None:
    game = random_game(players, seed=players, targets=2)
    played, asked = play(method, game, players)
    mains, pairs = of_definition(name, game, players)
    np.testing.assert_allclose(played.values, mains, atol=1e-10)
    np.testing.assert_allclose(pairs_of(played), pairs, atol=1e-10)
    assert asked == 2**players
    assert played.standard_errors is None
    assert played.pair_errors is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("players", "budget"), [(2, 4), (6, 24), (6, 64), (13, 200), (30, None)])
def test_values_sum_to_the_full_value_less_the_empty_one(
    method: Perturbation, players: int, budget: int | None
) -> None:
    def f(sets: np.ndarray) -> np.ndarray:
        return np.tanh(sets @ np.linspace(-1, 2, players)) + sets[:, 0] * sets[:, -1] - 0.2

    played, asked = play(method, f, players, budget)
    ends = ask(f, np.array([[0] * players, [1] * players], bool))
    total = played.values.sum(0) + pairs_of(played).sum(0)
    np.testing.assert_allclose(total, ends[1] - ends[0], atol=1e-9)
    assert asked <= (method.budget(players) if budget is None else budget)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("players", "budget"), [(8, 256), (12, 60), (40, 170)])
def test_pairs_of_an_additive_game_are_zero_and_players_have_their_effects(
    method: Perturbation, players: int, budget: int
) -> None:
    effects = np.linspace(-1, 3, players)
    played, _ = play(method, additive(effects, 5.0), players, budget)
    np.testing.assert_allclose(played.values[:, 0], effects, atol=1e-9)
    np.testing.assert_allclose(pairs_of(played), 0, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("players", "budget"), [(9, 512), (15, 1024), (30, None), (36, None)])
def test_a_game_of_pairs_is_told_exactly(
    method: Perturbation, players: int, budget: int | None
) -> None:
    game = pairwise(players)
    played, _ = play(method, game, players, budget)
    singles = ask(game, np.concatenate([np.zeros((1, players), bool), np.eye(players, dtype=bool)]))
    np.testing.assert_allclose(played.values, singles[1:] - singles[0], atol=1e-7)
    for number, pair in enumerate(itertools.combinations(range(players), 2)):
        sets = np.zeros((4, players), bool)
        sets[[1, 2], pair] = True
        sets[3, list(pair)] = True
        derivative = np.array([1, -1, -1, 1]) @ ask(game, sets)
        assert pairs_of(played)[number] == pytest.approx(derivative, abs=1e-7)


@pytest.mark.parametrize("players", [2, 8, 20])
def test_an_and_of_two_players_is_all_their_pairs(players: int) -> None:
    for method in METHODS:
        played, _ = play(method, conjunction([0, 1]), players)
        np.testing.assert_allclose(pairs_of(played)[0], 1, atol=1e-8)
        np.testing.assert_allclose(pairs_of(played)[1:], 0, atol=1e-8)
        np.testing.assert_allclose(played.values, 0, atol=1e-8)


def test_an_and_of_three_is_shared_by_the_pairs_as_each_index_says() -> None:
    inside = [0, 1, 7]  # of eight players: (0, 1), (0, 2) and (1, 2)
    taylor, _ = play(ShapleyTaylor(), conjunction([0, 1, 2]), 8)
    np.testing.assert_allclose(pairs_of(taylor)[inside, 0], 1 / 3, atol=1e-12)
    np.testing.assert_allclose(taylor.values, 0, atol=1e-12)
    sii, _ = play(KSII(), conjunction([0, 1, 2]), 8)
    np.testing.assert_allclose(pairs_of(sii)[inside, 0], 1 / 2, atol=1e-12)
    np.testing.assert_allclose(sii.values[:3, 0], 1 / 3 - 1 / 2, atol=1e-12)


@pytest.mark.parametrize("budget", [512, 300])
def test_players_of_k_sii_with_half_of_their_pairs_are_shapley_values(budget: int) -> None:
    game = random_game(9, seed=4) if budget == 512 else pairwise(9)
    played, _ = play(KSII(), game, 9, budget)
    values = played.values.copy()
    for number, pair in enumerate(itertools.combinations(range(9), 2)):
        values[list(pair)] += pairs_of(played)[number] / 2
    np.testing.assert_allclose(values, brute_force_shapley(game, 9), atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_no_player_and_one_player_have_no_pairs(method: Perturbation) -> None:
    played, _ = play(method, lambda sets: np.ones((len(sets), 2)), 0)
    assert played.values.shape == (0, 2)
    assert pairs_of(played).shape == (0, 2)
    played, asked = play(method, additive(np.array([[3.0, -2.0]]), 7), 1)
    np.testing.assert_allclose(played.values, [[3, -2]])
    assert pairs_of(played).shape == (0, 2)
    assert asked == 2


@pytest.mark.parametrize("players", [1, 2, 3, 4, 5, 6, 9, 16, 33, 60])
@pytest.mark.parametrize("method", METHODS)
def test_the_least_budget_is_enough_and_kept_to(method: Perturbation, players: int) -> None:
    budget = method.least(players)
    played, asked = play(method, majority, players, budget)
    assert asked <= budget
    assert np.isfinite(played.values).all()
    assert np.isfinite(pairs_of(played)).all()


def test_both_indices_ask_for_the_same_sets() -> None:
    taylor, sii = (trace(method, majority, 14, 300, seed=3)[1] for method in METHODS)
    assert taylor == sii
    assert len(taylor) >= 299


def test_players_values_are_exact_in_a_sampled_shapley_taylor_index() -> None:
    game = random_game(12, seed=1)
    played, _ = play(ShapleyTaylor(), game, 12, 400)
    singles = ask(game, np.concatenate([np.zeros((1, 12), bool), np.eye(12, dtype=bool)]))
    np.testing.assert_allclose(played.values, singles[1:] - singles[0], atol=1e-9)
    assert played.standard_errors is not None
    np.testing.assert_allclose(played.standard_errors, 0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_few_draws_give_no_standard_errors_and_say_so(method: Perturbation) -> None:
    played, _ = play(method, majority, 12, method.least(12))
    assert played.standard_errors is None
    assert played.pair_errors is None
    assert "too small" in played.notes[0]


def saturating(sets: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-(sets @ np.linspace(-1.5, 2, sets.shape[1])))))


@pytest.mark.parametrize(
    "game", [saturating, majority, random_game(9, seed=6), conjunction([0, 2, 5, 8])]
)
@pytest.mark.parametrize(("method", "name"), list(zip(METHODS, NAMES, strict=True)))
@pytest.mark.parametrize("budget", [90, 250])
def test_estimates_are_unbiased_and_their_errors_honest(
    method: Perturbation, name: str, game: Function, budget: int
) -> None:
    _, truth = of_definition(name, game, 9)
    found = [play(method, game, 9, budget, seed)[0] for seed in range(30)]
    values = np.stack([pairs_of(one)[:, 0] for one in found])
    errors = np.stack([np.asarray(one.pair_errors)[:, 0] for one in found])
    misses = values - truth[:, 0]
    assert (np.abs(misses) <= 1.96 * errors + 1e-9).mean() >= 0.92
    # The mean over seeds of all pairs' misses is as small as their errors allow.
    noise = np.sqrt((errors**2).mean(0) / len(found))
    assert (np.abs(misses.mean(0)) <= 4 * noise + 1e-9).all()


def judge(asked: list[str]) -> Callable[[list[str]], list[dict[str, float]]]:
    """Bad are texts with both "not" and "good", and a little those with "slow"."""

    def classify(texts: list[str]) -> list[dict[str, float]]:
        asked.extend(texts)
        shares = [0.1 + 0.6 * ("not" in t and "good" in t) + 0.2 * ("slow" in t) for t in texts]
        return [{"bad": share, "fine": 1 - share} for share in shares]

    return classify


TEXT = "food was not good and slow"
LONG = "the staff were kind but the food was not good at all and the rest slow too"


@pytest.mark.parametrize("text", [TEXT, LONG])
def test_a_pair_of_words_is_found_and_no_set_is_evaluated_twice(text: str) -> None:
    asked: list[str] = []
    found = harness.explain(judge(asked), [text], NAMES, "word", target="bad", removal="delete")
    for attribution in found:
        texts = [unit.text.strip() for unit in attribution.units]
        assert len(attribution.pairs) == len(texts) * (len(texts) - 1) // 2
        strongest = max(attribution.pairs, key=lambda pair: pair.value)
        assert (texts[strongest.first], texts[strongest.second]) == ("not", "good")
        assert strongest.value == pytest.approx(0.6, abs=1e-6)
        assert attribution.values[texts.index("slow")] == pytest.approx(0.2, abs=1e-6)
        assert attribution.completeness_error == pytest.approx(0, abs=1e-9)
        assert summary(attribution, 2) == "“not” with “good” and “slow”"
    # Both methods share their sets.
    assert len(asked) <= found[0].evaluations + 2
    assert found[0].evaluations == found[1].evaluations == min(2 ** len(found[0].units), 1024)


def test_pairs_are_of_units_that_the_classifier_sees_and_are_kept_in_files(tmp_path: Path) -> None:
    found = harness.explain(judge([]), [TEXT, LONG], "k_sii", "word", target="all", budget=400)
    path = tmp_path / "why.safetensors"
    found.save(path)
    assert Explanation.load(path) == found
    assert any(pair.standard_error is not None for pair in found[2].pairs)
    frame = found.pair_frame
    assert len(frame) == sum(len(a.pairs) for a in found)
    top = frame.loc[frame["value"].idxmax()]
    assert (top.first_text.strip(), top.second_text.strip()) == ("not", "good")


def test_attributions_without_pairs_are_stored_as_before() -> None:
    (found,) = harness.explain(judge([]), [TEXT], "leave_one_out", "word", target="bad")
    assert found.pairs == ()
    assert "pairs" not in serial.dumps(found)
    record, arrays = split(found)
    assert set(arrays) == {"values"}
    assert joined(record, arrays) == found


def test_the_console_names_the_strongest_pairs() -> None:
    found = harness.explain(judge([]), [TEXT], "shapley_taylor", "word", target="bad")
    lines = explanation_text(found, 2).splitlines()
    assert any("+0.6" in line and "together: “not” with “good”" in line for line in lines)
    assert sum("together" in line for line in lines) == 1


def test_pairs_of_features_are_found_in_a_table() -> None:
    pandas = pytest.importorskip("pandas")

    def classify(rows: pandas.DataFrame) -> np.ndarray:
        share = (rows["dose"] * rows["age"]).to_numpy()
        return np.stack([share, 1 - share], axis=1)

    table = pandas.DataFrame({"dose": [0.5], "age": [0.8], "height": [3.0]})
    found = harness.explain(classify, table, "shapley_taylor", classes=["a", "b"], target="a")
    assert found[0].pairs[0].value == pytest.approx(0.4)
    assert "dose with age" in found._repr_html_()
