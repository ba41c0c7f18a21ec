"""Whether two sentences about the same thing say opposite things.

A negation counts only in its scope, and only where the other sentence affirms what stands in that
scope: "can occur without symptoms" does not contradict "is caused by a bacterium". Word pairs with
opposite meaning flip a sentence; together with a negation they flip it back.

The idea of cue and scope follows NegEx (Chapman et al., J Biomed Inform 2001) and the annotation of
ConanDoyle-neg (Morante and Daelemans, LREC 2012).
"""

# Word lists are read more easily as text.
# ruff: noqa: SIM905

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.sentences import STOP_WORDS, stem, words

# Cues with the place of their scope: what follows in the clause, or the clause they close.
_FORWARD = frozenset(
    "not no never without cannot neither nor none nobody nothing nowhere lack lacks lacking "
    "lacked absence avoid avoids avoiding avoided refrain unable exclude excludes skip".split()
)
_FORWARD_PHRASES = (
    ("free", "of"), ("free", "from"), ("rather", "than"), ("instead", "of"), ("rule", "out"),
    ("rules", "out"), ("ruled", "out"), ("ruling", "out"), ("stay", "away"), ("far", "from"),
    ("keep", "away"), ("stop", "taking"), ("stop", "using"), ("fail", "to"), ("fails", "to"),
    ("failed", "to"), ("advised", "against"), ("advise", "against"),
)  # fmt: skip
_BACKWARD = frozenset(
    "absent unlikely impossible false untrue unrelated unaffected unnecessary irrelevant harmless "
    "useless ineffective excluded unknown myth forbidden".split()
)
_BACKWARD_PHRASES = (("no", "part"), ("no", "role"), ("no", "effect"), ("no", "influence"),
                     ("no", "link"), ("no", "connection"), ("no", "bearing"), ("no", "use"),
                     ("no", "help"), ("no", "benefit"), ("no", "difference"), ("not", "needed"),
                     ("not", "necessary"), ("no", "relation"), ("no", "matter"))  # fmt: skip
# Read as no negation at all.
_PSEUDO = (
    ("not", "only"), ("not", "just"), ("not", "merely"), ("not", "simply"), ("no", "doubt"),
    ("no", "more", "than"), ("no", "less", "than"), ("no", "later", "than"), ("not", "until"),
    ("or", "not"), ("if", "not"), ("not", "to", "mention"), ("none", "the", "less"),
    ("no", "matter"), ("do", "not", "hesitate"), ("cannot", "be", "overstated"),
)  # fmt: skip
_BOUNDARY = frozenset(
    "but although though because while whereas which who unless until however so except yet since "
    "if when".split()
)
_CLAUSE = re.compile(r"[;:()]|\s[-–—]\s|,")
_PREFIX = re.compile(r"(?:un|non|dis|il(?=l)|ir(?=r)|im(?=[mp])|in)([^\W\d_]{4,})\Z")
_AROUND = 3  # content words on either side of a word of an opposite pair
_SHORT = 3  # words: a chunk between commas this short goes on with a list

_OPPOSITES = tuple(
    (frozenset(map(stem, left.split())), frozenset(map(stem, right.split())))
    for left, right in (
        ("increase increases increased raise raises rise rises more higher high elevated excess "
         "excessive greater", "decrease decreases decreased reduce reduces reduced lower lowers "
         "low less fewer fall falls drop"),
        ("safe", "unsafe dangerous harmful"),
        ("before", "after"),
        ("early earlier", "late later"),
        ("common commonly often frequent frequently usual usually most always",
         "rare rarely uncommon seldom hardly barely scarcely infrequent infrequently unusual "
         "never"),
        ("fast faster quick quickly rapid rapidly speed speeds accelerate accelerates hasten",
         "slow slower slows slowly gradual gradually delay delays"),
        ("acute sudden suddenly", "chronic gradual gradually"),
        ("improve improves better relieve relieves ease eases",
         "worsen worsens worse aggravate aggravates"),
        ("help helps helpful effective", "useless ineffective"),
        ("prevent prevents protect protects", "caus cause causes lead leads trigger"),
        ("necessary needed required require requires", "unnecessary needless"),
        ("mild minor", "severe serious"),
        ("benign noncancerous", "malignant cancerous"),
        ("large larger big bigger", "small smaller"),
        ("thick thicker thicken thickened", "thin thinner thinned"),
        ("curable cured", "incurable"),
        ("contagious infectious", "noncontagious noninfectious"),
        ("permanent", "temporary temporarily"),
        ("start begin", "stop quit"),
        ("children child", "adults adult"),
        ("inherited hereditary", "acquired"),
        ("solid", "liquid"),
        ("possible", "impossible"),
        ("positive", "negative"),
        ("left", "right"),
        ("full", "empty"),
        ("strong stronger strengthen", "weak weaker weaken"),
        ("gain", "loss lose"),
        ("hot warm", "cold"),
        ("always all every everyone", "none never nobody"),
        ("much many", "little few"),
        ("men man male males boys boy", "women woman female females girls girl"),
        ("older elderly", "younger young"),
        ("same similar alike", "different differently"),
        ("inside", "outside"),
        ("known", "unknown"),
    )
)  # fmt: skip
_SIDES: dict[str, list[tuple[int, int]]] = {}
for _number, _pair in enumerate(_OPPOSITES):
    for _side, _stems in enumerate(_pair):
        for _stem in _stems:
            _SIDES.setdefault(_stem, []).append((_number, _side))


