"""Metrics of spaces: closed forms, scikit-learn, and spaces made to be good or bad."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from descents_for_tests import CNN, MLP, drawn, same, state, tensors
from sklearn.metrics import r2_score, roc_auc_score

from harness.explainers.concepts.activations import collect
from harness.explainers.concepts.asked import Asked
from harness.explainers.concepts.metrics.completeness import completeness
from harness.explainers.concepts.metrics.known import (
    auc,
    best,
    dci,
    disentanglement,
    mutual_information_gap,
)
from harness.explainers.concepts.metrics.reconstruction import output_kept, reconstruction
from harness.explainers.concepts.metrics.sparsity import sparsity
from harness.explainers.concepts.metrics.stability import matching, stability
from harness.explainers.concepts.rows import InMemory
from harness.explainers.concepts.spaces.fit import fit
from harness.explainers.concepts.spaces.linear import of_encoder
from harness.explainers.concepts.spaces.training import Recipe
from harness.records import HarnessError

DRAW = np.random.default_rng(1)
ROWS = DRAW.normal(size=(300, 5)) @ DRAW.normal(size=(5, 5)) + 2


class Small(InMemory):
    def batches(self, size: int = 0, seed: int | None = None) -> Any:
        yield from super().batches(37, seed)


def test_reconstruction_is_scikit_learns_r2() -> None:
    space = fit("pca", ROWS, concepts=2)
    found = reconstruction(space, Small(ROWS))
    told = space.decode(space.encode(ROWS))
    assert found.r2 == pytest.approx(r2_score(ROWS, told, multioutput="variance_weighted"))
    assert found.mse == pytest.approx(((ROWS - told) ** 2).mean())
    assert reconstruction(fit("neurons", ROWS), ROWS).r2 == 1


def test_no_two_dimensional_space_tells_more_than_two_principal_components() -> None:
    ours = reconstruction(fit("pca", ROWS, concepts=2), ROWS).r2
    for kind in ("svd", "semi_nmf", "archetypes", "k_means"):
        assert reconstruction(fit(kind, ROWS, concepts=2), ROWS).r2 <= ours + 1e-9


def test_an_exact_space_keeps_the_output_and_a_poorer_one_keeps_less() -> None:
    net, x = MLP(torch.nn.Tanh), drawn(30, 4)
    asked = Asked.of(net, x, "2", "pooled", target=1)
    rows = net[2](net[1](net[0](x))).detach().numpy()
    whole = output_kept(asked, fit("neurons", rows))
    assert (whole.agreement, whole.recovered, whole.change) == (1.0, 1.0, 0.0)
    kept = [output_kept(asked, fit("pca", rows, concepts=count)).recovered for count in (1, 2, 4)]
    assert kept[0] < kept[1] < kept[2] <= 1


def test_output_kept_is_that_of_a_network_run_by_hand() -> None:
    net, x = CNN(), drawn(6, 3, 8, 8)
    model = tensors(net, x, channels="first")
    said = net.act2(net.second(net.act1(net.first(x)))).detach()
    rows = said.permute(0, 2, 3, 1).reshape(-1, 5).numpy()
    space = fit("pca", rows, concepts=2)
    asked = Asked.of(model, model.samples, "act2", "patch", target=2)
    told = space.decode(space.encode(rows)).reshape(6, 16, 5).mean(axis=1)
    after = net.head(torch.from_numpy(told)).detach().numpy()
    before = net(x).detach().numpy()
    empty = net.head(torch.from_numpy(space.offset)).detach().numpy()
    found = output_kept(asked, space)
    assert found.change == pytest.approx(np.abs(after - before)[:, 2].mean())
    assert found.agreement == np.mean(after.argmax(axis=1) == before.argmax(axis=1))
    lost = ((after - before)[:, 2] ** 2).sum() / ((empty - before)[:, 2] ** 2).sum()
    assert found.recovered == pytest.approx(1 - lost)


def test_sparsity_counts_what_is_not_zero() -> None:
    space = of_encoder("given", np.eye(4), np.zeros(4), {})
    one = sparsity(space, np.array([[3.0, 0, 0, 0], [0, -1, 0, 0]]))
    assert (one.l0, one.hoyer, one.dead) == (1.0, 1.0, 0.5)
    every = sparsity(space, np.array([[2.0, 2, 2, 2]]))
    assert (every.l0, every.hoyer, every.dead) == (4.0, 0.0, 0.0)
    two = sparsity(space, Small(np.array([[3.0, 4, 0, 0], [0, 0, 0, 0]])))
    assert two.hoyer == pytest.approx((2 - 7 / 5) / 1)
    assert two.l0 == 1.0


def test_matching_is_the_best_of_all_pairings() -> None:
    one, two = (of_encoder("given", DRAW.normal(size=(4, 5)), np.zeros(4), {}) for _ in range(2))
    units = [s.directions / np.linalg.norm(s.directions, axis=1, keepdims=True) for s in (one, two)]
    cosines = units[0] @ units[1].T
    sums = [sum(cosines[i, p[i]] for i in range(4)) for p in itertools.permutations(range(4))]
    assert sum(matching(one, two).cosines) == pytest.approx(max(sums))


def test_the_same_directions_in_another_order_are_stable_and_random_ones_are_not() -> None:
    encoder = np.linalg.qr(DRAW.normal(size=(30, 30)))[0][:6]
    one = of_encoder("given", encoder, np.zeros(6), {})
    two = of_encoder("given", encoder[::-1], np.zeros(6), {})
    assert stability([one, two]) == pytest.approx(1)
    assert matching(one, two).pairs == tuple((i, 5 - i) for i in range(6))
    rows = DRAW.normal(size=(50, 30))
    others = [fit("random", rows, concepts=6, seed=seed) for seed in range(3)]
    assert stability(others) < 0.6
    turned = of_encoder("pca", -encoder, np.zeros(6), {})
    assert stability([of_encoder("pca", encoder, np.zeros(6), {}), turned]) == pytest.approx(1)
    with pytest.raises(HarnessError, match="two spaces or more"):
        stability([one])


def test_planted_directions_are_found_with_every_seed() -> None:
    true = np.linalg.qr(DRAW.normal(size=(12, 12)))[0][:8]
    rows = (DRAW.exponential(size=(2000, 8)) * (DRAW.random((2000, 8)) < 0.2)) @ true
    recipes = [Recipe(epochs=20, batch=200, learning_rate=5e-3, seed=seed) for seed in (0, 1)]
    spaces = [fit("top_k", rows, concepts=8, k=2, recipe=recipe) for recipe in recipes]
    assert stability(spaces) > stability([fit("random", rows, concepts=8, seed=s) for s in (0, 1)])


class TwoOfSix(torch.nn.Module):
    """Classes follow from the first two numbers of the layer alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Identity()
        self.head = torch.nn.Linear(6, 3, bias=False).double()
        self.head.weight.data.zero_()
        self.head.weight.data[:, :2] = torch.tensor([[3.0, 0], [-3, 3], [0, -3]])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x))


