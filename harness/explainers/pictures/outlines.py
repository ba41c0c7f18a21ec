"""The outline of a region of a label map, along the edges of its pixels."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Loop = list[tuple[int, int]]  # corners (x, y), the last joined to the first


def outlines(region: NDArray[np.bool_]) -> list[Loop]:
    """The closed outlines of a region, those of its holes among them.

    `region` is height x width; corners are counted from 0 to width and height. Edges go around with
    the region at their right, so at every corner as many begin as end, and loops always close.
    """
    import numpy as np

    padded = np.pad(region, 1)
    inside = padded[1:-1, 1:-1]
    sides = (  # the neighbour outside of it, then where the edge begins and ends
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    after: dict[tuple[int, int], Loop] = defaultdict(list)
    for neighbour, (x0, y0), (x1, y1) in sides:
        rows, columns = np.nonzero(inside & ~neighbour)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            after[column + x0, row + y0].append((column + x1, row + y1))
    loops = []
    while after:
        start = at = next(iter(after))
        loop: Loop = []
        while True:
            ends = after[at]
            following = ends.pop()
            if not ends:
                del after[at]
            loop.append(at)
            at = following
            if at == start:
                break
        loops.append(_corners(loop))
    return loops


def _corners(loop: Loop) -> Loop:
    """The loop without the points at which it goes straight on."""
    return [
        (x, y)
        for (a, b), (x, y), (c, d) in zip(
            loop[-1:] + loop[:-1], loop, loop[1:] + loop[:1], strict=True
        )
        if not (a == x == c or b == y == d)
    ]
