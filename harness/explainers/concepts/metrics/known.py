"""What concepts have to do with known ones: how well each tells each, whether one does alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.explainers.concepts.rows import rows_of, some
from harness.explainers.concepts.spaces.space import Fitted
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_BINS = 20  # of each concept's strength: Locatello et al. 2019, section C


@dataclass(frozen=True)
class Disentanglement:
    """All in [0, 1], higher is better. `disentanglement`: whether a concept tells one known concept
    alone; `completeness`: whether a known concept is told by one alone (both Eastwood and Williams
    2018, "A framework for the quantitative evaluation of disentangled representations", section 2);
    `mig`: the mutual information gap (Chen et al. 2018, "Isolating sources of disentanglement in
    variational autoencoders", equation 6)."""

    disentanglement: float
    completeness: float
    mig: float


def strengths_of(space: Fitted, rows: Any) -> NDArray[np.float32]:
    """Strengths of all rows, rows x concepts, in 32 bits: all that a ranking needs."""
    import numpy as np

    return np.concatenate(
        [space.strength(batch).astype(np.float32) for batch in rows_of(rows).batches()]
    )


def auc(strengths: NDArray[Any], known: Mapping[str, Sequence[bool]]) -> Array:
    """The area under the ROC curve of each concept for each known one, concepts x known: the chance
    that a row with it has more of the concept than a row without, ties counted half.

    `strengths` are rows x concepts. Below .5 it is the concept's absence that tells. Raises
    `HarnessError` for a known concept that no row or every row has.
    """
    import numpy as np
    from scipy.stats import rankdata

    labels = _labels(known, len(strengths))
    counts = labels.sum(axis=0).astype(np.float64)
    found = np.empty((strengths.shape[1], len(known)))
    for place, column in enumerate(strengths.T):
        ranks = rankdata(column)
        sums = ranks @ labels
        found[place] = (sums - counts * (counts + 1) / 2) / (counts * (len(labels) - counts))
    return found


def best(found: Array) -> tuple[NDArray[np.int64], Array]:
    """For each known concept the place of the concept whose AUC is furthest from .5, and the sign
    (1 or -1) with which it tells. To be chosen on rows other than those it is measured on."""
    import numpy as np

    places = np.abs(found - 0.5).argmax(axis=0)
    signs = np.where(found[places, np.arange(found.shape[1])] >= 0.5, 1.0, -1.0)
    return places, signs


def disentanglement(
    space: Fitted,
    rows: Any,
    known: Mapping[str, Sequence[bool]],
    seed: int = 0,
    most: int = 20_000,
) -> Disentanglement:
    """On at most `most` rows, drawn with `seed`. How much a concept has to do with a known one is
    its importance in 50 random trees (scikit-learn's ExtraTreesClassifier, depth 10)."""
    import numpy as np
    from sklearn.ensemble import ExtraTreesClassifier

    given = rows_of(rows)
    labels = _labels(known, len(given))
    kept = some(_Numbered(len(given)), most, seed)[:, 0].astype(int)
    strengths = space.strength(some(given, most, seed))
    importance = np.empty((strengths.shape[1], len(known)))
    for place, mine in enumerate(labels[kept].T):
        trees = ExtraTreesClassifier(50, max_depth=10, random_state=seed).fit(strengths, mine)
        importance[:, place] = trees.feature_importances_
    both = dci(importance)
    return Disentanglement(*both, mutual_information_gap(strengths, labels[kept]))


def dci(importance: Array) -> tuple[float, float]:
    """Disentanglement and completeness of importances, concepts x known, none below 0."""
    import numpy as np

    total = importance.sum()
    if total <= 0 or min(importance.shape) < 2:
        raise HarnessError("disentanglement is of two concepts and two known ones or more")
    by_concept, by_known = importance.sum(axis=1), importance.sum(axis=0)
    return (
        float(by_concept / total @ (1 - _entropy(importance))),
        float(np.mean(1 - _entropy(importance.T)[by_known > 0])),
    )


def mutual_information_gap(strengths: NDArray[Any], labels: NDArray[np.bool_]) -> float:
    """The mean over known concepts of the gap between the two concepts that have the most mutual
    information with it, over its entropy; strengths in 20 bins of equal width."""
    import numpy as np
    from sklearn.metrics import mutual_info_score

    if strengths.shape[1] < 2:
        raise HarnessError("a gap is between two concepts or more")
    edges = [np.histogram_bin_edges(column.astype(float), _BINS)[1:-1] for column in strengths.T]
    binned = [np.digitize(c, e) for c, e in zip(strengths.T, edges, strict=True)]
    gaps = []
    for mine in labels.T:
        shared = sorted((mutual_info_score(mine, column) for column in binned), reverse=True)
        gaps.append((shared[0] - shared[1]) / mutual_info_score(mine, mine))
    return float(np.mean(gaps))


def _entropy(importance: Array) -> Array:
    """Of each row as shares, to the base of their number, so that it is in [0, 1]."""
    import numpy as np

    sums = importance.sum(axis=1, keepdims=True)
    shares = importance / np.where(sums > 0, sums, 1.0)
    logs = np.log(np.where(shares > 0, shares, 1.0)) / np.log(importance.shape[1])
    found: Array = -(shares * logs).sum(axis=1)
    return found


def _labels(known: Mapping[str, Sequence[bool]], count: int) -> NDArray[np.bool_]:
    import numpy as np

    for name, values in known.items():
        if len(values) != count:
            raise HarnessError(f"known concept '{name}' is said of {len(values)} rows of {count}")
        if not 0 < np.sum(values) < count:
            raise HarnessError(f"known concept '{name}' must be true of some rows and not of all")
    return np.stack([np.asarray(values, dtype=bool) for values in known.values()], axis=1)


class _Numbered:
    """The numbers of rows as rows, so that the same draw takes rows and labels."""

    width = 1

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def batches(self, size: int = 4096, seed: int | None = None) -> Any:  # noqa: ARG002
        import numpy as np

        for start in range(0, self._count, size):
            yield np.arange(start, min(start + size, self._count))[:, None]
