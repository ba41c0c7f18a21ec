"""Spaces of parts: rows are sums of directions with weights that are none below zero.

NMF, semi-NMF, convex NMF and archetypes differ only in what directions may be. All are fitted by
least squares in turns, weights given directions batch by batch, then directions given sums over all
rows (weights' and their products with rows), so that only these sums are held.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.concepts.rows import Rows, rows_of, some
from harness.explainers.concepts.spaces.clusters import k_means
from harness.explainers.concepts.spaces.linear import check_rows
from harness.explainers.concepts.spaces.space import Fitted
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float64]
    Update = Callable[[Array, Array, Array], Array]

_SWEEPS = 1000  # of a row's weights, at most
_LOOK = 5  # sweeps after which settled rows are left alone
_FIT_SWEEPS = 50  # of these, while directions are still to change
_DIRECTION_SWEEPS = 10
_SETTLED = 1e-9  # a row has settled when no weight changes by this share of its largest
_NOTHING = 1e-6  # of the rows' mean: what the start takes for zero
_ENOUGH = 1e-5  # a fall of the error below this share of it ends a fit


class Factors(Fitted):
    """Weights of the directions that come nearest to a row in squares: none below zero, and for
    archetypes of sum 1."""

    family = "factors"

    def coefficients(self, rows: Tensor) -> Tensor:
        """Rows x concepts; their gradients are those of the weights above zero."""
        import torch

        directions = self.tensor("directions", rows)
        simplex = self.kind == "archetypes"
        with torch.no_grad():
            found = weights_of(rows.detach(), directions, simplex)
        if not rows.requires_grad:
            return found
        return _on_support(rows, directions, found > 0, simplex)


def nmf(rows: Any, concepts: int, seed: int = 0, epochs: int = 100) -> Factors:
    """Rows as sums of directions, both none below zero.

    Begun at singular vectors as scikit-learn's NMF is (`nndsvd_start`), improved by least squares
    in turns, `epochs` passes at most: hierarchical alternating least squares, Cichocki and Phan
    2009, "Fast local algorithms for large scale nonnegative matrix and tensor factorizations".
    Directions have length 1. Raises `HarnessError` for rows with numbers below zero.
    """
    import numpy as np

    given = rows_of(rows)
    check_rows(given, concepts, "nmf")
    if any(batch.min() < 0 for batch in given.batches()):
        raise HarnessError(
            "nmf: activations hold numbers below zero; use semi_nmf, or a layer behind a ReLU"
        )
    start = np.maximum(nndsvd_start(given, concepts, seed), 1e-8)
    settings = {"concepts": concepts, "seed": seed, "epochs": epochs}
    return _alternated("nmf", given, start, _nonnegative, settings, unit=True)


def nndsvd_start(rows: Rows, concepts: int, seed: int) -> Array:
    """Directions, concepts x width, from the non-negative parts of singular vectors, exactly, in
    two passes that hold one batch.

    Each singular vector after the first is cut into what is above and below zero, and the larger of
    both is a direction; zeros are filled with small numbers drawn with `seed`, so that another seed
    is another start. Where there are more concepts than singular vectors, the others are drawn too.
    Boutsidis and Gallopoulos 2008, "SVD based initialization: A head start for nonnegative matrix
    factorization" (NNDSVDar). With zeros filled by the mean, as scikit-learn does, steps of least
    squares took 40 passes to an error that they reach in 16 from here.
    """
    import numpy as np

    products, total = np.zeros((rows.width, rows.width)), 0.0
    for batch in rows.batches():
        exact = batch.astype(np.float64)
        products += exact.T @ exact
        total += float(exact.sum())
    mean = total / (len(rows) * rows.width)
    squares, vectors = np.linalg.eigh(products)
    most = min(concepts, len(rows), rows.width)
    right = vectors[:, ::-1][:, :most].T
    above, below = np.zeros(most), np.zeros(most)  # squared lengths of the left vectors' parts
    for batch in rows.batches():
        left = batch.astype(np.float64) @ right.T
        above += (np.maximum(left, 0) ** 2).sum(axis=0)
        below += (np.minimum(left, 0) ** 2).sum(axis=0)
    ups, downs = np.maximum(right, 0), np.maximum(-right, 0)
    up = np.linalg.norm(ups, axis=1) * np.sqrt(above)
    down = np.linalg.norm(downs, axis=1) * np.sqrt(below)
    parts = np.where((up >= down)[:, None], ups, downs)
    parts[0] = np.abs(right[0])
    rng = np.random.default_rng(seed)
    found = rng.random((concepts, rows.width)) * mean
    scale = np.sqrt(np.maximum(up, down))
    scale[0] = np.sqrt(np.sqrt(max(squares[-1], 0.0)))
    lengths = np.linalg.norm(parts, axis=1)
    directions = parts * (scale / np.where(lengths > 0, lengths, 1.0))[:, None]
    filling = 0.01 * mean * rng.random(directions.shape)
    found[:most] = np.where(directions > _NOTHING * mean, directions, filling)
    return found


def semi_nmf(rows: Any, concepts: int, seed: int = 0, epochs: int = 30) -> Factors:
    """Rows as sums of directions of any sign with weights none below zero; directions of length 1.

    Begun at the centres of `k_means`. Ding, Li and Jordan 2010, "Convex and semi-nonnegative matrix
    factorizations", section 2.1, with weights by least squares.
    """
    import numpy as np

    given = rows_of(rows)
    start = k_means(given, concepts, seed).directions

    def free(weights: Array, products: Array, before: Array) -> Array:
        used = np.diag(weights) > 0
        found = before.copy()
        inner = weights[np.ix_(used, used)]
        found[used] = np.linalg.lstsq(inner, products[used], rcond=1e-10)[0]
        return found

    settings = {"concepts": concepts, "seed": seed, "epochs": epochs}
    return _alternated("semi_nmf", given, start, free, settings, unit=True)


def convex_nmf(
    rows: Any, concepts: int, seed: int = 0, epochs: int = 30, anchors: int = 500
) -> Factors:
    """As `semi_nmf`, with directions that are sums of rows with weights none below zero, so that
    they stay among the data. Of at most `anchors` rows, drawn with `seed`.

    Ding, Li and Jordan 2010, section 2.2.
    """
    return _of_anchors("convex_nmf", rows, concepts, seed, epochs, anchors)


def archetypes(
    rows: Any, concepts: int, seed: int = 0, epochs: int = 30, anchors: int = 500
) -> Factors:
    """Rows as mixtures of archetypes, which are mixtures of rows: both with weights of sum 1, none
    below zero. Of at most `anchors` rows, drawn with `seed`.

    Cutler and Breiman 1994, "Archetypal analysis".
    """
    return _of_anchors("archetypes", rows, concepts, seed, epochs, anchors)


def _of_anchors(
    kind: str, rows: Any, concepts: int, seed: int, epochs: int, anchors: int
) -> Factors:
    import numpy as np

    given = rows_of(rows)
    check_rows(given, concepts, kind)
    fields.whole(kind, concepts, anchors=anchors)
    held = some(given, anchors, seed)
    simplex = kind == "archetypes"
    project = _to_simplex if simplex else _to_positive
    inner = held @ held.T
    mixing = np.zeros((concepts, len(held)))
    mixing[np.arange(concepts), _far_apart(held, concepts)] = 1.0

    def mixed(weights: Array, products: Array, _: Array) -> Array:
        nonlocal mixing
        mixing = _projected_descent(mixing, weights, inner, products @ held.T, project)
        found: Array = mixing @ held
        return found

    settings = {"concepts": concepts, "seed": seed, "epochs": epochs, "anchors": anchors}
    return _alternated(kind, given, mixing @ held, mixed, settings, unit=False)


def _alternated(
    kind: str, rows: Rows, directions: Array, update: Update, settings: dict[str, Any], unit: bool
) -> Factors:
    """Weights and directions in turns, until the error hardly falls."""
    import numpy as np
    import torch

    fields.whole(kind, 1, epochs=settings["epochs"])
    simplex = kind == "archetypes"
    count, last = len(directions), np.inf
    for _ in range(settings["epochs"]):
        weights, products = np.zeros((count, count)), np.zeros_like(directions)
        squares = 0.0
        for batch in rows.batches():
            exact = torch.from_numpy(np.ascontiguousarray(batch, dtype=np.float64))
            found = weights_of(exact, torch.from_numpy(directions), simplex, _FIT_SWEEPS)
            weights += (found.T @ found).numpy()
            products += (found.T @ exact).numpy()
            squares += float((exact**2).sum())
        error = (
            squares
            - 2 * float((products * directions).sum())
            + float((weights * (directions @ directions.T)).sum())
        )
        if error >= last * (1 - _ENOUGH):
            break
        last, directions = error, np.ascontiguousarray(update(weights, products, directions))
        if unit:
            norms = np.linalg.norm(directions, axis=1, keepdims=True)
            directions = directions / np.where(norms > 0, norms, 1.0)
    arrays = {"directions": directions, "offset": np.zeros(directions.shape[1])}
    return Factors(kind, arrays, settings)


def weights_of(
    rows: Tensor, directions: Tensor, simplex: bool = False, sweeps: int = _SWEEPS
) -> Tensor:
    """The weights, none below zero (and of sum 1 for a `simplex`), with which the directions come
    nearest to each row: rows x concepts. In `sweeps` at most."""
    import torch

    inner, products = directions @ directions.T, rows @ directions.T
    if simplex:
        start = torch.full_like(products, 1 / len(directions))
        return _simplex_weights(start, inner, products, sweeps)
    found = torch.zeros_like(products)
    used = (inner.diagonal() > 0).nonzero()[:, 0].tolist()
    left = torch.arange(len(products), device=products.device)  # rows that have not settled
    for sweep in range(sweeps):
        own, wanted = found[left], products[left]
        before = own.clone()
        for place in used:
            step = (wanted[:, place] - own @ inner[place]) / inner[place, place]
            own[:, place] = (own[:, place] + step).clamp(min=0)
        found[left] = own
        if sweep % _LOOK == _LOOK - 1:
            moved = (own - before).abs().amax(dim=1) > _SETTLED * own.amax(dim=1)
            left = left[moved]
        if not len(left):
            break
    return found


def _simplex_weights(found: Tensor, inner: Tensor, products: Tensor, sweeps: int) -> Tensor:
    """Accelerated projected gradients; Beck and Teboulle 2009, FISTA, with restarts."""
    import torch

    length = 1 / float(torch.linalg.matrix_norm(inner, 2).clamp(min=1e-300))
    ahead, pace = found, 1.0
    for _ in range(sweeps):
        new = _simplex_rows(ahead - length * (ahead @ inner - products))
        after = (1 + (1 + 4 * pace**2) ** 0.5) / 2
        if float(((ahead - new) * (new - found)).sum()) > 0:
            after, pace = 1.0, 1.0
        ahead = new + (pace - 1) / after * (new - found)
        change, found, pace = float((new - found).abs().max()), new, after
        if change <= _SETTLED:
            break
    return found


def _on_support(rows: Tensor, directions: Tensor, support: Tensor, simplex: bool) -> Tensor:
    """The same weights as a function of the rows that can be differentiated: least squares by the
    directions in use."""
    import torch

    mask = support.to(rows)
    inner = directions @ directions.T
    both = mask[:, :, None] * mask[:, None, :]
    ridge = 1e-12 * inner.diagonal().mean()
    own = torch.diag_embed(1 - mask + ridge)
    system = inner[None] * both + own
    right = torch.stack([(rows @ directions.T) * mask, mask], dim=2)
    solved = torch.linalg.solve(system, right)
    found, ones = solved[..., 0], solved[..., 1]
    if simplex:
        excess = (found.sum(dim=1, keepdim=True) - 1) / ones.sum(dim=1, keepdim=True)
        found = found - excess * ones
    positive: Tensor = found.clamp(min=0)
    return positive


def _nonnegative(weights: Array, products: Array, before: Array) -> Array:
    """Directions none below zero that come nearest, by a few sweeps: they cost little beside the
    weights' (Gillis and Glineur 2012, "Accelerated multiplicative updates and hierarchical ALS
    algorithms for nonnegative matrix factorization")."""
    import numpy as np

    found = before.copy()
    used = np.flatnonzero(np.diag(weights) > 0)
    for place in itertools.chain.from_iterable(itertools.repeat(used, _DIRECTION_SWEEPS)):
        step = (products[place] - weights[place] @ found) / weights[place, place]
        found[place] = np.maximum(found[place] + step, 1e-16)
    return found


