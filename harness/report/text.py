"""How text and numbers are put on the page.

Whatever a model, a data set or a file name brings along is hostile: it is escaped by the
templates, and what escaping does not catch (control characters, bidirectional overrides, lone
surrogates) is made visible here. Numbers are written one way throughout the report.
"""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from harness.drawing.words import neutral
from harness.results import NOT_MEASURED, Estimate, interval

_LONG = re.compile(r"[^\s\x00-]{25,}")
_SIGN = re.compile(r"(?<=[._/:,;])(?=[^\s\x00])")  # where a name, path or number may end a line
_BREAK = "\x00"  # never in neutralised text


def finalize(value: Any) -> Any:
    """What Jinja calls for every expression before it escapes: neutralises all plain text."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return neutral(value)
    return value


def bdi(text: Any) -> Markup:
    """`text` in a `<bdi>`, so that its direction cannot reorder what stands around it.

    Words of more than 24 characters may be broken, or one name could widen a whole table.
    """
    if isinstance(text, Markup):
        return Markup("<bdi>{}</bdi>").format(text)
    return _with_breaks(_break_words(neutral(str(text))))


def breakable(text: Any) -> Markup:
    """A metric's id in a `<bdi>`, with places to break a line after dots and underscores."""
    return _with_breaks(_break_words(re.sub(r"([._])(?=.)", rf"\1{_BREAK}", neutral(str(text)))))


def _break_words(text: str) -> str:
    """Long words with breaks after their own signs, and within what has none for too long."""

    def broken(word: re.Match[str]) -> str:
        parts = _SIGN.split(word.group())
        return _BREAK.join(
            piece
            for part in parts
            for piece in (re.findall(".{1,12}", part) if len(part) >= 25 else [part])
        )

    return _LONG.sub(broken, text)


def _with_breaks(text: str) -> Markup:
    return Markup("<bdi>{}</bdi>").format(Markup("<wbr>").join(text.split(_BREAK)))


def cut(text: str, limit: int) -> tuple[str, int]:
    """The first `limit` characters, and how many were left off."""
    return text[:limit], max(0, len(text) - limit)


def because(estimate: Estimate) -> str:
    """The interval, or where there is no value the reason that stands with it."""
    return interval(estimate) if estimate.value is not None else estimate.method or "not measured"


def basis(estimate: Estimate) -> str:
    """What an estimate rests on: scored subjects, clusters and method, in one line.

    Why there is no interval is left out, because that stands in the interval's place.
    """
    parts = [f"n = {estimate.n:,}"]
    if estimate.clusters:
        parts.append(f"{estimate.clusters:,} cluster{'s' if estimate.clusters != 1 else ''}")
    if estimate.method and estimate.method != interval(estimate):
        parts.append(estimate.method)
    return "; ".join(parts)


def percent(share: float | None) -> str:
    """A share as a percentage that never rounds up to 100 or down to 0."""
    if share is None:
        return NOT_MEASURED
    if 0.999 <= share < 1:
        return "99.9 %" if share < 0.9995 else "> 99.9 %"
    if 0 < share < 0.001:
        return "< 0.1 %"
    text = f"{100 * share:.1f}"
    return f"{text.removesuffix('.0')} %"


def moment(iso: str) -> str:
    """A time in UTC as people write it; anything else as it is."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:[\d.]+)?(\+00:00|Z)", iso)
    return f"{found[1]} {found[2]} UTC" if found else iso


def p_value(p: float | None) -> str:
    """A p value to three decimals, or `< 0.001`."""
    if p is None:
        return NOT_MEASURED
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
