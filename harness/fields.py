"""Checks of the fields that a suite gives a part, each with its one wording.

`where` opens the sentence and names the part (`backend 'openai'`); the fields are given by name.
Each function raises `HarnessError` for the first field that cannot be right.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from harness.records import HarnessError


def whole(where: str, lowest: int, **fields: Any) -> None:
    """Whole numbers, none below `lowest`; true and false are none."""
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise HarnessError(
                f"{where}: {name} is a whole number of at least {lowest}, not {value!r}"
            )


def seconds(where: str, **fields: Any) -> None:
    """Times of a millisecond or more; neither infinite nor NaN."""
    for name, value in fields.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 1e-3 <= value < math.inf:
            raise HarnessError(f"{where}: {name} is a number of seconds above 0, not {value!r}")


def switches(where: str, **fields: Any) -> None:
    """True or false."""
    for name, value in fields.items():
        if not isinstance(value, bool):
            raise HarnessError(f"{where}: {name} is true or false, not {value!r}")


def mappings(where: str, **fields: Any) -> None:
    """Mappings, or `None` where nothing is given; what they hold may be secret and is not told."""
    for name, value in fields.items():
        if value is not None and not isinstance(value, Mapping):
            raise HarnessError(f"{where}: {name} is a mapping of names to values")


def one_of(where: str, choices: Collection[str], **fields: Any) -> None:
    """One of the choices."""
    for name, value in fields.items():
        if value not in choices:
            raise HarnessError(f"{where}: {name} is one of {', '.join(choices)}, not {value!r}")


def extras(where: str, wanted: Mapping[str, Any] | None, known: Collection[str]) -> None:
    """What is wanted of a model beyond its text, by names that its backend knows."""
    mappings(where, extras=wanted)
    unknown = sorted(str(name) for name in wanted or () if name not in known)
    if unknown:
        raise HarnessError(
            f"{where}: there is no extra '{unknown[0]}'; known are {', '.join(known)}"
        )
