"""Probes against scikit-learn, and TCAV against Captum's and against planted concepts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.concept import TCAV, Classifier, Concept
from descents_for_tests import MLP, drawn, same, state
from scipy.spatial.distance import mahalanobis as distance
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from harness.explainers.concepts.asked import Asked
from harness.explainers.concepts.rows import InMemory
from harness.explainers.concepts.spaces.fit import SUPERVISED, UNSUPERVISED, fit
from harness.explainers.concepts.spaces.space import load
from harness.explainers.concepts.tcav import activation_vector, tcav, tcav_score
from harness.records import HarnessError

DRAW = np.random.default_rng(3)
ROWS = DRAW.normal(size=(400, 6)) * [1, 2, 0.5, 1, 1, 3] + 2
KNOWN = {
    "up": ROWS[:, 0] + DRAW.normal(size=400) * 0.5 > 2.5,
    "wide": ROWS @ [0.2, 1, 0, 0, 0.5, 0] + DRAW.normal(size=400) > 3,
}


class Small(InMemory):
    def batches(self, size: int = 0, seed: int | None = None) -> Any:
        yield from super().batches(37, seed)


@pytest.mark.parametrize("strength", [0.01, 1.0, 50.0])
def test_a_probe_is_scikit_learns_logistic_regression(strength: float) -> None:
    space = fit("linear_probe", Small(ROWS), known=KNOWN, strength=strength)
    for place, labels in enumerate(KNOWN.values()):
        peer = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(ROWS, labels)
        wanted = peer.decision_function(ROWS)
        np.testing.assert_allclose(space.encode(ROWS)[:, place], wanted, atol=1e-4)
    assert space.notes == ()


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_a_support_vector_machine_is_scikit_learns(strength: float) -> None:
    space = fit("linear_svm", Small(ROWS), known=KNOWN, strength=strength)
    for place, labels in enumerate(KNOWN.values()):
        # scikit-learn also punishes the bias; hardly so where its column is large.
        peer = LinearSVC(C=strength, dual=False, tol=1e-12, intercept_scaling=1e3, max_iter=10**6)
        wanted = peer.fit(ROWS, labels).decision_function(ROWS)
        np.testing.assert_allclose(space.encode(ROWS)[:, place], wanted, atol=1e-3)


def test_separable_rows_have_a_support_vector_machine() -> None:
    rows = np.concatenate([DRAW.normal(size=(30, 3)), DRAW.normal(size=(30, 3)) + 50])
    known = {"far": np.arange(60) >= 30}
    space = fit("linear_svm", rows, known=known)
    assert np.array_equal(space.encode(rows)[:, 0] > 0, known["far"])
    assert space.notes == ()


def test_the_mean_difference_is_that_of_the_means() -> None:
    space = fit("mean_difference", Small(ROWS), known=KNOWN)
    for place, labels in enumerate(KNOWN.values()):
        one, two = ROWS[labels].mean(axis=0), ROWS[~labels].mean(axis=0)
        np.testing.assert_allclose(
            space.normals[place], (one - two) / np.linalg.norm(one - two), atol=1e-12
        )
        ends = space.encode(np.stack([one, two]))[:, place]
        np.testing.assert_allclose(ends, [np.linalg.norm(one - two) / 2, -ends[0]], atol=1e-9)


def test_going_back_from_a_probe_gives_a_row_with_the_same_concepts() -> None:
    space = fit("linear_probe", ROWS, known=KNOWN)
    concepts = space.encode(ROWS)
    np.testing.assert_allclose(space.encode(space.decode(concepts)), concepts, atol=1e-9)


def test_centroids_and_mahalanobis_distances_are_those_of_the_definition() -> None:
    known = {"a": ROWS[:, 0] < 1.5, "b": ROWS[:, 0] >= 1.5}
    means = np.stack([ROWS[labels].mean(axis=0) for labels in known.values()])
    plain = fit("centroids", Small(ROWS), known=known)
    np.testing.assert_allclose(plain.directions, means, atol=1e-12)
    np.testing.assert_allclose(
        -plain.strength(ROWS), np.linalg.norm(ROWS[:, None] - means, axis=2), atol=1e-9
    )
    space = fit("mahalanobis", Small(ROWS), known=known, ridge=0.0)
    within = sum(np.cov(ROWS[one].T, bias=True) * one.sum() for one in known.values()) / len(ROWS)
    inverse = np.linalg.inv(within)
    wanted = [[distance(row, mean, inverse) for mean in means] for row in ROWS[:20]]
    np.testing.assert_allclose(-space.strength(ROWS[:20]), wanted, atol=1e-9)
    assert np.array_equal(space.encode(ROWS).argmax(axis=1), space.strength(ROWS).argmax(axis=1))


@pytest.mark.parametrize("kind", SUPERVISED)
def test_a_space_of_known_concepts_is_saved_with_its_names(kind: str, tmp_path: Path) -> None:
    space = fit(kind, ROWS, known=KNOWN)
    space.save(tmp_path / "space.safetensors")
    again = load(tmp_path / "space.safetensors")
    assert again.names == ("up", "wide")
    assert np.array_equal(again.encode(ROWS), space.encode(ROWS))


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(HarnessError, match="there is no space 'tsne'; spaces are neurons"):
        fit("tsne", ROWS)
    with pytest.raises(HarnessError, match="pca: missing a required argument: 'concepts'"):
        fit("pca", ROWS)
    with pytest.raises(HarnessError, match="is said of 10 rows of 400"):
        fit("linear_probe", ROWS, known={"a": [True] * 10})
    with pytest.raises(HarnessError, match="every row has the concept 'a'"):
        fit("centroids", ROWS, known={"a": [True] * 400})
    assert not set(UNSUPERVISED) & set(SUPERVISED)


# --- TCAV -----------------------------------------------------------------------------------


class Given(Classifier):
    """A classifier of Captum's whose vectors are ours."""

    def __init__(self) -> None:
        self.vector: Any = None

    def train_and_eval(self, dataloader: Any, **_: Any) -> Any:
        rows, labels = zip(*dataloader, strict=True)
        x, y = torch.cat(rows).numpy(), torch.cat(labels).numpy()
        self.names = sorted(set(y.tolist()))
        first = y == self.names[0]
        self.vector = torch.from_numpy(activation_vector(x[first], x[~first], "linear_probe"))

    def weights(self) -> torch.Tensor:
        return torch.stack([self.vector, -self.vector])

    def classes(self) -> Any:
        return self.names


