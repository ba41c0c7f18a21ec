"""Games with a simple exact form, recognised by the values of few sets: thresholds and their sums.

A threshold term is 1 where at least k players of a coalition T are kept. With k = |T| it is the
unanimity game of T (AND), with k = 1 its dual (OR), and with all players a majority; k = |T| terms
are a basis of all games (Shapley 1953, lemma 3). The players of T are alike in it and the others
are null, so by symmetry each gets 1 / |T|. A game that is a sum of few such terms is found by
orthogonal matching pursuit (Tropp and Gilbert 2007) from far fewer than 2**players sets, and its
Shapley values with it. The search over coalitions adds and removes one player at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Rows a term: pursuit recovers sums from two to four; a random game is fitted by no fewer than one.
ROWS_A_TERM = 3
# A sum is given up where so many terms leave more than this share of the sum of squares: networks
# are given up after four or eight terms, in about the time of the regression.
PATIENCE, LEFT = 4, 0.25
STARTS = 2  # single players from which the search for a term starts, beside that of all players
EXACT = 1e-7  # largest residual, as a share of the largest deviation: outputs may be single floats
# Rows x players x targets: bounds the search to about a second.
MOST_WORK = 500_000


@dataclass(frozen=True, eq=False)
class Term:
    """1 where at least `threshold` of the `members` (bool, one a player) are kept."""

    members: NDArray[np.bool_]
    threshold: int

    def column(self, sets: NDArray[np.bool_]) -> Floats:
        """Its values of sets, 0 or 1."""
        reached: Floats = (sets[:, self.members].sum(1) >= self.threshold).astype(np.float64)
        return reached


def shapley_of_structure(sets: NDArray[np.bool_], values: Floats) -> Floats | None:
    """Shapley values of the sum of few threshold terms that has these values of these sets.

    - `sets`: bool, rows x players, no set twice, the empty and the full one among them
    - `values`: one a row

    `None` where there is no such sum, where another coalition would fit as well, and for additive
    games, whose values any regression has.
    """
    scale = float(np.abs(values - values.mean()).max())
    additive = np.concatenate([np.ones((len(sets), 1)), sets], axis=1)
    if np.abs(values - _fitted(additive, values)).max() <= EXACT * scale:
        return None
    if _is_symmetric(sets, values, EXACT * scale):
        ends = values[sets.all(1)] - values[~sets.any(1)]
        return np.repeat(ends / sets.shape[1], sets.shape[1])
    terms = _pursued(sets, values, EXACT * scale)
    if not terms:
        return None
    columns = np.stack([np.ones(len(sets)), *(term.column(sets) for term in terms)], axis=1)
    weights = np.linalg.lstsq(columns, values, rcond=None)[0]
    used = np.abs(weights[1:]) > EXACT * scale
    weights = np.linalg.lstsq(columns[:, [True, *used]], values, rcond=None)[0]
    terms = [term for term, is_used in zip(terms, used, strict=True) if is_used]
    residuals = values - columns[:, [True, *used]] @ weights
    if np.abs(residuals).max() > EXACT * scale or not all(_only(term, sets) for term in terms):
        return None
    found: Floats = sum(
        (
            weight * term.members / term.members.sum()
            for weight, term in zip(weights[1:], terms, strict=True)
        ),
        np.zeros(sets.shape[1]),
    )
    return found


def _fitted(columns: Floats, values: Floats) -> Floats:
    fitted: Floats = columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
    return fitted


def _is_symmetric(sets: NDArray[np.bool_], values: Floats, tolerance: float) -> bool:
    """Whether every size of sets is there and all sets of a size have one value."""
    sizes = sets.sum(1)
    order = np.lexsort((values, sizes))
    steps, rises = np.diff(sizes[order]), np.diff(values[order])
    return bool((steps <= 1).all() and rises[steps == 0].sum() <= tolerance)


def _pursued(sets: NDArray[np.bool_], values: Floats, tolerance: float) -> list[Term]:
    """Terms whose sum leaves no residual; none where too many would be needed."""
    terms: list[Term] = []
    residual = values - values.mean()
    basis = np.zeros((len(values), 0))
    checked = residual @ residual
    while np.abs(residual).max() > tolerance:
        if len(terms) == len(values) // ROWS_A_TERM:
            return []
        if terms and len(terms) % PATIENCE == 0:
            if residual @ residual > LEFT * checked:
                return []
            checked = residual @ residual
        term = _best_term(sets, residual)
        column = term.column(sets)
        column -= column.mean()
        for _ in range(2):  # twice is enough for orthogonality to rounding
            column -= basis @ (basis.T @ column)
        length = np.linalg.norm(column)
        if length < 1e-9:
            return []
        basis = np.concatenate([basis, column[:, None] / length], axis=1)
        residual = residual - basis[:, -1] * (basis[:, -1] @ residual)
        terms.append(term)
    return terms


def _best_term(sets: NDArray[np.bool_], residual: Floats) -> Term:
    """The term that correlates best with the residual, as far as steps of one player find it.

    All players are the first coalition looked at, so that among equals the symmetric one is taken.
    """
    players = sets.shape[1]
    each, everyone = np.eye(players, dtype=bool), np.ones(players, bool)
    of_all = _toggled(sets, residual, ~each[0])[:, 0]
    best, found = float(of_all.max()), Term(everyone, int(of_all.argmax()) + 1)
    singles = _toggled(sets, residual, ~everyone).max(0)
    enough = np.linalg.norm(residual) * (1 - EXACT)
    for members in (everyone, *each[np.argsort(-singles)[:STARTS]]):
        score = -1.0
        while best < enough:
            scores = _toggled(sets, residual, members)
            threshold, player = np.unravel_index(int(scores.argmax()), scores.shape)
            if scores[threshold, player] <= score * (1 + 1e-9):
                break
            score = float(scores[threshold, player])
            members = members ^ each[player]
            if score > best * (1 + 1e-9):
                best, found = score, Term(members, int(threshold) + 1)
    return found


def _toggled(sets: NDArray[np.bool_], residual: Floats, members: NDArray[np.bool_]) -> Floats:
    """Correlations, with the residual, of the terms of coalitions that differ in one player.

    Thresholds (from 1 on) x players who join, or leave where they are members; 0 where the term is
    constant on the sets.
    """
    size = int(members.sum())
    counts = sets[:, members].sum(1)
    by_count = (counts[:, None] == np.arange(size + 1)).astype(np.float64)
    kept = sets.astype(np.float64)
    sums = _tails(residual, by_count, kept, members)
    numbers = _tails(np.ones(len(sets)), by_count, kept, members)
    variances = numbers * (1 - numbers / len(sets))
    centred = sums - residual.mean() * numbers
    result: Floats = np.where(
        variances > 0.5, np.abs(centred) / np.sqrt(np.maximum(variances, 0.5)), 0.0
    )
    return result


def _tails(weights: Floats, by_count: Floats, kept: Floats, members: NDArray[np.bool_]) -> Floats:
    """Weight of the rows that reach each threshold, from 1 on, once a player has joined or left."""
    weighted = weights[:, None] * by_count
    all_rows, with_player = weighted.sum(0)[:, None], weighted.T @ kept  # counts x players
    without = all_rows - with_player
    joined = np.zeros((len(all_rows) + 1, kept.shape[1]))
    joined[:-1] += without
    joined[1:] += with_player
    left = np.zeros_like(joined)
    left[:-1] += without
    left[: len(all_rows) - 1] += with_player[1:]
    histogram = np.where(members, left, joined)
    result: Floats = histogram[::-1].cumsum(0)[::-1][1:]
    return result


def _only(term: Term, sets: NDArray[np.bool_]) -> bool:
    """Whether no coalition with one player more or less has the same values of these sets."""
    column = term.column(sets)
    column -= column.mean()
    return bool(_toggled(sets, column, term.members).max() < np.linalg.norm(column) * (1 - 1e-9))
