"""Negations in a sentence and what each of them denies.

The idea of cue and scope follows NegEx (Chapman et al., J Biomed Inform 2001) and the annotation of
ConanDoyle-neg (Morante and Daelemans, LREC 2012). Cues are general English; scopes end where a
clause, a relative clause or a phrase does, by word lists alone.
"""

# Word lists are read more easily as text.
# ruff: noqa: SIM905

from __future__ import annotations

import re

from harness.sentences import STOP_WORDS, stem, words

# Cues with the place of their scope. Those of a sentence deny all that follows in the clause;
_SENTENCE = frozenset(
    "not no never cannot neither nor none nobody nothing nowhere hardly barely scarcely".split()
)
# those of a noun what follows up to the next preposition or auxiliary ("without pain in the arm");
_NOUN = frozenset("without lack lacks lacking lacked absence dearth devoid".split())
# those of a verb, here as stems, what follows up to the next auxiliary ("avoiding salt can help").
_VERB = frozenset(
    map(stem, "avoid refrain abstain unable exclude skip omit refuse".split())
)  # fmt: skip
_PHRASES = frozenset(
    (stem(first), second)
    for first, seconds in (
        ("free", "of from"), ("rather", "than"), ("instead", "of"), ("rule", "out"),
        ("stay", "away off clear"), ("keep", "away off clear from"), ("steer", "clear"),
        ("far", "from"), ("give", "up"), ("leave", "out off"), ("cut", "out"), ("do", "without"),
        ("stop", "taking using eating drinking smoking"), ("fail", "to"), ("advise", "against"),
        ("recommend", "against"),
    )
    for second in seconds.split()
)  # fmt: skip
# Those of a whole clause say that its statement does not hold.
_CLAUSAL = frozenset(
    "absent unlikely impossible false untrue unrelated unaffected unnecessary irrelevant harmless "
    "useless pointless needless worthless ineffective excluded unproven myth forbidden".split()
)
# So does a negation of a noun that only carries it: "plays no part", "has no serious effect".
_CARRIERS = frozenset(
    "part role effect effects influence impact link connection bearing difference relation "
    "relationship association consequence consequences".split()
)
_CARRIERS_OF_NO = _CARRIERS | frozenset(
    "use help benefit need point value reason evidence sign way chance place".split()
)
_CLAUSAL_PHRASES = frozenset((("not", "needed"), ("not", "necessary"), ("not", "required")))
_REACH = 5  # words between "not" and the noun that carries it: "has not been found to play a part"
# What is unknown is not denied: these words deny knowledge alone, as "not known" does.
_UNKNOWN = frozenset("unknown unclear uncertain undetermined mystery obscure".split())
_CERTAIN = frozenset("clear certain established determined".split())
# Read as no negation at all.
_PSEUDO = (
    ("not", "only"), ("not", "just"), ("not", "merely"), ("not", "simply"), ("no", "doubt"),
    ("not", "until"), ("or", "not"), ("with", "or", "without"), ("not", "to", "mention"),
    ("none", "the", "less"), ("no", "matter"), ("do", "not", "hesitate"),
    ("cannot", "be", "overstated"),
)  # fmt: skip
_BOUNDARY = frozenset(
    "but although though because while whereas which who unless until however so except yet since "
    "if when".split()
)
# "as they" and the like begin a clause, "as a cause" does not.
_PRONOUNS = frozenset("it its they their this these that there he she you we".split())
# Clauses that begin so state nothing; what they deny is not denied of the sentence.
CONDITIONAL = frozenset(("if", "unless", "when", "until"))
_AUXILIARY = frozenset(
    "can could may might will would shall should must is are was were has have had does do did "
    "helps".split()
)
_PREPOSITIONS = frozenset(
    "in on at to for from by with after before during than due as and or compared".split()
)
_COORDINATION = frozenset(("and", "or"))
_RELATIVE = frozenset(("that", "who", "which"))
_BE = frozenset("be been being is are was were".split())
_CLAUSE = re.compile(r"[;:()]|\s[-–—]\s|,")
_SHORT = 3  # words: a chunk between commas this short goes on with a list


def clauses(sentence: str) -> list[list[str]]:
    """Words of each clause; a comma ends one unless a short chunk goes on with a list."""
    found: list[list[str]] = []
    start = 0
    joined = False
    for match in [*_CLAUSE.finditer(sentence), None]:
        end = match.start() if match else len(sentence)
        chunk = words(sentence[start:end])
        start = match.end() if match else end
        comma = match is not None and match[0] == ","
        if not chunk:
            continue
        short = len(chunk) <= _SHORT or chunk[0] in ("or", "nor")
        ends = _AUXILIARY.intersection(chunk) or _BOUNDARY.intersection(chunk[1:2])
        short = short or (chunk[0] == "and" and not ends)
        listed = joined and found and found[-1] and found[-1][0] not in CONDITIONAL
        if listed and short and chunk[0] not in _BOUNDARY:
            found[-1].extend(chunk)
        else:
            found.extend(_at_boundaries(chunk))
        joined = comma
    return [clause for clause in found if clause]