def captums(net: Any, x: torch.Tensor, sets: list[torch.Tensor], target: int) -> Any:
    """Sign counts and magnitudes of the first concept against each other one."""
    concepts = [
        Concept(place, f"c{place}", torch.utils.data.DataLoader(list(rows), batch_size=8))
        for place, rows in enumerate(sets)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = TCAV(net, ["2"], classifier=Given())
        pairs = [[concepts[0], other] for other in concepts[1:]]
        found = peer.interpret(x, pairs, target=target)
    return [
        [float(found[f"0-{place}"]["2"][name][0]) for place in range(1, len(sets))]
        for name in ("sign_count", "magnitude")
    ]


def test_scores_are_captums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Captum pickles into the working folder
    net = MLP(torch.nn.Tanh)
    net[4].weight.data.mul_(5)
    head = torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(3, 3)).double()
    net = torch.nn.Sequential(*net, *head)
    x = 4 * drawn(40, 4)
    sets = [
        drawn(30, 4, seed=seed) + (seed == 10) * torch.eye(4).double()[0] for seed in range(10, 14)
    ]
    count, magnitude = captums(net.float(), x.float(), [one.float() for one in sets], 2)
    net.double()
    rows = [net[2](net[1](net[0](one))).detach().numpy() for one in sets]
    asked = Asked.of(net, x, "2", "pooled", target=2)
    (found,) = tcav(asked, {"c0": rows[0]}, rows[1:], "linear_probe")
    np.testing.assert_allclose(found.scores, count, atol=1e-6)
    assert found.magnitude == pytest.approx(np.mean(magnitude), abs=1e-4)
    assert any(0 < one < 1 for one in count), count


