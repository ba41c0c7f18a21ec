"""Spaces against scikit-learn, closed forms and planted truths."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, nnls
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, PCA, TruncatedSVD

from harness.explainers.concepts.rows import InMemory
from harness.explainers.concepts.spaces.clusters import k_means
from harness.explainers.concepts.spaces.factors import (
    archetypes,
    convex_nmf,
    nmf,
    nndsvd_start,
    semi_nmf,
    weights_of,
)
from harness.explainers.concepts.spaces.fit import fit
from harness.explainers.concepts.spaces.linear import ica, neurons, pca, random_directions, svd
from harness.explainers.concepts.spaces.space import Space, load
from harness.records import HarnessError

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(600, 8)) @ np.diag([5, 4, 3, 2, 1, 0.8, 0.5, 0.2]) + 3
POSITIVE = RNG.gamma(0.4, size=(500, 4)) @ RNG.gamma(0.6, size=(4, 10))


class Small(InMemory):
    """Rows that come in batches of 37, whatever is asked for."""

    def batches(self, size: int = 0, seed: int | None = None) -> Any:
        yield from super().batches(37, seed)


FITTED = {
    "neurons": lambda: neurons(ROWS),
    "pca": lambda: pca(ROWS, 3),
    "svd": lambda: svd(ROWS, 3),
    "ica": lambda: ica(ROWS, 3),
    "random": lambda: random_directions(ROWS, 3),
    "k_means": lambda: k_means(ROWS, 4),
    "nmf": lambda: nmf(POSITIVE, 4, epochs=5),
    "semi_nmf": lambda: semi_nmf(ROWS, 4, epochs=5),
    "convex_nmf": lambda: convex_nmf(ROWS, 4, epochs=5),
    "archetypes": lambda: archetypes(ROWS, 4, epochs=5),
}


def error(space: Any, rows: np.ndarray) -> float:
    return float(((rows - space.decode(space.encode(rows))) ** 2).sum())


def matched(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Cosines of true directions with those found, in the best pairing."""
    cosines = np.abs(
        (true / np.linalg.norm(true, axis=1, keepdims=True))
        @ (found / np.linalg.norm(found, axis=1, keepdims=True)).T
    )
    return cosines[linear_sum_assignment(-cosines)]


@pytest.mark.parametrize("kind", FITTED)
def test_a_space_is_saved_and_loaded_bit_by_bit(kind: str, tmp_path: Path) -> None:
    space = FITTED[kind]()
    assert isinstance(space, Space)
    rows = POSITIVE if kind == "nmf" else ROWS
    space.save(tmp_path / "space.safetensors")
    again = load(tmp_path / "space.safetensors")
    assert np.array_equal(again.encode(rows), space.encode(rows))
    assert np.array_equal(again.directions, space.directions)
    assert (again.kind, again.names, again.key) == (space.kind, space.names, space.key)
    assert dict(again.settings) == dict(space.settings)


@pytest.mark.parametrize("kind", FITTED)
def test_fitting_twice_gives_the_same_bits(kind: str) -> None:
    assert FITTED[kind]().key == FITTED[kind]().key


@pytest.mark.parametrize("kind", FITTED)
def test_strengths_have_the_gradients_that_differences_say(kind: str) -> None:
    space = FITTED[kind]()
    rows = torch.from_numpy((POSITIVE if kind == "nmf" else ROWS)[:5].copy()).requires_grad_(True)
    strengths = space.strengths(rows)
    np.testing.assert_allclose(strengths.detach(), space.strength(rows.detach().numpy()), atol=1e-4)
    (slope,) = torch.autograd.grad(strengths[:, 1].sum(), rows)
    step = 1e-4 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        change = [space.strengths((rows + s * step).requires_grad_(False))[:, 1] for s in (1, -1)]
    found = (change[0] - change[1]) / 2
    np.testing.assert_allclose(found, (slope * step).sum(dim=1), atol=2e-6)


