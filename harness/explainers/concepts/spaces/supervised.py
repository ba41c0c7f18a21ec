"""Spaces of known concepts: what separates the rows that have a concept from those that have not.

Known concepts are given as a mapping of names to one true or false a row, in the rows' order. All
fits are exact and see rows in batches: means and scatters in one pass, linear models by Newton's
method on sums over all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.explainers.concepts.rows import Rows, rows_of
from harness.explainers.concepts.spaces.clusters import Clusters
from harness.explainers.concepts.spaces.linear import LinearSpace, of_encoder
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Loss = Callable[[Array], tuple[Array, Array, Array]]
    """Of margins: the losses, their first and their second derivatives."""

Known = Mapping[str, Sequence[bool]]
_STEPS = 100
_SETTLED = 1e-8  # the largest gradient, as a share of that at the start


def mean_difference(rows: Any, known: Known) -> LinearSpace:
    """The mean of the rows with the concept less that of those without, as a unit vector; zero is
    halfway between both. In units of the rows. Marks and Tegmark 2023, "The geometry of truth"."""
    import numpy as np

    given, labels = _checked(rows, known, "mean_difference")
    counts, sums = _sums(given, labels)
    total = sum(batch.astype(np.float64).sum(axis=0) for batch in given.batches())
    with_it = sums / counts[:, None]
    without = (total - sums) / (len(given) - counts)[:, None]
    apart = with_it - without
    lengths = np.linalg.norm(apart, axis=1, keepdims=True)
    if not lengths.all():
        name = list(known)[int(lengths.argmin())]
        raise HarnessError(f"mean_difference: rows with and without '{name}' have the same mean")
    encoder = apart / lengths
    bias = -(encoder * (with_it + without) / 2).sum(axis=1)
    return of_encoder("mean_difference", encoder, bias, {}, list(known))


def linear_probe(rows: Any, known: Known, strength: float = 1.0) -> LinearSpace:
    """Log-odds of each concept by logistic regression with an L2 penalty: `strength` weighs the sum
    of losses against half the squared weights (scikit-learn's C), the bias is free.

    Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes".
    """
    return _linear("linear_probe", rows, known, strength, _logistic)


def linear_svm(rows: Any, known: Known, strength: float = 1.0) -> LinearSpace:
    """Margins of each concept by a linear support vector machine with squared hinge losses;
    `strength` as in `linear_probe`.

    Keerthi and DeCoste 2005, "A modified finite Newton method for fast solution of large scale
    linear SVMs".
    """
    return _linear("linear_svm", rows, known, strength, _squared_hinge)


def centroids(rows: Any, known: Known) -> Clusters:
    """The mean of the rows with each concept; a row has the nearest."""
    import numpy as np

    given, labels = _checked(rows, known, "centroids")
    counts, sums = _sums(given, labels)
    arrays = {"directions": sums / counts[:, None], "offset": np.zeros(given.width)}
    return Clusters("centroids", arrays, {}, list(known))


def mahalanobis(rows: Any, known: Known, ridge: float = 1e-6) -> Clusters:
    """As `centroids`, by Mahalanobis distances with the covariance within the concepts, to whose
    diagonal `ridge` times its mean is added.

    Lee, Lee, Lee and Shin 2018, "A simple unified framework for detecting out-of-distribution
    samples and adversarial attacks", equations 1 and 2.
    """
    import numpy as np

    given, labels = _checked(rows, known, "mahalanobis")
    counts, sums = _sums(given, labels)
    means = sums / counts[:, None]
    scatter = np.zeros((given.width, given.width))
    for batch, mine in _together(given, labels):
        for mean, has in zip(means, mine.T, strict=True):
            centred = batch[has] - mean
            scatter += centred.T @ centred
    covariance = scatter / counts.sum()
    covariance[np.diag_indices_from(covariance)] += ridge * np.trace(covariance) / given.width
    try:
        precision = np.linalg.inv(covariance)
        np.linalg.cholesky(precision)
    except np.linalg.LinAlgError as error:
        raise HarnessError(
            "mahalanobis: the rows of a concept vary in too few dimensions; make ridge larger"
        ) from error
    arrays = {"directions": means, "offset": np.zeros(given.width), "precision": precision}
    return Clusters("mahalanobis", arrays, {"ridge": ridge}, list(known))


def _checked(rows: Any, known: Known, kind: str) -> tuple[Rows, NDArray[np.bool_]]:
    """Rows, and rows x concepts. Raises `HarnessError` for a concept that no row or every row
    has."""
    import numpy as np

    given = rows_of(rows)
    if not known:
        raise HarnessError(f"{kind}: there are no known concepts")
    for name, values in known.items():
        if len(values) != len(given):
            raise HarnessError(
                f"{kind}: concept '{name}' is said of {len(values)} rows of {len(given)}"
            )
    labels = np.stack([np.asarray(values, dtype=bool) for values in known.values()], axis=1)
    for name, count in zip(known, labels.sum(axis=0).tolist(), strict=True):
        if count in (0, len(given)):
            which = "every row has" if count else "no row has"
            raise HarnessError(f"{kind}: {which} the concept '{name}', so nothing separates it")
    return given, labels


def _together(rows: Rows, labels: NDArray[np.bool_]) -> Iterator[tuple[Array, NDArray[np.bool_]]]:
    import numpy as np

    start = 0
    for batch in rows.batches():
        yield batch.astype(np.float64), labels[start : start + len(batch)]
        start += len(batch)


def _sums(rows: Rows, labels: NDArray[np.bool_]) -> tuple[Array, Array]:
    """How many rows have each concept, and their sums: concepts x width."""
    import numpy as np

    sums = np.zeros((labels.shape[1], rows.width))
    for batch, mine in _together(rows, labels):
        sums += mine.T.astype(np.float64) @ batch
    return labels.sum(axis=0).astype(np.float64), sums


def _linear(kind: str, rows: Any, known: Known, strength: float, loss: Loss) -> LinearSpace:
    import numpy as np

    given, labels = _checked(rows, known, kind)
    number = isinstance(strength, int | float) and not isinstance(strength, bool)
    if not number or not 0 < strength < np.inf:
        raise HarnessError(f"{kind}: strength is a number above 0, not {strength!r}")
    fitted = [_newton(given, labels[:, [place]], strength, loss) for place in range(len(known))]
    weights = np.stack([found for found, _ in fitted])
    missed = [name for name, (_, ended) in zip(known, fitted, strict=True) if not ended]
    notes = [f"{kind}: '{name}' did not settle in {_STEPS} steps" for name in missed]
    settings = {"strength": strength}
    return of_encoder(kind, weights[:, :-1], weights[:, -1], settings, list(known), notes)


def _newton(
    rows: Rows, labels: NDArray[np.bool_], strength: float, loss: Loss
) -> tuple[Array, bool]:
    """Weights and, last, the bias, by Newton's method with halved steps; whether it settled."""
    import numpy as np

    found = np.zeros(rows.width + 1)
    value, slope, curve = _objective(rows, labels, strength, loss, found)
    first = np.abs(slope).max()
    for _ in range(_STEPS):
        if np.abs(slope).max() <= _SETTLED * first:
            return found, True
        step = np.linalg.solve(curve, slope)
        size, fall = 1.0, float(slope @ step)
        while True:
            new = found - size * step
            after = _objective(rows, labels, strength, loss, new)
            # Sufficient decrease (Armijo); rounding ends it where nothing can fall any more.
            if after[0] <= value - 1e-4 * size * fall or size < 1e-6:
                break
            size /= 2
        if size < 1e-6:
            return found, bool(np.abs(slope).max() <= 1e-5 * first)
        found, (value, slope, curve) = new, after
    return found, False


def _objective(
    rows: Rows, labels: NDArray[np.bool_], strength: float, loss: Loss, found: Array
) -> tuple[float, Array, Array]:
    """Half the squared weights and `strength` times the losses; its gradient and second
    derivatives."""
    import numpy as np

    penalty = np.append(np.ones(len(found) - 1), 0.0)
    value, slope = 0.5 * float(penalty @ found**2), penalty * found
    # A trace of curvature keeps the bias solvable where no margin is curved.
    curve = np.diag(penalty + 1e-10)
    for batch, mine in _together(rows, labels):
        signs = np.where(mine[:, 0], 1.0, -1.0)
        given = np.concatenate([batch, np.ones((len(batch), 1))], axis=1)
        losses, first, second = loss(signs * (given @ found))
        value += strength * float(losses.sum())
        slope = slope + strength * (given.T @ (signs * first))
        curve = curve + strength * (given.T * second) @ given
    return value, slope, curve


def _logistic(margins: Array) -> tuple[Array, Array, Array]:
    import numpy as np
    from scipy.special import expit

    missed = expit(-margins)
    return np.logaddexp(0, -margins), -missed, missed * (1 - missed)


def _squared_hinge(margins: Array) -> tuple[Array, Array, Array]:
    import numpy as np

    short = np.maximum(1 - margins, 0.0)
    curved: Array = (short > 0).astype(np.float64)
    return short**2, -2 * short, 2 * curved
