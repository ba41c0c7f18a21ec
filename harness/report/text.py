"""How text and numbers are put on the page.

Whatever a model, a data set or a file name brings along is hostile: it is escaped by the
templates, and what escaping does not catch (control characters, bidirectional overrides, lone
surrogates) is made visible here. Numbers are written one way throughout the report.
"""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup, escape

from harness.results import Estimate

NOT_MEASURED = "–"

# C0 and C1 controls except tab and line feed, bidirectional embeddings, overrides and isolates
# (Unicode TR 9; "Trojan Source", CVE-2021-42574), line separators, annotation marks, the byte
# order mark, lone surrogates (not encodable as UTF-8), and tag characters, which hide text.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufff9-\ufffb\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)

_LONG = re.compile(r"[^\s\x00-]{25,}")
_BREAK = "\x00"  # never in neutralised text


def neutral(text: str) -> str:
    """`text` with every invisible control character replaced by a visible sign.

    The sign is its code point in angle brackets. Line feeds and tabs stay.
    """
    return _HIDDEN.sub(lambda sign: f"⟨U+{ord(sign.group()):04X}⟩", text.replace("\r\n", "\n"))


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
    return _LONG.sub(lambda word: _BREAK.join(re.findall(".{1,12}", word.group())), text)


def _with_breaks(text: str) -> Markup:
    return Markup("<bdi>{}</bdi>").format(Markup("<wbr>").join(text.split(_BREAK)))


def safe(text: Any) -> Markup:
    """`text` neutralised and escaped, for markup made outside the templates."""
    return escape(neutral(str(text)))


def cut(text: str, limit: int) -> tuple[str, int]:
    """The first `limit` characters, and how many were left off."""
    return text[:limit], max(0, len(text) - limit)


def short(text: str, limit: int) -> str:
    """`text` on one line of at most `limit` characters, with an ellipsis where it was longer."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def number(value: float | None) -> str:
    """Two decimals below 10, fewer above, no zero before the point; a dash for nothing."""
    if value is None or value != value:
        return NOT_MEASURED
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return unpadded(text)


def unpadded(text: str) -> str:
    """A number without the zero before its point, with a true minus: `-0.5` as `−.5`."""
    return re.sub(r"^(-?)0\.", r"\1.", text).replace("-", "−")


def interval(estimate: Estimate) -> str:
    """`[low, high]`, or words that say why there is none."""
    if estimate.value is None:
        return "not measured"
    if estimate.low is None or estimate.high is None:
        return "no interval"
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def because(estimate: Estimate) -> str:
    """The interval, or where there is no value the reason that stands with it."""
    return interval(estimate) if estimate.value is not None else estimate.method or "not measured"


def basis(estimate: Estimate) -> str:
    """What an estimate rests on: scored subjects, clusters and method, in one line."""
    parts = [f"n = {estimate.n:,}"]
    if estimate.clusters:
        parts.append(f"{estimate.clusters:,} cluster{'s' if estimate.clusters != 1 else ''}")
    if estimate.method:
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


def p_value(p: float | None) -> str:
    """A p value to three decimals, or `< 0.001`."""
    if p is None:
        return NOT_MEASURED
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