def test_principal_components_are_scikit_learns() -> None:
    space, peer = pca(Small(ROWS), 5), PCA(5, svd_solver="full").fit(ROWS)
    signs = np.sign((space.directions * peer.components_).sum(axis=1))
    np.testing.assert_allclose(space.directions * signs[:, None], peer.components_, atol=1e-9)
    np.testing.assert_allclose(space.encode(ROWS) * signs, peer.transform(ROWS), atol=1e-9)
    wanted = peer.inverse_transform(peer.transform(ROWS))
    np.testing.assert_allclose(space.decode(space.encode(ROWS)), wanted, atol=1e-9)


def test_singular_vectors_are_scikit_learns() -> None:
    space, peer = svd(Small(ROWS), 4), TruncatedSVD(4, algorithm="arpack").fit(ROWS)
    np.testing.assert_allclose(np.abs(space.encode(ROWS)), np.abs(peer.transform(ROWS)), atol=1e-8)


def test_more_components_than_dimensions_are_refused() -> None:
    flat = ROWS.copy()
    flat[:, 3:] = flat[:, :5] * 2
    with pytest.raises(HarnessError, match="6 concepts of activations that have 3 dimensions"):
        pca(flat[:, [0, 1, 2, 3, 4, 5]], 6)


def test_independent_components_find_planted_sources_and_go_back() -> None:
    rng = np.random.default_rng(2)
    sources = rng.exponential(size=(4000, 4)) * (rng.random((4000, 4)) < 0.5)
    mixing = rng.normal(size=(4, 9))
    rows = sources @ mixing + 5
    space = ica(Small(rows), 4)
    assert matched(space.directions, mixing).min() > 0.99
    np.testing.assert_allclose(space.decode(space.encode(rows)), rows, atol=1e-8)
    found = space.encode(rows)
    np.testing.assert_allclose(found.var(axis=0), 1, atol=1e-3)
    corr = np.corrcoef(found.T, sources.T)[:4, 4:]
    assert corr[linear_sum_assignment(-corr)].min() > 0.99, "skewed to above"


def test_centres_are_those_of_scikit_learn_in_any_batches() -> None:
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(5, 6)) * 10
    rows = centres[rng.integers(5, size=900)] + rng.normal(size=(900, 6))
    peer = KMeans(5, n_init=10, random_state=0).fit(rows)
    for given in (rows, Small(rows)):
        space = k_means(given, 5)
        assert error(space, rows) == pytest.approx(peer.inertia_, rel=1e-9)
    codes = space.encode(rows)
    assert (codes.sum(axis=1) == 1).all()
    assert np.array_equal(codes.argmax(axis=1), space.strength(rows).argmax(axis=1))
    distances = np.linalg.norm(rows[:, None] - space.directions, axis=2)
    np.testing.assert_allclose(-space.strength(rows), distances, atol=1e-9)


def test_weights_are_non_negative_least_squares() -> None:
    rng = np.random.default_rng(5)
    directions, rows = rng.normal(size=(6, 9)), rng.normal(size=(40, 9))
    found = weights_of(torch.from_numpy(rows), torch.from_numpy(directions)).numpy()
    for row, weights in zip(rows, found, strict=True):
        np.testing.assert_allclose(weights, nnls(directions.T, row)[0], atol=1e-5)


def test_weights_of_sum_1_are_the_best_of_many() -> None:
    rng = np.random.default_rng(6)
    directions, rows = rng.normal(size=(3, 5)), rng.normal(size=(20, 5))
    found = weights_of(torch.from_numpy(rows), torch.from_numpy(directions), simplex=True).numpy()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)
    assert found.min() >= 0
    others = rng.dirichlet(np.ones(3), 20_000)
    best = ((rows[:, None] - others @ directions) ** 2).sum(axis=2).min(axis=1)
    assert (((rows - found @ directions) ** 2).sum(axis=1) <= best + 1e-9).all()


def test_nmf_is_as_good_as_scikit_learns() -> None:
    peer = NMF(4, init="nndsvda", max_iter=2000, tol=1e-6).fit(POSITIVE)
    space = nmf(Small(POSITIVE), 4, epochs=40)
    assert space.directions.min() >= 0
    assert space.encode(POSITIVE).min() >= 0
    assert np.sqrt(error(space, POSITIVE)) < np.linalg.norm(POSITIVE) * 0.02
    assert np.sqrt(error(space, POSITIVE)) < peer.reconstruction_err_ * 1.1 + 0.5
    with pytest.raises(HarnessError, match="numbers below zero; use semi_nmf"):
        nmf(ROWS, 2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("parts", "width"), [(6, 20), (5, 30)])
