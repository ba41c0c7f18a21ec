"""How few concepts a row has, and how many concepts no row has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.explainers.concepts.rows import rows_of
from harness.explainers.concepts.spaces.space import Space


@dataclass(frozen=True)
class Sparsity:
    """`l0`: mean number of concepts a row that are not 0. `hoyer`: mean of (sqrt(n) - l1 / l2) /
    (sqrt(n) - 1) over rows with any, 0 where all n concepts are equally strong and 1 where there is
    one. `dead`: share of concepts that are 0 in every row.

    Hoyer 2004, "Non-negative matrix factorization with sparseness constraints", section 3.1.
    """

    l0: float
    hoyer: float
    dead: float


def sparsity(space: Space, rows: Any) -> Sparsity:
    """Over all rows, batch by batch."""
    import numpy as np

    given = rows_of(rows)
    count = len(space.names)
    number = hoyer = 0.0
    some = 0
    fired = np.zeros(count, dtype=bool)
    for batch in given.batches():
        sizes = np.abs(space.encode(batch))
        number += float((sizes > 0).sum())
        fired |= (sizes > 0).any(axis=0)
        lengths = np.sqrt((sizes**2).sum(axis=1))
        ratios = sizes.sum(axis=1)[lengths > 0] / lengths[lengths > 0]
        hoyer += float((np.sqrt(count) - ratios).sum()) / (np.sqrt(count) - 1) if count > 1 else 0.0
        some += len(ratios)
    return Sparsity(number / len(given), float(hoyer) / max(1, some), float((~fired).mean()))
