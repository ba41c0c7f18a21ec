"""Whether two sentences about the same thing say opposite things.

A negation counts only in its scope, and only where the other sentence affirms what stands in that
scope: "can occur without symptoms" does not contradict "is caused by a bacterium". Word pairs with
opposite meaning flip a sentence; together with a negation they flip it back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.scorers import strength as strengths
from harness.scorers.comparisons import Comparison, bounds, compared_pairs, comparisons, same_order
from harness.scorers.negation import (
    CONDITIONAL,
    clauses,
    denies_verb,
    is_advice,
    is_light,
    is_verb_cue,
    means,
    root,
    scoped,
)
from harness.scorers.opposites import sides
from harness.scorers.roles import Role, by_start, exchanged, roles
from harness.scorers.strength import Strength, contrary, strength
from harness.sentences import stem

_PREFIX = re.compile(r"(?:un|non|dis|il(?=l)|ir(?=r)|im(?=[mp])|in)([^\W\d_]{4,})\Z")
_LETTER = re.compile(r"(?<=\w )A(?![^\W\d_]| [a-z]+ (?:of|that|who|which)\b)")  # "method A"
_PLACED = (["the"], ["a"], ["in"], ["of"], ["his"], ["her"])  # "the lower lip" is no decrease
_LONG = 4  # words of a scope from which more than half of it must be found
_AROUND = 3  # content words on either side of a word of an opposite pair


@dataclass(frozen=True)
class Opposite:
    """A word of an opposite pair: which pair and side, whether denied, the stems on both sides."""

    pair: int
    side: int
    negated: bool
    before: frozenset[str]
    after: frozenset[str]


@dataclass(frozen=True)
class Scope:
    """What one negation denies: the stems, the first of them, and its cue."""

    stems: frozenset[str]
    head: str
    cue: str


@dataclass(frozen=True)
class Polarity:
    """What a sentence affirms and denies.

    `scopes` holds what each negation denies, `conditions` what stands in clauses of condition,
    `conditional` what is denied under a condition only ("unless treated"), `negated` the stems
    that are denied and nowhere affirmed. A `simple` sentence is one clause.
    """

    stems: frozenset[str]
    affirmed: frozenset[str]
    scopes: tuple[Scope, ...]
    conditions: frozenset[str]
    conditional: frozenset[str]
    negated: frozenset[str]
    opposites: tuple[Opposite, ...]
    comparisons: tuple[Comparison, ...]
    strengths: tuple[Strength, ...]
    roles: tuple[Role, ...]
    simple: bool

    # What follows from these is kept, because one sentence is held against hundreds of others.
    @cached_property
    def sides(self) -> frozenset[tuple[int, int]]:
        """Pair and side of the words of opposite meaning."""
        return frozenset((o.pair, o.side) for o in self.opposites)

    @cached_property
    def denied(self) -> frozenset[str]:
        """The stems in the scope of any negation, affirmed elsewhere or not."""
        return self.conditional.union(*(scope.stems for scope in self.scopes))

    @cached_property
    def prefixed(self) -> Mapping[str, str]:
        """Of each stem with a negating prefix ("unsafe") what it negates."""
        return {word: plain for word in self.stems if (plain := _without_prefix(word))}

    @cached_property
    def limited(self) -> bool:
        """Whether any clause says how much, how often or of what only."""
        return any(one.limited for one in self.strengths)

    @cached_property
    def vague(self) -> bool:
        """Whether any clause is hedged or says how often."""
        return any(one.vague for one in self.strengths)

    @cached_property
    def roles_by_start(self) -> Mapping[str, Sequence[Role]]:
        """The roles, ordered for `exchanged`."""
        return by_start(self.roles)


def polarity(sentence: str) -> Polarity:
    """Reads a sentence's polarity."""
    stems: set[str] = set()
    affirmed: set[str] = set()
    conditions: set[str] = set()
    conditional: set[str] = set()
    scopes: list[Scope] = []
    opposites: list[Opposite] = []
    compared: list[Comparison] = []
    acting: list[Role] = []
    claimed: list[Strength] = []
    before: frozenset[str] = frozenset()  # "may help but should not be used" has its subject there
    parts = clauses(_LETTER.sub("lettera", sentence))
    for clause in parts:
        inside, cues = scoped(clause)
        covered = frozenset().union(*(scope for scope, _ in inside)) if inside else frozenset()
        meaning = [
            (place, root(word, place in covered))
            for place, word in enumerate(clause)
            if means(word) and place not in cues
        ]
        own = frozenset(word for _, word in meaning)
        stems |= own
        affirmed.update(word for place, word in meaning if place not in covered)
        if clause[0] in CONDITIONAL:
            conditions |= own
        for scope, cue in inside:
            meant = [word for place, word in meaning if place in scope]
            if not meant or clause[0] in CONDITIONAL:
                conditional |= frozenset(meant) or before
            else:
                head = next((word for word in meant if not is_light(word)), meant[0])
                scopes.append(Scope(frozenset(meant), head, cue))
        before = own
        opposites += _opposites(clause, meaning, covered, cues)
        compared += comparisons(clause, meaning)
        acting += roles(clause, meaning)
        claimed.append(strength(clause, bool(cues)))
    negated = conditional.union(*(scope.stems for scope in scopes)) - affirmed
    return Polarity(
        frozenset(stems), frozenset(affirmed), tuple(scopes), frozenset(conditions),
        frozenset(conditional), frozenset(negated), tuple(opposites), tuple(compared),
        tuple(claimed), tuple(acting), len(parts) == 1,
    )  # fmt: skip


