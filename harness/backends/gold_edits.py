"""Gold with one thing changed: what the controls of stability say.

Each function takes a gold record and `drawn`, which gives a number in [0, 1) for the words of a
claim or for the edit itself, so that the caller decides what the change depends on. All return an
empty text where gold has nothing to make the change of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from harness.gold import join
from harness.records import Claim, GoldRecord

Draw = Callable[[str], float]
ItemT = TypeVar("ItemT")

_SPELLED = {
    word: value
    for value, word in enumerate(
        (
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ),
        2,
    )
}
_VALUE = rf"\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:\.\d+)?|{'|'.join(_SPELLED)}"
# A number by itself: not in a name (MEN1, COVID-19), an ordinal or a date, "one" only in a range.
_NUMBER = re.compile(
    r"(?<![\w.,/])(?<![^\W\d_]-)"
    rf"(?:(?P<one>one)(?=(?:-| to | or | and )(?:{_VALUE})\b)|(?P<value>{_VALUE}))"
    r"(?![\w/]|\.\d|,\d)(?=(?P<percent>(?: or \d+| and \d+| to \d+)? ?(?:percent\b|%))?)",
    re.IGNORECASE,
)
_NAME = re.compile(r"\b(?:type|types|grade|stage|class|phase|group|figure|table) \Z", re.IGNORECASE)
_FACTOR = 5  # a range and the same range times five never overlap unless one end is five others
_YEARS = (1800, 2100)


def reworded(record: GoldRecord, drawn: Draw) -> str:
    """Each claim in its own words or in those of a paraphrase; all say the same."""
    claims = statements(record)
    if not any(claim.paraphrases for claim in claims):
        return ""
    return join(_in_some_words(claim, drawn) for claim in claims)


def one_dropped(record: GoldRecord, drawn: Draw) -> str:
    """All claims but one, in the words that `reworded` draws; nothing where there is only one.

    So the missing statement alone tells it from `reworded`.
    """
    claims = statements(record)
    if len(claims) < 2:
        return ""
    left_out = _pick(claims, drawn("dropped"))
    return join(_in_some_words(claim, drawn) for claim in claims if claim is not left_out)


def one_reversed(record: GoldRecord, drawn: Draw) -> str:
    """All claims, one of them or none in the words of its hand-written contradiction."""
    return _one_changed(record, lambda claim: claim.contradiction or "", drawn("reversed"))


def number_changed(record: GoldRecord, drawn: Draw) -> str:
    """All claims, the numbers of one of them or of none changed."""
    return _one_changed(record, _with_other_numbers, drawn("number"))


def statements(record: GoldRecord) -> list[Claim]:
    """The claims that an explanation may state."""
    return [claim for claim in record.claims if claim.importance != "must_not"]


def with_other_numbers(text: str) -> str:
    """A text with each of its numbers five times as large, shares a fifth, years 50 on.

    Unchanged where it has no number that stands by itself. The ends of a range stay in order.
    """
    return _NUMBER.sub(_other, text)


def _in_some_words(claim: Claim, drawn: Draw) -> str:
    return _pick((claim.text, *claim.paraphrases), drawn(f"words of {claim.id}"))


def _one_changed(record: GoldRecord, change: Callable[[Claim], str], drawn: float) -> str:
    claims = statements(record)
    changed = {claim.id: text for claim in claims if (text := change(claim))}
    if not changed:
        return ""
    # None is drawn as often as each claim: where one alone can be changed, not all texts are alike.
    chosen = _pick((*changed, ""), drawn)
    return join(changed[c.id] if c.id == chosen else c.text for c in claims)


def _with_other_numbers(claim: Claim) -> str:
    text = with_other_numbers(claim.text)
    return "" if text == claim.text else text


def _other(match: re.Match[str]) -> str:
    if _NAME.search(match.string, 0, match.start()):  # type 2 is no quantity
        return match[0]
    word = match[0].lower().replace(",", "")
    value = 1.0 if match["one"] else float(_SPELLED.get(word, 0) or word)
    if match["percent"] is not None:
        return f"{value / _FACTOR:g}"
    if value.is_integer() and _YEARS[0] <= value <= _YEARS[1]:
        return f"{value + 50:g}"
    return f"{value * _FACTOR:.10g}"


def _pick(items: Sequence[ItemT], drawn: float) -> ItemT:
    return items[int(drawn * len(items))]