def _at_boundaries(chunk: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for place, word in enumerate(chunk):
        reason = word == "as" and _PRONOUNS.intersection(chunk[place + 1 : place + 2])
        if reason or (word in _BOUNDARY and chunk[max(0, place - 1) : place] != ["even"]):
            parts.append([])
        parts[-1].append(word)
    return parts


def scoped(clause: list[str]) -> tuple[list[frozenset[int]], frozenset[int]]:
    """The places that each negation of a clause covers, and the places of the cues.

    A cue that another one covers is cancelled with what it covers ("should not be avoided").
    """
    found: list[tuple[frozenset[int], frozenset[int]]] = []
    i = 0
    while i < len(clause):
        pseudo = next((p for p in _PSEUDO if tuple(clause[i : i + len(p)]) == p), None)
        if pseudo is not None:
            i += len(pseudo)
            continue
        if clause[i] in ("no", "not") and clause[i + 2 : i + 3] == ["than"]:  # "no later than"
            i += 3
            continue
        cue = _cue(clause, i)
        if cue is not None:
            places, scope = cue
            outer = next((k for k, (_, covers) in enumerate(found) if i in covers), None)
            if outer is None:
                found.append((places, scope))
            elif _COORDINATION.intersection(clause[i - 2 : i]):  # "no fever and no rash": both
                found[outer] = (found[outer][0], found[outer][1] - scope)
                found.append((places, scope))
            elif clause[i] != "nor":
                found[outer] = (found[outer][0] | places, found[outer][1] - scope)
            if len(places) > 1 and max(places) == i + len(places) - 1:
                i = max(places)
        i += 1
    cues = frozenset().union(*(places for places, _ in found)) if found else frozenset()
    return [scope - cues for _, scope in found if scope - cues], cues


def _cue(clause: list[str], i: int) -> tuple[frozenset[int], frozenset[int]] | None:
    """The places of the cue that starts at word i, and what it covers; `None` where none does."""
    n = len(clause)
    word, pair = clause[i], tuple(clause[i : i + 2])
    everything = frozenset(range(n))
    if pair in _CLAUSAL_PHRASES:
        return frozenset((i, i + 1)), everything - {i, i + 1}
    if word in _UNKNOWN:
        return frozenset(), frozenset((i,))
    if word in _CLAUSAL:
        # "impossible to finish" denies what follows, "finishing is impossible" the clause, and "a
        # harmless effect" only qualifies.
        if i + 1 < n and clause[i + 1] not in _PREPOSITIONS | {"that"}:
            return None
        forward = clause[i + 1 : i + 2] in (["to"], ["that"], ["for"])
        return frozenset((i,)), frozenset(range(i + 1, n)) if forward else everything - {i}
    if word in _SENTENCE:
        carriers, reach = (_CARRIERS_OF_NO, 2) if word == "no" else (_CARRIERS, _REACH)
        for k in range(i + 1, min(n, i + 1 + reach)):
            if clause[k] in carriers:
                return frozenset((i, k)), everything - {i, k}
        # "ulcers that do not heal can be treated" denies the healing alone.
        relative = word != "no" and _RELATIVE.intersection(clause[:i])
        end = _next(clause, i + 2, _AUXILIARY) if relative else n
        return frozenset((i,)), _ahead(clause, i + 1, end)
    if word == "non":
        return frozenset((i,)), frozenset(range(i + 1, min(i + 2, n)))
    if word == "unless":
        return frozenset((i,)), frozenset(range(i + 1, n))
    root = stem(word)
    if word in _NOUN:
        start = i + 2 if clause[i + 1 : i + 2] == ["of"] else i + 1
        return frozenset(range(i, start)), _ahead(
            clause, start, _next(clause, start + 1, _PREPOSITIONS | _AUXILIARY)
        )
    width = 2 if (root, *pair[1:]) in _PHRASES else 1 if root in _VERB else 0
    if not width:
        return None
    places = frozenset(range(i, i + width))
    if width == 1 and any(before in _BE for before in clause[max(0, i - 2) : i]):
        return places, frozenset(range(i))  # "should be avoided" denies its subject
    return places, _ahead(clause, i + width, _next(clause, i + width + 1, _AUXILIARY))


def _next(clause: list[str], start: int, wanted: frozenset[str]) -> int:
    """The place of the next of these words, or the end of the clause."""
    return next((k for k in range(start, len(clause)) if clause[k] in wanted), len(clause))


def _ahead(clause: list[str], start: int, end: int) -> frozenset[int]:
    """What follows a cue, or where nothing of content does, what went before it."""
    after = range(start, end)
    if any(means(clause[place]) for place in after):
        return frozenset(after)
    return frozenset(range(start - 1))


def means(word: str) -> bool:
    """Whether a word carries meaning of its own."""
    return word not in STOP_WORDS or word in _CERTAIN


def root(word: str, denied: bool) -> str:
    """A word's stem; all ways to deny knowledge are one."""
    return "known" if word in _UNKNOWN or (denied and word in _CERTAIN) else stem(word)
