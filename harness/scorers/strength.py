"""How much and how surely a sentence claims: quantifiers, frequencies, hedges and focus.

A weaker text supports no stronger claim: "some recover" is no reason for "all recover", "may help"
none for "helps", and "children are affected" none for "only children are affected".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from harness.scorers import word_lists
from harness.scorers.negation import is_auxiliary, is_preposition
from harness.scorers.units import is_unit
from harness.sentences import STOP_WORDS, stem

ASSERTED = 3  # the level of a claim without a hedge
_CERTAIN = 4
_ALWAYS = 5
_NOT_ALL = 0  # the level that stands for "not all" and "not always"
_FEW = 1
_POSSIBLE = 1
_PERSON = "person"

_Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Focus:
    """ "Only X": the stems of X and of the rest of the clause; `denied` for "not only"."""

    on: frozenset[str]
    rest: frozenset[str]
    denied: bool


@dataclass(frozen=True)
class Strength:
    """One clause: its stems, frequency (`None` for none), amounts with their nouns, and focus.

    `excepted` is what an exception leaves out; `denied` whether anything is. `hedge`
    and `claimed` are the level of its weakest hedge as a text and as a claim, `hedged` the first
    stems behind each hedge.
    """

    stems: frozenset[str]
    hedge: int
    claimed: int
    hedged: frozenset[str]
    often: int | None
    amounts: tuple[tuple[int, frozenset[str]], ...]
    focus: tuple[Focus, ...]
    excepted: tuple[Focus, ...]
    denied: bool

    @cached_property
    def limited(self) -> bool:
        """Whether it says how much, how often or of what only."""
        marks = self.amounts or self.focus or self.excepted
        return bool(marks) or self.often is not None

    @cached_property
    def vague(self) -> bool:
        """Whether it is hedged or says how often, and so may claim less than a plain clause."""
        return bool(self.hedged) or self.often is not None


def strength(clause: list[str], denied: bool) -> Strength:
    """Reads one clause, given as its words in lower case; `denied` where it has a negation."""
    found = _marked(clause, "hedges", "no_hedges")
    amounts = _marked(clause, "amounts", "no_amounts") + [
        (_NOT_ALL, i, after) for i, after in _phrases(clause, "not_all")
    ]
    often = [level for level, *_ in _marked(clause, "often", "")]
    if _phrases(clause, "not_always"):
        often = [_NOT_ALL]
    inside = {i + 1 for level, i, _ in amounts if level == _NOT_ALL}
    return Strength(
        frozenset(stem(word) for word in clause if word not in STOP_WORDS),
        min((level for level, *_ in found), default=_CERTAIN),
        min((_POSSIBLE if level == ASSERTED else level for level, *_ in found), default=ASSERTED),
        frozenset(root for _, _, after in found for root in _behind(clause, after)),
        often[0] if often else None,
        tuple(
            (level, _noun(clause, after)) for level, i, after in amounts if i not in inside
        ),
        tuple(_focus(clause)),
        tuple(_excepted(clause)),
        denied,
    )  # fmt: skip


def weaker(premise: Sequence[Strength], claim: Sequence[Strength]) -> bool:
    """Whether the premise claims less, or less surely, than a claim about the same."""
    surely = min((one.claimed for one in claim), default=ASSERTED)
    for wanted in claim:
        own = _counterpart(premise, wanted)
        if own is None:
            continue
        if (
            (own.hedge < surely and own.hedged & wanted.stems)
            or _rarer(own, wanted)
            or _fewer(own, wanted)
        ):
            return True
        asked = [one for one in wanted.focus if not one.denied]
        if asked and not any(one.focus for one in premise):
            return True
    return False


def contrary(a: Sequence[Strength], b: Sequence[Strength]) -> bool:
    """Whether one says "few" or "not all" where the other says "most" or "all", and the like."""
    for x in a:
        y = _counterpart(b, x)
        if y is not None and any(
            rule(one, other)
            for rule in (_apart, _exclusive, _excluded)
            for one, other in ((x, y), (y, x))
        ):
            return True
    return False


def _counterpart(premise: Sequence[Strength], wanted: Strength) -> Strength | None:
    """The clause that shares most words with another."""
    shared = [(len(one.stems & wanted.stems), -k) for k, one in enumerate(premise)]
    most, k = max(shared, default=(0, 0))
    return premise[-k] if most else None


def _rarer(own: Strength, wanted: Strength) -> bool:
    if wanted.often is None:
        return own.often in (_NOT_ALL, _FEW) and wanted.claimed == ASSERTED and not wanted.denied
    if wanted.often == _NOT_ALL:
        return False
    if own.often is None:
        return wanted.often == _ALWAYS
    return own.often < wanted.often


def _fewer(own: Strength, wanted: Strength) -> bool:
    for level, nouns in wanted.amounts:
        levels = [one for one, others in own.amounts if nouns & others and one != _NOT_ALL]
        if levels and level != _NOT_ALL and max(levels) < level:
            return True
    return False


def _apart(x: Strength, y: Strength) -> bool:
    if (x.often, y.often) == (_NOT_ALL, _ALWAYS):
        return True
    return any(
        nouns & others and ((low == _NOT_ALL and high == _ALWAYS) or (low == _FEW and high > 2))
        for low, nouns in x.amounts
        for high, others in y.amounts
    )


def _exclusive(x: Strength, y: Strength) -> bool:
    """Whether x says that something holds of one thing only, and y says it of another.

    Or denies that it holds of this thing only, which y says.
    """
    for one in x.focus:
        if one.denied:
            if any(not other.denied and one.on & other.on for other in y.focus):
                return True
            continue
        rest = one.rest - one.on
        if one.on and rest and rest <= y.stems and not one.on & y.stems and y.stems - rest:
            return not y.focus
    return False


def _excluded(x: Strength, y: Strength) -> bool:
    """Whether y says of what x leaves out what x says of the rest."""
    return not (x.denied or y.denied or y.excepted) and any(
        one.on and one.on <= y.stems and one.rest & y.stems for one in x.excepted
    )


def _excepted(clause: list[str]) -> list[Focus]:
    return [
        Focus(*_phrase(clause, i, after), denied=False)
        for i, after in _phrases(clause, "exceptions")[:1]
        if not (i and is_unit(clause[i - 1]))  # "an hour apart from"
    ]


def _focus(clause: list[str]) -> list[Focus]:
    found = []
    denied = {i + 1 for i, _ in _phrases(clause, "not_focus")}
    for i, word in enumerate(clause):
        if i not in denied and word not in word_lists.words("strength", "focus"):
            continue
        found.append(Focus(*_phrase(clause, i, i + 1), denied=i in denied))
    return found


def _phrase(clause: list[str], i: int, start: int) -> tuple[frozenset[str], frozenset[str]]:
    """The stems of the phrase behind a mark at place i, and those of the rest of the clause."""
    while start < len(clause) and is_preposition(clause[start]):
        start += 1
    end = start
    while end < len(clause) and not (is_preposition(clause[end]) or is_auxiliary(clause[end])):
        end += 1
    on = frozenset(_stem(word) for word in clause[start:end] if _means(word))
    others = (*clause[:i], *clause[end:])
    return on, frozenset(stem(word) for word in others if word not in STOP_WORDS)


def _behind(clause: list[str], after: int) -> list[str]:
    """What a hedge is about: the first two words of content behind it."""
    return [stem(word) for word in clause[after:] if word not in STOP_WORDS][:2]


def _noun(clause: list[str], after: int) -> frozenset[str]:
    """What a quantifier is about: the next one or two words of content."""
    if clause[after - 1].endswith(("one", "body")):
        return frozenset((_PERSON,))
    meant = [word for word in clause[after:] if _means(word)][:2]
    return frozenset(map(_stem, meant[:1] if meant and _stem(meant[0]) == _PERSON else meant))


def _means(word: str) -> bool:
    return word not in STOP_WORDS or word in word_lists.words("numbers", "persons")


def _stem(word: str) -> str:
    return _PERSON if word in word_lists.words("numbers", "persons") else stem(word)


@cache
def _levels(key: str) -> dict[str, list[tuple[_Phrase, int]]]:
    """Phrases with their levels by their first word, longest first."""
    found: dict[str, list[tuple[_Phrase, int]]] = {}
    for level, listed in word_lists.load("strength")[key].items():
        for phrase in (tuple(one.split()) for one in listed):
            found.setdefault(phrase[0], []).append((phrase, int(level)))
    for own in found.values():
        own.sort(key=lambda one: -len(one[0]))
    return found


def _marked(clause: list[str], key: str, without: str) -> list[tuple[int, int, int]]:
    """Level, place and end of each phrase of a list, but where a phrase of `without` stands."""
    levels = _levels(key)
    skipped = {
        k for i, after in (_phrases(clause, without) if without else ()) for k in range(i, after)
    }
    found = []
    i = 0
    while i < len(clause):
        own = next(
            (
                (level, i, i + len(phrase))
                for phrase, level in levels.get(clause[i], ())
                if tuple(clause[i : i + len(phrase)]) == phrase
            ),
            None,
        )
        if own is None or i in skipped:
            i += 1
            continue
        found.append(own)
        i = own[2]
    return found


def _phrases(clause: list[str], key: str) -> list[tuple[int, int]]:
    """Start and end of each phrase of a list in a clause."""
    return [
        (i, i + len(phrase))
        for i in range(len(clause))
        for phrase in _starts(key).get(clause[i], ())
        if tuple(clause[i : i + len(phrase)]) == phrase
    ]


@cache
def _starts(key: str) -> dict[str, list[_Phrase]]:
    found: dict[str, list[_Phrase]] = {}
    for phrase in word_lists.phrases("strength", key):
        found.setdefault(phrase[0], []).append(phrase)
    return found
