"""Spaces that a row is projected onto: neurons, principal components, singular vectors, independent
components."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.concepts.rows import Rows, moments, rows_of, some
from harness.explainers.concepts.spaces.space import Fitted
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float64]

# A variance below this share of the largest is rounding (64 bits, squared).
_NOTHING = 1e-12


class LinearSpace(Fitted):
    """Concepts = rows @ encoder.T + bias, which may be negative; `encoder` is concepts x width."""

    family = "linear"

    def coefficients(self, rows: Tensor) -> Tensor:
        """Rows x concepts."""
        return rows @ self.tensor("encoder", rows).T + self.tensor("bias", rows)

    @property
    def normals(self) -> Array:
        """Unit vectors along which each concept grows fastest: concepts x width."""
        import numpy as np

        encoder = self.arrays["encoder"]
        found: Array = encoder / np.linalg.norm(encoder, axis=1, keepdims=True)
        return found


def neurons(rows: Any) -> LinearSpace:
    """Each number of a row as a concept of its own: nothing is fitted."""
    import numpy as np

    width = rows_of(rows).width
    eye, zeros = np.eye(width), np.zeros(width)
    arrays = {"encoder": eye, "bias": zeros, "directions": eye, "offset": zeros}
    return LinearSpace("neurons", arrays, {}, [f"neuron {place}" for place in range(width)])


def pca(rows: Any, concepts: int) -> LinearSpace:
    """Principal components, by variance: orthonormal directions through the mean.

    Exact, in one pass: the eigenvectors of the covariance, which is all that is held (width x
    width). Of a direction and its negative that whose largest entry is positive. Raises
    `HarnessError` for more concepts than the rows have dimensions.
    """
    given = rows_of(rows)
    mean, covariance = moments(given)
    directions, _ = _leading(covariance, concepts, "pca")
    return _projection("pca", directions, mean, {"concepts": concepts})


def svd(rows: Any, concepts: int) -> LinearSpace:
    """Right singular vectors of the rows, by singular value: as `pca`, but through the origin."""
    import numpy as np

    given = rows_of(rows)
    mean, covariance = moments(given)
    directions, _ = _leading(covariance + np.outer(mean, mean), concepts, "svd")
    return _projection("svd", directions, np.zeros(given.width), {"concepts": concepts})


def ica(
    rows: Any, concepts: int, seed: int = 0, most: int = 20_000, iterations: int = 500
) -> LinearSpace:
    """Independent components: of unit variance, as far from normal as can be, skewed to above.

    Whitened by the exact principal components of all rows; then scikit-learn's FastICA (Hyvarinen
    and Oja 2000, "Independent component analysis: algorithms and applications") on at most `most`
    rows, drawn with `seed`.
    """
    import numpy as np
    from scipy.stats import skew
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    fields.whole("ica", 1, most=most, iterations=iterations)
    given = rows_of(rows)
    mean, covariance = moments(given)
    principal, variances = _leading(covariance, concepts, "ica")
    whitener = principal / np.sqrt(variances)[:, None]
    white = (some(given, most, seed) - mean) @ whitener.T
    model = FastICA(whiten=False, random_state=seed, max_iter=iterations, tol=1e-5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(white)
    turn = model.components_
    turn = turn * np.where(skew(white @ turn.T, axis=0) < 0, -1.0, 1.0)[:, None]
    encoder = turn @ whitener
    arrays = {
        "encoder": encoder,
        "bias": -encoder @ mean,
        "directions": np.linalg.inv(turn).T @ (principal * np.sqrt(variances)[:, None]),
        "offset": mean,
    }
    ended = not any(issubclass(one.category, ConvergenceWarning) for one in caught)
    notes = () if ended else (f"ica: FastICA did not settle within {iterations} iterations",)
    settings = {"concepts": concepts, "seed": seed, "most": most, "iterations": iterations}
    return LinearSpace("ica", arrays, settings, notes=notes)


def random_directions(rows: Any, concepts: int, seed: int = 0) -> LinearSpace:
    """Directions drawn evenly from the sphere, through the mean: what a fitted space is to beat."""
    import numpy as np

    given = rows_of(rows)
    mean, _ = moments(given)
    drawn = np.random.default_rng(seed).normal(size=(concepts, given.width))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return of_encoder("random", drawn, -drawn @ mean, {"concepts": concepts, "seed": seed})


def of_encoder(
    kind: str,
    encoder: Array,
    bias: Array,
    settings: dict[str, Any],
    names: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> LinearSpace:
    """The space of given projections. The way back is to the shortest row with these concepts, so
    `directions` are those of the pseudo-inverse."""
    import numpy as np

    directions = np.linalg.pinv(encoder).T
    arrays = {
        "encoder": encoder,
        "bias": bias,
        "directions": directions,
        "offset": -bias @ directions,
    }
    return LinearSpace(kind, arrays, settings, names, notes)


def _projection(kind: str, directions: Array, mean: Array, settings: dict[str, Any]) -> LinearSpace:
    arrays = {
        "encoder": directions,
        "bias": -directions @ mean,
        "directions": directions,
        "offset": mean,
    }
    return LinearSpace(kind, arrays, settings)


def _leading(matrix: Array, concepts: int, kind: str) -> tuple[Array, Array]:
    """Eigenvectors (concepts x width) with the largest eigenvalues, and these."""
    import numpy as np

    fields.whole(kind, 1, concepts=concepts)
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = values[::-1], vectors[:, ::-1].T
    rank = int((values > _NOTHING * values[0]).sum()) if values[0] > 0 else 0
    if concepts > rank:
        raise HarnessError(
            f"{kind}: {concepts} concepts of activations that have {rank} dimensions"
        )
    chosen = vectors[:concepts]
    largest = np.take_along_axis(chosen, np.abs(chosen).argmax(axis=1)[:, None], axis=1)
    return chosen * np.sign(largest), values[:concepts]


def check_rows(rows: Rows, concepts: int, kind: str) -> None:
    """Raises `HarnessError` for fewer rows than concepts."""
    fields.whole(kind, 1, concepts=concepts)
    if len(rows) < concepts:
        raise HarnessError(f"{kind}: {concepts} concepts of {len(rows)} rows; take fewer")
