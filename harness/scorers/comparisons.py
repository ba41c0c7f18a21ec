"""Comparisons and orders in time: "A is faster than B" says what "B is slower than A" says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.scorers import word_lists
from harness.scorers.numbers import read_number
from harness.scorers.opposites import sides
from harness.sentences import stem


@dataclass(frozen=True)
class Comparison:
    """What stands on both sides of "than", "before" or "after", without what both share.

    `pairs` are pair and side of the words of opposite meaning by which it compares; `inverted`
    where "less" or "after" turns it round. `kind` is "degree" or "time".
    """

    kind: str
    left: frozenset[str]
    right: frozenset[str]
    pairs: frozenset[tuple[int, int]] = frozenset()
    inverted: bool = False


def comparisons(clause: list[str], meaning: Sequence[tuple[int, str]]) -> list[Comparison]:
    """The comparisons of one clause; `meaning` are places and stems of its words of content."""
    found = []
    if "than" in clause and not bounds(clause, clause.index("than") - 1):
        found.append(_degree(clause, meaning, clause.index("than")))
    for key in ("before", "after"):
        for phrase in word_lists.phrases("order", key):
            i = _place(clause, phrase)
            if i >= 0:
                inside = range(i, i + len(phrase))
                left, right = _parted(meaning, i, inside)
                found.append(Comparison("time", left, right, inverted=key == "after"))
                return found
    return found


def bounds(clause: list[str], i: int) -> bool:
    """Whether the word at place i only says on which side of a number: "less than 2 cm"."""
    return clause[i + 1 : i + 2] == ["than"] and read_number(clause, i + 2) is not None


def same_order(a: Sequence[Comparison], b: Sequence[Comparison]) -> bool | None:
    """Whether both put the same two things in one order; `None` where they compare none."""
    if not a or not b:
        return None
    found = [same for x in a for y in b if (same := _agree(x, y)) is not None]
    return all(found) if found else None


def compared_pairs(compared: Sequence[Comparison]) -> frozenset[int]:
    """The pairs of opposite words by which comparisons compare, "more" and "before" included."""
    marks = {"more" if one.kind == "degree" else "before" for one in compared}
    named = {pair for mark in marks for pair, _ in sides().get(stem(mark), ())}
    return frozenset(named | {pair for one in compared for pair, _ in one.pairs})


def _agree(a: Comparison, b: Comparison) -> bool | None:
    if a.kind != b.kind:
        return None
    known, others = dict(a.pairs), dict(b.pairs)
    shared = known.keys() & others.keys()
    if known and others and not shared:
        return None  # faster is not cheaper
    crossed = bool(a.left & b.right) and bool(a.right & b.left)
    straight = bool(a.right & b.right)
    if crossed == straight:
        return None
    first = sorted(shared)[:1]  # one word may be in several pairs, and turns but once
    turned = sum(known[pair] != others[pair] for pair in first) + a.inverted + b.inverted
    return bool(turned % 2) == crossed


def _degree(clause: list[str], meaning: Sequence[tuple[int, str]], than: int) -> Comparison:
    more, less = word_lists.words("order", "more"), word_lists.words("order", "less")
    at = next(
        (
            k
            for k in range(than - 1, -1, -1)
            if clause[k] in more | less or _compares(clause, k, than)
        ),
        -1,
    )
    places = [at] if at >= 0 else []
    if at >= 0 and clause[at] in more | less and at + 1 < than:
        places.append(at + 1)
    inverted = at >= 0 and clause[at] in less
    named = places[1:] if len(places) > 1 or clause[at] in less or clause[at] == "more" else places
    pairs = frozenset(pair for k in named for pair in sides().get(stem(clause[k]), ()))
    left, right = _parted(meaning, than, places)
    return Comparison("degree", left, right, pairs, inverted)


def _compares(clause: list[str], k: int, than: int) -> bool:
    word = clause[k]
    return word.endswith("er") and (k == than - 1 or stem(word) in sides())


def _parted(
    meaning: Sequence[tuple[int, str]], at: int, without: Sequence[int]
) -> tuple[frozenset[str], frozenset[str]]:
    left = {root for place, root in meaning if place < at and place not in without}
    right = {root for place, root in meaning if place > at and place not in without}
    return frozenset(left - right), frozenset(right - left)


def _place(clause: list[str], phrase: tuple[str, ...]) -> int:
    size = len(phrase)
    starts = (i for i in range(1, len(clause) - size) if tuple(clause[i : i + size]) == phrase)
    return next(starts, -1)