def test_concepts_that_hold_what_decides_are_complete_and_others_are_worth_a_guess() -> None:
    x = drawn(200, 6)
    asked = Asked.of(TwoOfSix(), x, "layer", "pooled")
    space = fit("neurons", x)
    assert completeness(asked, space, x, concepts=[0, 1]) == 1.0
    assert completeness(asked, space, x) == 1.0
    assert abs(completeness(asked, space, x, concepts=[3, 4, 5])) < 0.25
    assert 0.2 < completeness(asked, space, x, concepts=[0]) < 0.95
    wrong = [str((int(row.argmax()) + 1) % 3) for row in asked.outputs]
    assert completeness(asked, space, x, wrong, concepts=[0, 1]) == pytest.approx(1.0)


def test_a_map_that_is_learned_through_the_network_finds_what_least_squares_misses() -> None:
    # The concept is a skewed number that decides by a threshold where its best line does not pass.
    draw = np.random.default_rng(0)
    skewed = torch.from_numpy(np.exp(1.5 * draw.normal(size=(600, 1))))
    x = torch.cat([skewed, skewed.log().tanh(), torch.zeros(600, 4).double()], dim=1)

    class Threshold(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Identity()

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            said = self.layer(given)[:, 0]
            return torch.stack([said - 1, 1 - said], dim=1)

    net = Threshold()
    asked, other = (
        Asked.of(net, x[:300], "layer", "pooled"),
        Asked.of(net, x[300:], "layer", "pooled"),
    )
    space = fit("neurons", x)
    plain = completeness(asked, space, x, concepts=[1])
    learned = completeness(asked, space, x, concepts=[1], learned=other)
    assert plain < 0.9
    assert learned > 0.97
    before = state(net)
    completeness(asked, space, x, concepts=[1], learned=other, steps=2)
    assert same(before, state(net))


def test_auc_is_scikit_learns_with_ties() -> None:
    strengths = np.round(DRAW.normal(size=(200, 3)), 1)
    known = {"a": DRAW.random(200) < 0.2, "b": strengths[:, 1] + DRAW.normal(size=200) > 0}
    found = auc(strengths, known)
    for (i, column), (j, labels) in itertools.product(
        enumerate(strengths.T), enumerate(known.values())
    ):
        assert found[i, j] == pytest.approx(roc_auc_score(labels, column))
    places, signs = best(auc(strengths * [1, -1, 1], known))
    assert (places[1], signs[1]) == (1, -1.0)
    with pytest.raises(HarnessError, match="must be true of some rows"):
        auc(strengths, {"a": np.zeros(200, dtype=bool)})


def test_one_concept_for_each_known_one_is_disentangled_and_a_mixture_is_not() -> None:
    labels = DRAW.random((2000, 3)) < 0.5
    known = dict(zip("abc", labels.T, strict=True))
    rows = labels + 0.05 * DRAW.normal(size=labels.shape)
    mixed = rows @ np.linalg.qr(DRAW.normal(size=(3, 3)))[0]
    good, bad = (disentanglement(fit("neurons", one), one, known) for one in (rows, mixed))
    assert good.disentanglement > 0.9
    assert good.completeness > 0.9
    assert good.mig > 0.8
    assert bad.disentanglement < 0.6 * good.disentanglement
    assert bad.mig < 0.6 * good.mig


def test_disentanglement_of_given_importances_is_that_of_the_definition() -> None:
    assert dci(np.eye(3)) == (pytest.approx(1), pytest.approx(1))
    assert dci(np.ones((4, 3))) == (pytest.approx(0), pytest.approx(0))
    found = dci(np.array([[3.0, 1], [0, 2]]))
    first = 1 + (0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    second = 1 + (1 / 3 * np.log2(1 / 3) + 2 / 3 * np.log2(2 / 3))
    assert found == (pytest.approx(4 / 6 * first + 2 / 6), pytest.approx((1 + second) / 2))


def test_the_gap_is_one_for_a_copy_beside_noise_and_zero_for_two_copies() -> None:
    labels = DRAW.random((5000, 1)) < 0.5
    noise = DRAW.normal(size=(5000, 1))
    assert mutual_information_gap(np.hstack([labels, noise]), labels) > 0.98
    assert mutual_information_gap(np.hstack([labels, labels]), labels) == pytest.approx(0)


def test_metrics_read_activations_from_disk(tmp_path: Any) -> None:
    net, x = CNN(), drawn(12, 3, 8, 8)
    model = tensors(net, x, channels="first")
    found = collect(model, model.samples, "act2", "patch", tmp_path / "a", shard_rows=50)
    space = fit("nmf", found, concepts=3)
    whole = np.concatenate(list(found))
    assert reconstruction(space, found).r2 == pytest.approx(reconstruction(space, whole).r2)
    assert sparsity(space, found).l0 == pytest.approx(sparsity(space, whole).l0)
