"""Who does what to whom: "the dog bites the man" is not "the man bites the dog".

Without a parser: around a word that two sentences share, what stands before it in one stands after
it in the other. A passive ("is bitten by") exchanges the sides, and so do phrases like "due to".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from harness.scorers import word_lists
from harness.sentences import stem

_LONGEST = 9  # words of content; in longer clauses word order says little without a parser
_START = 3  # letters that stems of one verb share
_LISTED = frozenset(("and", "or", "nor", "with", "as"))
_BE = frozenset(("be", "been", "being", "is", "are", "was", "were"))


@dataclass(frozen=True)
class Role:
    """A word of content with the stems before and after it, as doer and object where they are."""

    pivot: str
    doer: frozenset[str]
    object: frozenset[str]


def roles(clause: list[str], meaning: Sequence[tuple[int, str]]) -> tuple[Role, ...]:
    """A role for each word of a clause that has words of content on both sides."""
    if len(meaning) > _LONGEST:
        return ()
    found = []
    inverse = _inverse(clause)
    for k in range(1, len(meaning) - 1):
        at, pivot = meaning[k]
        if pivot in _symmetric() or clause[at - 1] in _LISTED:
            continue
        before = frozenset(root for _, root in meaning[:k])
        after = frozenset(root for _, root in meaning[k + 1 :])
        turned = at in inverse or _passive(clause, at)
        shared = before & after
        if not turned and _BE.intersection(clause[max(0, at - 2) : at]):
            continue  # "is given as an injection": the doer is not named
        ends = (after - shared, before - shared) if turned else (before - shared, after - shared)
        found.append(Role(pivot, *ends))
    return tuple(found)


def by_start(found: Sequence[Role]) -> Mapping[str, Sequence[Role]]:
    """Roles by the first letters of their word, which those of one verb have in common."""
    ordered: dict[str, list[Role]] = {}
    for role in found:
        ordered.setdefault(role.pivot[:_START], []).append(role)
    return ordered


def exchanged(a: Mapping[str, Sequence[Role]], b: Mapping[str, Sequence[Role]]) -> bool:
    """Whether around a shared word each one's doer is the other's object, and nothing else.

    Both are roles as `by_start` orders them.
    """
    return any(
        role.doer & other.object
        and role.object & other.doer
        and not role.doer & other.doer
        and not role.object & other.object
        for start in a.keys() & b.keys()
        for role in a[start]
        for other in b[start]
        if _one_verb(role.pivot, other.pivot)
    )


def _one_verb(a: str, b: str) -> bool:
    """Whether two stems are of one verb: "bit" and "bitten"."""
    return a == b or (min(len(a), len(b)) >= _START and (a.startswith(b) or b.startswith(a)))


def _passive(clause: list[str], at: int) -> bool:
    """Whether "by" follows a participle: "is caused by", "fever caused by"."""
    if clause[at + 1 : at + 2] == ["by"]:
        return True
    named = _BE.intersection(clause[max(0, at - 2) : at])
    return bool(named) and "by" in clause[at + 1 : at + 4]


def _inverse(clause: list[str]) -> frozenset[int]:
    return frozenset(
        i
        for i in range(len(clause) - 1)
        for phrase in word_lists.phrases("order", "inverse")
        if tuple(clause[i : i + len(phrase)]) == phrase
    )


@cache
def _symmetric() -> frozenset[str]:
    return frozenset(map(stem, word_lists.words("order", "symmetric")))
