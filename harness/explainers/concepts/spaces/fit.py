"""Any space by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.explainers.concepts.spaces import clusters, factors, linear, supervised, training
from harness.explainers.concepts.spaces.space import Fitted
from harness.records import HarnessError

UNSUPERVISED: Mapping[str, Callable[..., Fitted]] = {
    "neurons": linear.neurons,
    "pca": linear.pca,
    "svd": linear.svd,
    "ica": linear.ica,
    "random": linear.random_directions,
    "k_means": clusters.k_means,
    "nmf": factors.nmf,
    "semi_nmf": factors.semi_nmf,
    "convex_nmf": factors.convex_nmf,
    "archetypes": factors.archetypes,
    "vanilla": training.vanilla,
    "top_k": training.top_k,
    "batch_top_k": training.batch_top_k,
    "jump_relu": training.jump_relu,
    "matching_pursuit": training.matching_pursuit,
}
SUPERVISED: Mapping[str, Callable[..., Fitted]] = {
    "linear_probe": supervised.linear_probe,
    "mean_difference": supervised.mean_difference,
    "linear_svm": supervised.linear_svm,
    "centroids": supervised.centroids,
    "mahalanobis": supervised.mahalanobis,
}


def parameters(kind: str) -> frozenset[str]:
    """The settings that a kind of space takes. Raises `HarnessError` for an unknown kind."""
    import inspect

    return frozenset(inspect.signature(_fitting(kind)).parameters) - {"rows", "progress"}


def fit(kind: str, rows: Any, **settings: Any) -> Any:
    """The space `kind` fitted to rows: an array, a tensor, or activations from disk.

    Most take `concepts` (how many), sparse codes `k` or `penalty`, supervised ones `known` (names
    to one true or false a row). Raises `HarnessError` for an unknown kind, for settings that it
    does not take, and as the kind does.
    """
    import inspect

    fitting = _fitting(kind)
    try:
        inspect.signature(fitting).bind(rows, **settings)
    except TypeError as error:
        raise HarnessError(f"{kind}: {error}") from error
    return fitting(rows, **settings)


def _fitting(kind: str) -> Any:
    every = {**UNSUPERVISED, **SUPERVISED}
    if kind not in every:
        raise HarnessError(f"there is no space '{kind}'; spaces are {', '.join(every)}")
    return every[kind]