@dataclass(frozen=True)
class Opposite:
    """A word of an opposite pair: which pair and side, whether denied, and the stems around it."""

    pair: int
    side: int
    negated: bool
    around: frozenset[str]


@dataclass(frozen=True)
class Polarity:
    """What a sentence affirms and denies: stems, the scopes of its negations, its opposites."""

    stems: frozenset[str]
    scopes: tuple[frozenset[str], ...]
    negated: frozenset[str]
    opposites: tuple[Opposite, ...]


def polarity(sentence: str) -> Polarity:
    """Reads a sentence's polarity."""
    stems: set[str] = set()
    affirmed: set[str] = set()
    scopes: list[frozenset[str]] = []
    opposites: list[Opposite] = []
    for clause in _clauses(sentence):
        inside = _scoped(clause)
        covered = frozenset().union(*inside) if inside else frozenset()
        meaning = [
            (place, stem(word))
            for place, word in enumerate(clause)
            if word not in STOP_WORDS and word not in _FORWARD and word not in _BACKWARD
        ]
        stems.update(root for _, root in meaning)
        affirmed.update(root for place, root in meaning if place not in covered)
        for scope in inside:
            meant = frozenset(root for place, root in meaning if place in scope)
            if meant:
                scopes.append(meant)
        for place, word in enumerate(clause):
            for pair, side in _SIDES.get(stem(word), ()):
                before = [root for at, root in meaning if at < place][-_AROUND:]
                after = [root for at, root in meaning if at > place][:_AROUND]
                opposites.append(
                    Opposite(pair, side, place in covered, frozenset((*before, *after)))
                )
    negated = frozenset().union(*scopes) - affirmed if scopes else frozenset()
    return Polarity(frozenset(stems), tuple(scopes), negated, tuple(opposites))


def opposed(a: Polarity, b: Polarity) -> bool:
    """Whether one denies what the other affirms. Symmetric."""
    return _denies(a, b) or _denies(b, a) or _flips(a, b)


def _denies(a: Polarity, b: Polarity) -> bool:
    """Whether a negation of `a` covers what `b` affirms.

    Half of the scope must be found in `b`, most of that affirmed; a scope of which less is found
    denies something that `b` does not speak of. To deny "raises" is not to oppose "lowers".
    """
    theirs = {(o.pair, o.side) for o in b.opposites}
    for scope in a.scopes:
        sides = {side for root in scope for side in _SIDES.get(root, ())}
        if any((pair, 1 - side) in theirs and (pair, side) not in theirs for pair, side in sides):
            continue
        shared = scope & b.stems
        if 2 * len(shared) >= len(scope) and 2 * len(shared & b.negated) < len(shared):
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


def _without_prefix(word: str) -> str:
    """What a negating prefix negates: "unsafe", "nontoxic", "irregular", "dislike"."""
    match = _PREFIX.match(word)
    return match[1] if match else ""


def _clauses(sentence: str) -> list[list[str]]:
    """Words of each clause; a comma ends one unless a short chunk goes on with a list."""
    found: list[list[str]] = []
    start = 0
    joined = False
    for match in [*_CLAUSE.finditer(sentence), None]:
        end = match.start() if match else len(sentence)
        chunk = words(sentence[start:end])
        short = len(chunk) <= _SHORT or chunk[:1] in (["or"], ["nor"], ["and"])
        if joined and found and short and chunk and chunk[0] not in _BOUNDARY:
            found[-1].extend(chunk)
        else:
            found.extend(_at_boundaries(chunk))
        joined = match is not None and match[0] == ","
        start = match.end() if match else end
    return [clause for clause in found if clause]


def _at_boundaries(chunk: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for place, word in enumerate(chunk):
        if word in _BOUNDARY and chunk[max(0, place - 1) : place] != ["even"]:
            parts.append([])
        parts[-1].append(word)
    return parts


def _scoped(clause: list[str]) -> list[frozenset[int]]:
    """The places that each negation of a clause covers; two negations of one place cancel."""
    found: list[frozenset[int]] = []
    n = len(clause)
    i = 0
    while i < n:
        pseudo = next((p for p in _PSEUDO if tuple(clause[i : i + len(p)]) == p), None)
        two = tuple(clause[i : i + 2])
        if pseudo is not None and two not in _BACKWARD_PHRASES:
            i += len(pseudo)
            continue
        if two in _BACKWARD_PHRASES:
            found.append(frozenset(range(n)) - {i, i + 1})
            i += 2
            continue
        width = 2 if two in _FORWARD_PHRASES else 1 if clause[i] in _FORWARD else 0
        if width:
            after = range(i + width, n)
            covered = [p for p in after if clause[p] not in STOP_WORDS]
            found.append(frozenset(after if covered else range(i)))
        elif clause[i] in _BACKWARD:
            found.append(frozenset(range(n)) - {i})
        i += 1
    return _cancelled(found)


def _cancelled(scopes: list[frozenset[int]]) -> list[frozenset[int]]:
    if len(scopes) < 2:
        return scopes
    counts: dict[int, int] = {}
    for scope in scopes:
        for place in scope:
            counts[place] = counts.get(place, 0) + 1
    kept = [frozenset(p for p in scope if counts[p] % 2) for scope in scopes]
    return [scope for scope in kept if scope]
