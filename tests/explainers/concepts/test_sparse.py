"""Sparse autoencoders on rows whose directions are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from harness.explainers.concepts.spaces import training
from harness.explainers.concepts.spaces.space import load
from harness.explainers.concepts.spaces.sparse import KINDS, pursuit
from harness.explainers.concepts.spaces.training import (
    Recipe,
    batch_top_k,
    jump_relu,
    matching_pursuit,
    top_k,
    vanilla,
)
from harness.records import HarnessError

DRAW = np.random.default_rng(0)
TRUE = DRAW.normal(size=(24, 16))
TRUE /= np.linalg.norm(TRUE, axis=1, keepdims=True)
CODES = (1 + DRAW.exponential(size=(4000, 24))) * (DRAW.random((4000, 24)) < 2 / 24)
ROWS = (CODES @ TRUE * 7 + 3).astype(np.float32)
RECIPE = Recipe(epochs=30, batch=200, learning_rate=5e-3, patience=2000)
QUICK = Recipe(epochs=2, batch=200, patience=2000)
FITS: dict[str, Any] = {
    "vanilla": lambda recipe: vanilla(ROWS, 24, 0.3, recipe),
    "top_k": lambda recipe: top_k(ROWS, 24, 3, recipe),
    "batch_top_k": lambda recipe: batch_top_k(ROWS, 24, 2, recipe),
    "jump_relu": lambda recipe: jump_relu(ROWS, 24, 0.08, recipe),
    "matching_pursuit": lambda recipe: matching_pursuit(ROWS, 24, 3, recipe),
}


def test_every_kind_is_tested() -> None:
    assert tuple(FITS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_planted_directions_are_found(kind: str) -> None:
    space = FITS[kind](RECIPE)
    units = space.directions / np.linalg.norm(space.directions, axis=1, keepdims=True)
    cosines = TRUE @ units.T
    found = cosines[linear_sum_assignment(-cosines)]
    codes = space.encode(ROWS)
    missed = ((ROWS - space.decode(codes)) ** 2).sum()
    explained = 1 - missed / ((ROWS - ROWS.mean(axis=0)) ** 2).sum()
    assert np.median(found) > 0.95, (kind, np.sort(found), space.notes)
    assert explained > 0.85, (kind, explained)
    assert (codes > 0).sum(axis=1).mean() < 6, kind
    assert codes.min() >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(kind: str) -> None:
    one, two = FITS[kind](QUICK), FITS[kind](QUICK)
    other = FITS[kind](Recipe(epochs=2, batch=200, patience=2000, seed=1))
    assert one.key == two.key
    assert not np.allclose(one.directions, other.directions)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_saved_and_loaded_and_says_how_well_it_does(kind: str, tmp_path: Path) -> None:
    space = FITS[kind](QUICK)
    space.save(tmp_path / "space.safetensors")
    again = load(tmp_path / "space.safetensors")
    assert np.array_equal(again.encode(ROWS[:50]), space.encode(ROWS[:50]))
    assert again.notes == space.notes
    assert "concepts a row" in space.notes[0]


@pytest.mark.parametrize("kind", KINDS)
def test_strengths_have_the_gradients_that_differences_say(kind: str) -> None:
    space = FITS[kind](QUICK)
    rows = torch.from_numpy(ROWS[:20]).double().requires_grad_(True)
    step = 1e-6 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(1)).double()
    (slope,) = torch.autograd.grad(space.strengths(rows).sum(), rows)
    with torch.no_grad():
        change = [space.strengths(rows + sign * step).sum(dim=1) for sign in (1, -1)]
    found, wanted = (change[0] - change[1]) / 2, (slope * step).sum(dim=1)
    assert torch.isclose(found, wanted, atol=1e-8).float().mean() > 0.9  # but at jumps


def test_k_is_kept() -> None:
    assert ((top_k(ROWS, 24, 3, QUICK).encode(ROWS) > 0).sum(axis=1) <= 3).all()
    pursued = matching_pursuit(ROWS, 24, 3, QUICK).encode(ROWS)
    assert ((pursued > 0).sum(axis=1) <= 3).all()
    mean = (batch_top_k(ROWS, 24, 3, RECIPE).encode(ROWS) > 0).sum(axis=1).mean()
    assert 2 < mean < 4


def test_pursuit_on_orthogonal_directions_is_the_largest_projections() -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))
    rows = np.random.default_rng(2).normal(size=(10, 6))
    found = pursuit(torch.from_numpy(rows), torch.from_numpy(turn), 2).numpy()
    inner = np.maximum(rows @ turn.T, 0)
    wanted = np.where(inner >= np.sort(inner, axis=1)[:, [-2]], inner, 0)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize("kind", ["vanilla", "top_k", "batch_top_k", "jump_relu"])
def test_units_that_are_dead_are_brought_to_life(kind: str, monkeypatch: Any) -> None:
    plain = training._Net.__init__

    def half_dead(net: Any, *given: Any) -> None:
        plain(net, *given)
        with torch.no_grad():
            net.bias[:12] = -100.0

    monkeypatch.setattr(training._Net, "__init__", half_dead)
    alive = {}
    for patience in (1000, 10**9):
        monkeypatch.setattr(training, "_RESAMPLINGS", 8 if patience == 1000 else 1)
        space = FITS[kind](Recipe(epochs=16, batch=200, learning_rate=5e-3, patience=patience))
        alive[patience] = int((space.encode(ROWS).max(axis=0) > 0).sum())
    assert alive[10**9] <= 12
    assert alive[1000] >= 20


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    top_k(ROWS, 24, 3, QUICK, progress=lambda done, total: told.append((done, total)))
    assert told == [(step, 40) for step in range(1, 41)]


def test_settings_that_cannot_be_right_are_refused() -> None:
    with pytest.raises(HarnessError, match="30 of 24 concepts a row"):
        top_k(ROWS, 24, 30)
    with pytest.raises(HarnessError, match="penalty is a number of 0 or more"):
        vanilla(ROWS, 24, -1.0)
    with pytest.raises(HarnessError, match="24 concepts of 10 rows"):
        top_k(ROWS[:10], 24, 2)
