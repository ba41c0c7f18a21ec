"""Whether two sentences about the same thing say opposite things.

A negation counts only in its scope, and only where the other sentence affirms what stands in that
scope: "can occur without symptoms" does not contradict "is caused by a bacterium". Word pairs with
opposite meaning flip a sentence; together with a negation they flip it back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.scorers.negation import CONDITIONAL, clauses, means, root, scoped
from harness.scorers.opposites import SIDES
from harness.sentences import stem

_PREFIX = re.compile(r"(?:un|non|dis|il(?=l)|ir(?=r)|im(?=[mp])|in)([^\W\d_]{4,})\Z")
_AROUND = 3  # content words on either side of a word of an opposite pair


@dataclass(frozen=True)
class Opposite:
    """A word of an opposite pair: which pair and side, whether denied, and the stems around it."""

    pair: int
    side: int
    negated: bool
    around: frozenset[str]


@dataclass(frozen=True)
class Comparison:
    """What stands before "than" and what after, without what both sides share."""

    left: frozenset[str]
    right: frozenset[str]


@dataclass(frozen=True)
class Polarity:
    """What a sentence affirms and denies.

    `scopes` holds what each negation denies, `conditional` what is denied under a condition only
    ("unless treated"), `negated` the stems that are denied and nowhere affirmed. A `simple`
    sentence is one clause.
    """

    stems: frozenset[str]
    affirmed: frozenset[str]
    scopes: tuple[frozenset[str], ...]
    conditional: frozenset[str]
    negated: frozenset[str]
    opposites: tuple[Opposite, ...]
    comparisons: tuple[Comparison, ...]
    simple: bool


def polarity(sentence: str) -> Polarity:
    """Reads a sentence's polarity."""
    stems: set[str] = set()
    affirmed: set[str] = set()
    conditional: set[str] = set()
    scopes: list[frozenset[str]] = []
    opposites: list[Opposite] = []
    comparisons: list[Comparison] = []
    before: frozenset[str] = frozenset()  # "may help but should not be used" has its subject there
    parts = clauses(sentence)
    for clause in parts:
        inside, cues = scoped(clause)
        covered = frozenset().union(*inside) if inside else frozenset()
        meaning = [
            (place, root(word, place in covered))
            for place, word in enumerate(clause)
            if means(word) and place not in cues
        ]
        stems.update(own for _, own in meaning)
        affirmed.update(own for place, own in meaning if place not in covered)
        for scope in inside:
            meant = frozenset(own for place, own in meaning if place in scope)
            if not meant or clause[0] in CONDITIONAL:
                conditional |= meant or before
            else:
                scopes.append(meant)
        before = frozenset(own for _, own in meaning)
        opposites += _opposites(clause, meaning, covered, cues)
        if "than" in clause:
            comparisons.append(_comparison(meaning, clause.index("than")))
    negated = conditional.union(*scopes) - affirmed
    return Polarity(
        frozenset(stems), frozenset(affirmed), tuple(scopes), frozenset(conditional),
        frozenset(negated), tuple(opposites), tuple(comparisons), len(parts) == 1,
    )  # fmt: skip


def _opposites(
    clause: list[str],
    meaning: list[tuple[int, str]],
    covered: frozenset[int],
    cues: frozenset[int],
) -> list[Opposite]:
    found = []
    for place, word in enumerate(clause):
        if place in cues:
            continue
        for pair, side in SIDES.get(stem(word), ()):
            before = [own for at, own in meaning if at < place][-_AROUND:]
            after = [own for at, own in meaning if at > place][:_AROUND]
            found.append(Opposite(pair, side, place in covered, frozenset((*before, *after))))
    return found


def _comparison(meaning: list[tuple[int, str]], than: int) -> Comparison:
    left = {own for place, own in meaning if place < than}
    right = {own for place, own in meaning if place > than}
    return Comparison(frozenset(left - right), frozenset(right - left))


def opposed(a: Polarity, b: Polarity) -> bool:
    """Whether one denies what the other affirms. Symmetric.

    A negation and a word of opposite meaning undo each other: to say that avoiding salt helps is
    not to oppose that salt harms.
    """
    denies = _denies(a, b) or _denies(b, a)
    return denies != _flips(a, b) or _exchanged(a, b)


def _denies(a: Polarity, b: Polarity) -> bool:
    """Whether a negation of `a` covers what `b` affirms.

    Half of the scope must be found in `b`, most of that affirmed; a scope of which less is found
    denies something that `b` does not speak of. To deny "raises" is not to oppose "lowers".
    """
    theirs = {(o.pair, o.side) for o in b.opposites}
    denied = b.conditional.union(*b.scopes)
    for scope in a.scopes:
        sides = {side for root in scope for side in SIDES.get(root, ())}
        if any((pair, 1 - side) in theirs and (pair, side) not in theirs for pair, side in sides):
            continue
        only = scope - a.affirmed
        shared = only & b.stems
        if not shared or shared & denied:
            continue
        # A sentence of one clause says nothing but its negation.
        if 2 * len(shared) >= len(only) or (a.simple and not denied):
            return True
    return False


def _flips(a: Polarity, b: Polarity) -> bool:
    """Whether opposite words stand about the same thing, neither or both of them negated.

    A sentence that uses both words of a pair ("from mild to severe") says nothing by either.
    """
    ours = {(o.pair, o.side) for o in a.opposites}
    theirs = {(o.pair, o.side) for o in b.opposites}
    for x in a.opposites:
        other = (x.pair, 1 - x.side)
        if other not in theirs or other in ours or (x.pair, x.side) in theirs:
            continue
        if any(
            (y.pair, y.side, y.negated) == (*other, x.negated) and x.around & y.around
            for y in b.opposites
        ):
            return True
    return any(
        (word in one.negated) == (plain in two.negated)
        for one, two in ((a, b), (b, a))
        for word in one.stems - two.stems
        if (plain := _without_prefix(word)) in two.stems and plain not in one.stems
    )


def _exchanged(a: Polarity, b: Polarity) -> bool:
    """Whether both compare the same two things, each the other way round."""
    return any(
        len(x.right & y.left) > len(x.right & y.right)
        and len(y.right & x.left) > len(x.right & y.right)
        for x in a.comparisons
        for y in b.comparisons
    )


def _without_prefix(word: str) -> str:
    """What a negating prefix negates: "unsafe", "nontoxic", "irregular", "dislike"."""
    match = _PREFIX.match(word)
    return match[1] if match else ""
