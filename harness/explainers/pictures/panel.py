"""One part of a picture: the units of one part of the input, seen in one way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.records import Attribution


@dataclass(frozen=True)
class Panel:
    """Elements from (0, 0), `height` pixels high; `page` is the same as HTML where that is better.

    `notes` are sentences that belong under the picture; `paint` makes a PNG file of it, given the
    picture's title, what it shows in words, and what its numbers are.
    """

    parts: list[Markup]
    height: float
    page: Markup | None = None
    notes: tuple[str, ...] = ()
    paint: Callable[[str, str, str], bytes] | None = None


def strongest(attribution: Attribution, places: Sequence[int], most: int) -> list[int]:
    """Of these places of units, the `most` of largest size, the largest first."""
    sized = [
        (-abs(value), place)
        for place in places
        if (value := attribution.values[place]) is not None and value != 0 and math.isfinite(value)
    ]
    return [place for _, place in sorted(sized)[:most]]
