"""Testing with concept activation vectors: does a class grow along a concept, and more than along
concepts that are random rows?

Source: Kim et al. 2018, "Interpretability beyond feature attribution: quantitative testing with
concept activation vectors (TCAV)". Their t-test holds vectors that share a concept's rows for
independent, so of concepts that are random themselves a third have a p-value below .05; here whole
random concepts are ranked instead (Phipson and Smyth 2010, "Permutation p-values should never be
zero").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.concepts.asked import Asked
from harness.explainers.concepts.rows import InMemory, Rows, rows_of
from harness.explainers.concepts.spaces.fit import fit
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

METHODS = ("linear_svm", "linear_probe", "mean_difference")
_ENOUGH = 10  # larger random concepts, after which a p-value is known well enough
CORRECTIONS = ("holm", "bonferroni", "none")


@dataclass(frozen=True)
class ConceptTest:
    """A concept against random sets, for one target.

    `scores` are TCAV scores, in [0, 1], of vectors that separate the concept from each random set,
    `score` is their mean, `random_scores` those of vectors that separate random sets from each
    other. `magnitude` is the mean derivative along the concept's vectors, in units of the output
    per unit of the layer. `p_value` is the share of whole random concepts, this one counted among
    them, whose magnitude is at least as large in either direction; `adjusted` the same after
    correction for the number of concepts, `significant` whether that is below the level.
    """

    concept: str
    target: str
    score: float
    magnitude: float
    scores: tuple[float, ...]
    random_scores: tuple[float, ...]
    p_value: float
    adjusted: float
    significant: bool


def activation_vector(positives: Any, negatives: Any, method: str = "linear_svm") -> Array:
    """The unit vector, width long, from rows without a concept to rows with it: the normal of what
    separates them (Kim et al. 2018, section 3.2)."""
    import numpy as np

    fields.one_of("activation_vector", METHODS, method=method)
    several = [rows_of(given) for given in (positives, negatives)]
    joined = np.concatenate([batch for rows in several for batch in rows.batches()])
    known = np.arange(len(joined)) < len(several[0])
    space = fit(method, InMemory(joined), known={"concept": known})
    found: Array = space.normals[0]
    return found


def derivatives(asked: Asked) -> Array:
    """The gradient of the target by what the layer says, summed over the sample's units: samples x
    targets x width."""
    import numpy as np

    found = asked.layer.gradients(
        asked.readings, [targets.weights for targets in asked.targets], asked.output
    )
    return np.stack([gradient.double().sum(dim=1).numpy() for _, _, gradient in found])


def tcav_score(gradients: Array, vector: Array) -> float:
    """The share of samples whose target grows along the vector, in [0, 1]; `gradients` are samples
    x width (Kim et al. 2018, equation 2)."""
    return float((gradients @ vector > 0).mean())


def tcav_magnitude(gradients: Array, vector: Array) -> float:
    """The mean derivative along the vector, in units of the output per unit of the layer."""
    return float((gradients @ vector).mean())


def tcav(
    asked: Asked,
    concepts: Mapping[str, Any],
    randoms: Sequence[Any],
    method: str = "linear_svm",
    correction: str = "holm",
    level: float = 0.05,
    draws: int = 199,
    seed: int = 0,
) -> list[ConceptTest]:
    """Each concept's test, for the target of `asked` (the first where there are several).

    `concepts` are rows by name, `randoms` several sets of rows, all collected at the same layer and
    unit: each concept is held against each random set, and each random set against the next one.
    The p-value is a rank among `draws` random concepts: as many rows as the concept has, drawn with
    `seed` from its own and all random ones (whole samples where rows are activations, whose rows
    of one sample are alike), held against all others as the concept is. What is ranked is the size
    of the mean derivative along the vector, because scores of random concepts are often 0 or 1. No
    p-value is below 1 / (draws + 1), and drawing ends when ten were larger (Besag and Clifford
    1991, "Sequential Monte Carlo p-values"). Raises `HarnessError` for fewer than three random
    sets, for rows of another width, and for draws that cannot fall below the level.
    """
    from statsmodels.stats.multitest import multipletests

    fields.one_of("tcav", CORRECTIONS, correction=correction)
    if len(randoms) < 3:
        raise HarnessError(f"tcav: {len(randoms)} random sets show no spread; give three or more")
    fields.whole("tcav", 1, draws=draws)
    if 1 / (draws + 1) >= level:
        raise HarnessError(
            f"tcav: of {draws} draws no p-value is below {level}; give {int(1 / level)} or more"
        )
    gradients = derivatives(asked)[:, 0]
    given = {name: rows_of(rows) for name, rows in concepts.items()}
    sets = [rows_of(rows) for rows in randoms]
    for rows in (*given.values(), *sets):
        if rows.width != gradients.shape[1]:
            raise HarnessError(
                f"tcav: rows are {rows.width} wide, but the layer says {gradients.shape[1]} numbers"
            )
    null = [
        tcav_score(gradients, activation_vector(one, sets[(place + 1) % len(sets)], method))
        for place, one in enumerate(sets)
    ]
    found = []
    for name, rows in given.items():
        vectors = [activation_vector(rows, one, method) for one in sets]
        scores = [tcav_score(gradients, vector) for vector in vectors]
        sizes = [tcav_magnitude(gradients, vector) for vector in vectors]
        p_value = _p_value(gradients, rows, sets, method, draws, seed)
        found.append((name, scores, sum(sizes) / len(sizes), p_value))
    raw = [p_value for *_, p_value in found]
    adjusted = raw if correction == "none" else multipletests(raw, method=correction)[1].tolist()
    (target, *_) = asked.targets[0].names
    return [
        ConceptTest(
            name, target, sum(scores) / len(scores), size, tuple(scores), tuple(null), p_value,
            float(corrected), bool(corrected < level),
        )
        for (name, scores, size, p_value), corrected in zip(found, adjusted, strict=True)
    ]  # fmt: skip


def _p_value(
    gradients: Array, concept: Rows, randoms: Sequence[Rows], method: str, draws: int, seed: int
) -> float:
    """The rank of the concept among random concepts of the same rows and random ones."""
    import numpy as np

    every = [concept, *randoms]
    pool = np.concatenate([batch for rows in every for batch in rows.batches()])
    # Where each row's sample begins to differ from those of the rows before it.
    starts = np.concatenate([_starts(rows) for rows in every])
    block = np.cumsum(starts) - 1
    own = np.arange(len(pool)) < len(concept)
    size = _size(pool, gradients.mean(axis=0), method)
    wanted, larger = size(own), 0
    rng = np.random.default_rng(seed)
    for number in range(1, draws + 1):
        place = np.argsort(rng.permutation(block[-1] + 1)[block], kind="stable")
        drawn = np.zeros(len(pool), dtype=bool)
        drawn[place[: len(concept)]] = True
        larger += size(drawn) >= wanted
        if larger == _ENOUGH:
            return larger / number
    return (1 + larger) / (1 + draws)


def _size(pool: Array, slope: Array, method: str) -> Callable[[NDArray[np.bool_]], float]:
    """How large the derivative is along the vector of the rows that have a concept, whichever these
    are. Means are quick: a space need not be made of them."""
    import numpy as np

    if method != "mean_difference":
        return lambda own: abs(float(slope @ activation_vector(pool[own], pool[~own], method)))
    exact = pool.astype(np.float64)
    total = exact.sum(axis=0)

    def of_means(own: NDArray[np.bool_]) -> float:
        mine, count = exact[own].sum(axis=0), int(own.sum())
        apart = mine / count - (total - mine) / (len(own) - count)
        return abs(float(slope @ apart)) / max(float(np.linalg.norm(apart)), 1e-300)

    return of_means


def _starts(rows: Rows) -> NDArray[np.bool_]:
    """Which rows are the first of their sample: all of them where samples are not known."""
    import numpy as np

    places = getattr(rows, "sample_places", None)
    owner = np.arange(len(rows)) if places is None else np.asarray(places())
    first: NDArray[np.bool_] = np.diff(owner, prepend=-1) != 0
    return first
