"""Whether two sentences about the same thing say opposite things.

A negation counts only in its scope, and only where the other sentence affirms what stands in that
scope: "can occur without symptoms" does not contradict "is caused by a bacterium". Word pairs with
opposite meaning flip a sentence; together with a negation they flip it back.

The idea of cue and scope follows NegEx (Chapman et al., J Biomed Inform 2001) and the annotation of
ConanDoyle-neg (Morante and Daelemans, LREC 2012).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.scorers.sentences import STOP_WORDS, stem, words

# Cues with the place of their scope: what follows in the clause, or the clause they close.
_FORWARD = frozenset(
    "not no never without cannot neither nor none nobody nothing nowhere lack lacks lacking "
    "lacked absence avoid avoids avoiding avoided refrain unable fails fail failed "
    "exclude excludes hardly skip quit".split()
)
_FORWARD_PHRASES = (
    ("free", "of"), ("free", "from"), ("rather", "than"), ("instead", "of"), ("rule", "out"),
    ("rules", "out"), ("ruled", "out"), ("ruling", "out"), ("stay", "away"), ("far", "from"),
    ("keep", "away"), ("nothing", "to"), ("stop", "taking"), ("stop", "using"),
)  # fmt: skip
_BACKWARD = frozenset(
    "absent unlikely impossible false untrue unrelated unaffected unnecessary irrelevant harmless "
    "useless ineffective excluded unknown".split()
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
_SHORT = 3  # words: a chunk between commas this short goes on with a list

_OPPOSITES = tuple(
    (frozenset(map(stem, left.split())), frozenset(map(stem, right.split())))
    for left, right in (
        ("increase increases increased raise raises rise rises more higher high elevated excess "
         "excessive greater", "decrease decreases decreased reduce reduces reduced lower lowers "
         "low less fewer fall falls drop little"),
        ("safe harmless", "unsafe dangerous harmful"),
        ("before", "after"),
        ("early earlier", "late later"),
        ("common commonly often frequent frequently usual usually most always",
         "rare rarely uncommon seldom infrequent infrequently unusual never"),
        ("fast faster quick quickly rapid rapidly too_fast", "slow slower slowly gradual gradually"),
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
        ("always all every", "none never"),
        ("known", "unknown"),
    )
)  # fmt: skip
_SIDES: dict[str, list[tuple[int, int]]] = {}
for _number, _pair in enumerate(_OPPOSITES):
    for _side, _stems in enumerate(_pair):
        for _stem in _stems:
            _SIDES.setdefault(_stem, []).append((_number, _side))


@dataclass(frozen=True)
class Polarity:
    """What a sentence affirms and denies: stems, the scopes of its negations, its opposites.

    `sides` holds (pair, side, whether negated) of the words of opposite pairs that occur.
    """

    stems: frozenset[str]
    scopes: tuple[frozenset[str], ...]
    negated: frozenset[str]
    sides: frozenset[tuple[int, int, bool]]


def polarity(sentence: str) -> Polarity:
    """Reads a sentence's polarity."""
    stems: set[str] = set()
    affirmed: set[str] = set()
    scopes: list[frozenset[str]] = []
    sides: set[tuple[int, int, bool]] = set()
    for clause in _clauses(sentence):
        inside = _scoped(clause)
        for place, word in enumerate(clause):
            root = stem(word)
            for number, side in _SIDES.get(root, ()):
                sides.add((number, side, any(place in scope for scope in inside)))
            if word in STOP_WORDS or word in _FORWARD or word in _BACKWARD:
                continue
            stems.add(root)
            if not any(place in scope for scope in inside):
                affirmed.add(root)
        for scope in inside:
            meant = frozenset(
                stem(clause[place])
                for place in scope
                if clause[place] not in STOP_WORDS and clause[place] not in _FORWARD
            )
            if meant:
                scopes.append(meant)
    negated = frozenset().union(*scopes) - affirmed if scopes else frozenset()
    return Polarity(frozenset(stems), tuple(scopes), negated, frozenset(sides))


def opposed(a: Polarity, b: Polarity) -> bool:
    """Whether one denies what the other affirms. Symmetric."""
    denied = _denies(a, b) or _denies(b, a)
    flipped = _flips(a, b)
    return denied or flipped


def _denies(a: Polarity, b: Polarity) -> bool:
    """Whether a negation of `a` covers what `b` affirms.

    Half of the scope must be found in `b`, most of that affirmed; a scope of which less is found
    denies something that `b` does not speak of.
    """
    for scope in a.scopes:
        shared = scope & b.stems
        if 2 * len(shared) >= len(scope) and 2 * len(shared & b.negated) < len(shared):
            return True
    return False


def _flips(a: Polarity, b: Polarity) -> bool:
    """Whether a pair of opposites stands against each other, neither or both negated."""
    for number, side, negated in a.sides:
        other = 1 - side
        if any(n == number and s == side for n, s, _ in b.sides):
            continue
        if any(n == number and s == other for n, s, _ in a.sides):
            continue
        if (number, other, negated) in b.sides:
            return True
    return False


def _clauses(sentence: str) -> list[list[str]]:
    """Words of each clause; a comma ends one unless a short chunk goes on with a list."""
    found: list[list[str]] = []
    start = 0
    joined = False
    for match in [*_CLAUSE.finditer(sentence), None]:
        end = match.start() if match else len(sentence)
        chunk = words(sentence[start:end].replace("n't", " not").replace("n’t", " not"))
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