class Planted(torch.nn.Module):
    """The first class grows along the first number of the layer, and no class along the last."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(6, 6, bias=False)
        torch.nn.init.eye_(self.layer.weight)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        said = self.layer(x)
        both = (said[:, 1] * said[:, 2]).tanh()
        return torch.stack([3 * said[:, 0] + both, -said[:, 3] + 0.5 * both], dim=1)


def planted_test(**options: Any) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    concept = {
        name: draw.normal(size=(60, 6)) + 2 * np.eye(6)[place]
        for name, place in (("used", 0), ("unused", 5))
    }
    randoms = [draw.normal(size=(60, 6)) for _ in range(15)]
    asked = Asked.of(Planted(), drawn(100, 6), "layer", "pooled", target=0)
    return {one.concept: one for one in tcav(asked, concept, randoms, **options)}


@pytest.mark.parametrize("method", ["linear_svm", "linear_probe", "mean_difference"])
def test_a_concept_that_a_class_uses_is_significant_and_another_is_not(method: str) -> None:
    found = planted_test(method=method)
    assert found["used"].score > 0.95
    assert found["used"].significant
    assert not found["unused"].significant
    assert found["used"].target == "0"


def test_corrections_are_those_of_their_definitions() -> None:
    plain = planted_test(correction="none", method="mean_difference")
    p = {name: one.p_value for name, one in plain.items()}
    for name, one in planted_test(correction="bonferroni", method="mean_difference").items():
        assert one.adjusted == pytest.approx(min(1, 2 * p[name]))
    small, large = sorted(p, key=lambda name: p[name])
    holm = planted_test(correction="holm", method="mean_difference")
    assert holm[small].adjusted == pytest.approx(min(1, 2 * p[small]))
    assert holm[large].adjusted == pytest.approx(max(min(1, 2 * p[small]), p[large]))


def test_random_concepts_have_a_p_value_below_any_level_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    asked = Asked.of(Planted(), drawn(40, 6), "layer", "pooled", target=0)
    p = []
    for _ in range(100):
        sets = [draw.normal(size=(20, 6)) for _ in range(6)]
        (one,) = tcav(asked, {"none": sets[0]}, sets[1:], "mean_difference", draws=39)
        p.append(one.p_value)
    below = np.mean(np.array(p) <= 0.05)
    # The binomial's 99.9 % point; a t-test over shared rows has .31.
    assert below <= 0.12
    assert 0.35 < np.mean(np.array(p) <= 0.5) < 0.65


def test_random_concepts_of_whole_samples_keep_their_level() -> None:
    """Rows of one sample are alike: rows drawn one by one would be less alike than any concept."""
    draw = np.random.default_rng(2)
    asked = Asked.of(Planted(), drawn(40, 6), "layer", "pooled", target=0)
    p = []
    for _ in range(60):
        sets = [Clustered(draw, samples=5, each=8) for _ in range(6)]
        (one,) = tcav(asked, {"none": sets[0]}, sets[1:], "mean_difference", draws=39)
        p.append(one.p_value)
    assert np.mean(np.array(p) <= 0.05) <= 0.15


class Clustered(InMemory):
    """Rows of a few samples, alike within each."""

    def __init__(self, draw: np.random.Generator, samples: int, each: int) -> None:
        self.owner = np.repeat(np.arange(samples), each)
        middles = draw.normal(size=(samples, 6))
        super().__init__(middles[self.owner] + 0.1 * draw.normal(size=(samples * each, 6)))

    def sample_places(self) -> np.ndarray:
        return self.owner


@pytest.mark.parametrize("method", ["linear_probe", "mean_difference"])
def test_a_planted_concept_is_found_with_three_random_sets_already(method: str) -> None:
    draw = np.random.default_rng(4)
    asked = Asked.of(Planted(), drawn(40, 6), "layer", "pooled", target=0)
    concept = draw.normal(size=(30, 6)) + 1.5 * np.eye(6)[0]
    randoms = [draw.normal(size=(30, 6)) for _ in range(3)]
    (found,) = tcav(asked, {"used": concept}, randoms, method, draws=59)
    assert found.p_value <= 0.02
    (against,) = tcav(asked, {"used": concept - 3 * np.eye(6)[0]}, randoms, method, draws=59)
    assert against.significant
    assert against.magnitude < 0


def test_too_few_draws_for_the_level_are_refused() -> None:
    asked = Asked.of(Planted(), drawn(10, 6), "layer", "pooled", target=0)
    with pytest.raises(HarnessError, match=r"of 19 draws no p-value is below 0\.05; give 20"):
        tcav(asked, {"a": ROWS}, [ROWS] * 3, draws=19)


def test_a_score_counts_samples_that_grow() -> None:
    gradients = np.array([[1.0, 0], [2, 5], [-1, 9], [0.5, 0]])
    assert tcav_score(gradients, np.array([1.0, 0])) == 0.75


def test_few_random_sets_and_other_widths_are_refused() -> None:
    asked = Asked.of(Planted(), drawn(10, 6), "layer", "pooled", target=0)
    with pytest.raises(HarnessError, match="2 random sets show no spread"):
        tcav(asked, {"a": ROWS}, [ROWS, ROWS])
    with pytest.raises(HarnessError, match="rows are 3 wide, but the layer says 6"):
        tcav(asked, {"a": ROWS[:, :3]}, [ROWS] * 3)


def test_the_network_is_left_as_it_was() -> None:
    net = Planted().train()
    before = state(net)
    asked = Asked.of(net, drawn(10, 6), "layer", "pooled", target=0)
    tcav(asked, {"a": ROWS[:50] + 3}, [ROWS[50:90], ROWS[100:150], ROWS[200:250]])
    assert same(before, state(net))