def _projected_descent(
    mixing: Array, weights: Array, inner: Array, products: Array, project: Callable[[Array], Array]
) -> Array:
    """Mixing weights (concepts x anchors) that lower the squared error, by accelerated steps."""
    import numpy as np

    length = np.linalg.norm(weights, 2) * np.linalg.norm(inner, 2)
    if length == 0:
        return mixing
    ahead, pace = mixing, 1.0
    for _ in range(100):
        new = project(ahead - (weights @ ahead @ inner - products) / length)
        after = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        if ((ahead - new) * (new - mixing)).sum() > 0:
            after, pace = 1.0, 1.0
        ahead = new + (pace - 1) / after * (new - mixing)
        mixing, pace = new, after
    return mixing


def _to_positive(values: Array) -> Array:
    import numpy as np

    return np.maximum(values, 0.0)


def _to_simplex(values: Array) -> Array:
    import torch

    found: Array = _simplex_rows(torch.from_numpy(values)).numpy()
    return found


def _simplex_rows(values: Tensor) -> Tensor:
    """The nearest row of sum 1, none below zero; Duchi et al. 2008, "Efficient projections onto the
    l1-ball for learning in high dimensions", figure 1."""
    import torch

    ordered = values.sort(dim=1, descending=True).values
    excess = ordered.cumsum(dim=1) - 1
    places = torch.arange(1, values.shape[1] + 1, dtype=values.dtype)
    last = (ordered * places > excess).sum(dim=1, keepdim=True) - 1
    return (values - excess.gather(1, last) / (last + 1)).clamp(min=0)


def _far_apart(held: Array, concepts: int) -> NDArray[np.int64]:
    """Places of rows that lie far apart: the furthest from the mean, then each the furthest from
    those before it."""
    import numpy as np

    nearest = ((held - held.mean(axis=0)) ** 2).sum(axis=1)
    chosen = [int(nearest.argmax())]
    nearest = np.full(len(held), np.inf)
    while len(chosen) < concepts:
        nearest = np.minimum(nearest, ((held - held[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)