def test_nmf_finds_every_planted_part_from_any_seed(parts: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(parts)
    planted = np.abs(rng.normal(size=(parts, width))) * (rng.random((parts, width)) < 0.4) + 1e-3
    weights = rng.exponential(size=(600, parts)) * (rng.random((600, parts)) < 0.25)
    rows = weights @ planted + 0.01 * np.abs(rng.normal(size=(600, width)))
    found = nmf(rows.astype(np.float32), parts, seed=seed)
    assert matched(found.directions, planted).min() > 0.99


def test_nmf_starts_where_scikit_learn_does_but_for_what_fills_zeros() -> None:
    from sklearn.decomposition._nmf import _initialize_nmf

    rows = POSITIVE.astype(np.float64)
    mine, theirs = nndsvd_start(Small(rows), 4, 0), _initialize_nmf(rows, 4, "nndsvd")[1]
    np.testing.assert_allclose(np.where(theirs > 0, mine, 0), theirs, rtol=1e-6)
    filled, mean = mine[theirs == 0], rows.mean()
    assert ((filled >= 0) & (filled <= 0.01 * mean)).all()
    more = nndsvd_start(Small(rows), rows.shape[1] + 3, 0)
    assert len(more) == rows.shape[1] + 3
    assert (more >= 0).all()


def test_semi_nmf_recovers_sparse_parts_and_beats_its_start() -> None:
    rng = np.random.default_rng(8)
    parts = rng.normal(size=(5, 12))
    rows = rng.exponential(size=(800, 5)) * (rng.random((800, 5)) < 0.4) @ parts
    space = semi_nmf(Small(rows), 5, epochs=40)
    assert space.encode(rows).min() >= 0
    assert error(space, rows) < 0.02 * (rows**2).sum()
    assert error(space, rows) < 0.2 * error(k_means(rows, 5), rows)


def test_directions_of_convex_nmf_are_sums_of_rows() -> None:
    rng = np.random.default_rng(9)
    rows = rng.dirichlet(np.full(4, 0.3), 300) @ rng.normal(size=(4, 7))
    space = convex_nmf(Small(rows), 4, anchors=300)
    for direction in space.directions:
        assert nnls(rows.T, direction)[1] < 1e-4 * np.linalg.norm(direction)
    assert error(space, rows) < 0.02 * (rows**2).sum()


def test_archetypes_are_the_corners_of_the_data() -> None:
    rng = np.random.default_rng(10)
    corners = np.array([[0.0, 0, 5], [8, 0, 5], [0, 8, 5], [3, 3, 9]])
    rows = np.concatenate([corners, rng.dirichlet(np.ones(4), 400) @ corners])
    space = archetypes(Small(rows), 4, anchors=404)
    distances = np.linalg.norm(space.directions[:, None] - corners, axis=2)
    assert distances[linear_sum_assignment(distances)].max() < 0.5
    np.testing.assert_allclose(space.encode(rows).sum(axis=1), 1, atol=1e-9)


class Endless:
    """Rows that exist only while they are looked at: 100 MB in all."""

    width = 64

    def __len__(self) -> int:
        return 200_000

    def batches(self, size: int = 4096, seed: int | None = None) -> Any:
        for start in range(0, len(self), size):
            rng = np.random.default_rng(start)
            yield np.abs(rng.normal(size=(min(size, len(self) - start), 64)) * np.arange(1, 65))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("pca", {"concepts": 3}), ("ica", {"concepts": 2, "most": 5000}), ("nmf", {"concepts": 2, "epochs": 1})],
)  # fmt: skip
def test_a_fit_never_holds_all_rows(kind: str, settings: Any) -> None:
    tracemalloc.start()
    fit(kind, Endless(), **settings)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(HarnessError, match="rows are 8 wide"):
        pca(ROWS, 2).encode(ROWS[:, :5])
    with pytest.raises(HarnessError, match="NaN or infinite"):
        pca(np.where(ROWS > 3, np.nan, ROWS), 2)


def test_a_space_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="a space of concepts is two files"):
        load(tmp_path / "none.safetensors")