def _opposites(
    clause: list[str],
    meaning: list[tuple[int, str]],
    covered: frozenset[int],
    cues: frozenset[int],
) -> list[Opposite]:
    found = []
    for place, word in enumerate(clause):
        if place in cues or bounds(clause, place):
            continue
        for pair, side in sides().get(stem(word), ()):
            if word == "lower" and pair == 0 and clause[place - 1 : place] in _PLACED:
                continue
            before = frozenset([own for at, own in meaning if at < place][-_AROUND:])
            after = frozenset([own for at, own in meaning if at > place][:_AROUND])
            negated = (place in covered) != _reduced(clause, place)
            found.append(Opposite(pair, side, negated, before, after))
    return found


def _reduced(clause: list[str], place: int) -> bool:
    """Whether less of a word's meaning is said: "decrease the thickness" is to thin."""
    return any(
        (0, 1) in sides().get(stem(word), ()) and word not in ("lower", "low", "less", "fewer")
        for word in clause[max(0, place - 2) : place]
    )


def opposed(a: Polarity, b: Polarity) -> bool:
    """Whether one denies what the other affirms. Symmetric.

    A negation and a word of opposite meaning undo each other: to say that avoiding salt helps is
    not to oppose that salt harms.
    """
    denies = bool(a.scopes and _denies(a, b)) or bool(b.scopes and _denies(b, a))
    ordered = same_order(a.comparisons, b.comparisons)
    if ordered is None:
        flips = _flips(a, b)
    else:
        skipped = compared_pairs((*a.comparisons, *b.comparisons))
        flips = _flips(a, b, skipped) != (not ordered)
    if denies != flips:
        return True
    return (a.limited or b.limited) and contrary(a.strengths, b.strengths)


def weaker(premise: Sequence[Polarity], claim: Polarity) -> bool:
    """Whether sentences claim less, or less surely, than a claim, or the same of someone else."""
    if claim.limited or any(part.vague for part in premise):
        said = [one for part in premise for one in part.strengths]
        if strengths.weaker(said, claim.strengths):
            return True
    if not any(exchanged(part.roles_by_start, claim.roles_by_start) for part in premise):
        return False
    return not same_order([one for part in premise for one in part.comparisons], claim.comparisons)


def _denies(a: Polarity, b: Polarity) -> bool:
    """Whether a negation of `a` covers what `b` affirms.

    Half of the scope must be found in `b`, most of that affirmed; a scope of which less is found
    denies something that `b` does not speak of. To deny "raises" is not to oppose "lowers".
    """
    if a.conditions and not a.conditions & b.stems:
        return False  # "not if the eardrum has ruptured" denies nothing of other cases
    if any(o.negated and (o.pair, 1 - o.side) in b.sides for o in a.opposites):
        return False
    return any(_denied(scope, a, b) for scope in a.scopes)


def _denied(scope: Scope, a: Polarity, b: Polarity) -> bool:
    meant = {side for root in scope.stems for side in sides().get(root, ())}
    if any((pair, 1 - side) in b.sides and (pair, side) not in b.sides for pair, side in meant):
        return False
    if _means_alike(scope, b):
        return False
    only = scope.stems - a.affirmed
    shared = only & b.stems
    if not shared or shared & b.denied:
        return False
    # What is denied is the word behind "not"; another text must speak of that.
    if denies_verb(scope.cue) and scope.head not in b.stems:
        return False
    # A sentence of one clause says nothing but its negation.
    most = 2 * len(shared) >= len(only) + (len(only) >= _LONG)
    return most or (a.simple and not b.denied)


def _means_alike(scope: Scope, b: Polarity) -> bool:
    """Whether the other text has the same verb of denial, or says why advice against it is given.

    To advise against something is not to oppose that it causes harm.
    """
    if is_verb_cue(scope.cue) and any(stem(scope.cue) == stem(other.cue) for other in b.scopes):
        return True
    return is_advice(scope.cue) and "caus" in b.affirmed and "caus" not in scope.stems


def _flips(a: Polarity, b: Polarity, without: frozenset[int] = frozenset()) -> bool:
    """Whether opposite words stand about the same thing, neither or both of them negated.

    A sentence that uses both words of a pair ("from mild to severe") says nothing by either.
    Pairs of `without` are left out.
    """
    for x in a.opposites:
        if x.pair in without:
            continue
        other = (x.pair, 1 - x.side)
        if other not in b.sides or other in a.sides or (x.pair, x.side) in b.sides:
            continue
        if any(
            (y.pair, y.side, y.negated) == (*other, x.negated) and _about_one_thing(x, y)
            for y in b.opposites
        ):
            return True
    return any(
        (word in one.negated) == (plain in two.negated)
        for one, two in ((a, b), (b, a))
        for word, plain in one.prefixed.items()
        if word not in two.stems and plain in two.stems and plain not in one.stems
    )


def _about_one_thing(x: Opposite, y: Opposite) -> bool:
    """Whether what follows two opposite words is shared, or else what goes before them."""
    if x.after and y.after:
        return bool(x.after & y.after)
    return bool((x.before | x.after) & (y.before | y.after))


def _without_prefix(word: str) -> str:
    """What a negating prefix negates: "unsafe", "nontoxic", "irregular", "dislike"."""
    match = _PREFIX.match(word)
    return match[1] if match else ""
