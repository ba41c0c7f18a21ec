"""Negations in a sentence and what each of them denies.

The idea of cue and scope follows NegEx (Chapman et al., J Biomed Inform 2001) and the annotation of
ConanDoyle-neg (Morante and Daelemans, LREC 2012). Cues are general English; scopes end where a
clause, a relative clause or a phrase does, by word lists alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from harness.scorers import word_lists
from harness.scorers.numbers import read_number
from harness.sentences import STOP_WORDS, stem, words

_REACH = 5  # words between "not" and the noun that carries it: "has not been found to play a part"
# Clauses that begin so state nothing; what they deny is not denied of the sentence.
CONDITIONAL = frozenset(("if", "unless", "when", "until"))
_COORDINATION = frozenset(("and", "or"))
_EXCEPT = frozenset(("except", "excepting"))  # "nothing helps except rest" does not deny rest
_RELATIVE = frozenset(("that", "who", "which"))
_BE = frozenset(("be", "been", "being", "is", "are", "was", "were"))
_CLAUSE = re.compile(r"[;:()]|\s[-–—]\s|,")
_SHORT = 3  # words: a chunk between commas this short goes on with a list
# The places of a cue, and those that it covers.
_Found = tuple[frozenset[int], frozenset[int]]


@dataclass(frozen=True)
class _Cues:
    """The lists of `words/negation.yaml`; verbs and first words of phrases as stems."""

    sentence: frozenset[str]
    noun: frozenset[str]
    verb: frozenset[str]
    phrases: frozenset[tuple[str, ...]]
    clausal: frozenset[str]
    clausal_phrases: frozenset[tuple[str, ...]]
    carriers: frozenset[str]
    carriers_of_no: frozenset[str]
    carriers_with_in: frozenset[str]
    advice: frozenset[str]
    unknown: frozenset[str]
    certain: frozenset[str]
    light: frozenset[str]
    pseudo: tuple[tuple[str, ...], ...]
    pseudo_first: frozenset[str]
    boundary: frozenset[str]
    pronouns: frozenset[str]
    auxiliaries: frozenset[str]
    prepositions: frozenset[str]


@cache
def _cues() -> _Cues:
    names = (
        "sentence noun clausal carriers carriers_with_in unknown certain boundary pronouns "
        "auxiliaries prepositions"
    )
    lists = {name: word_lists.words("negation", name) for name in names.split()}
    return _Cues(
        **lists,
        verb=frozenset(map(stem, word_lists.words("negation", "verb"))),
        advice=frozenset(map(stem, word_lists.words("negation", "advice"))),
        phrases=frozenset(
            (stem(first), second) for first, second in word_lists.phrases("negation", "phrases")
        ),
        clausal_phrases=frozenset(word_lists.phrases("negation", "clausal_phrases")),
        carriers_of_no=lists["carriers"] | word_lists.words("negation", "carriers_of_no"),
        light=frozenset(map(stem, word_lists.words("negation", "light"))),
        pseudo=word_lists.phrases("negation", "pseudo"),
        pseudo_first=frozenset(p[0] for p in word_lists.phrases("negation", "pseudo")),
    )


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
        ends = _cues().auxiliaries.intersection(chunk) or _cues().boundary.intersection(chunk[1:2])
        short = short or (chunk[0] == "and" and not ends)
        listed = joined and found and found[-1] and found[-1][0] not in CONDITIONAL
        if listed and short and chunk[0] not in _cues().boundary:
            found[-1].extend(chunk)
        else:
            found.extend(_at_boundaries(chunk))
        joined = comma
    return [clause for clause in found if clause]


def _at_boundaries(chunk: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for place, word in enumerate(chunk):
        reason = word == "as" and _cues().pronouns.intersection(chunk[place + 1 : place + 2])
        if reason or (word in _cues().boundary and chunk[max(0, place - 1) : place] != ["even"]):
            parts.append([])
        parts[-1].append(word)
    return parts


def scoped(clause: list[str]) -> tuple[list[tuple[frozenset[int], str]], frozenset[int]]:
    """The places that each negation of a clause covers with its cue, and the places of all cues.

    A cue that another one covers is cancelled with what it covers ("should not be avoided").
    """
    found: list[_Found] = []
    names: list[str] = []
    i = 0
    while i < len(clause):
        skipped = _no_cue(clause, i)
        if skipped:
            i += skipped
            continue
        cue = _cue(clause, i)
        if cue is not None:
            places, scope = cue
            outer = next((k for k, (_, covers) in enumerate(found) if i in covers), None)
            if outer is None:
                found.append((places, scope))
                names.append(clause[i])
            elif _COORDINATION.intersection(clause[i - 2 : i]):  # "no fever and no rash": both
                found[outer] = (found[outer][0], found[outer][1] - scope)
                found.append((places, scope))
                names.append(clause[i])
            elif clause[i] != "nor":
                found[outer] = (found[outer][0] | places, found[outer][1] - scope)
            if len(places) > 1 and max(places) == i + len(places) - 1:
                i = max(places)
        i += 1
    cues = frozenset().union(*(places for places, _ in found)) if found else frozenset()
    kept = [
        (scope - cues, name) for (_, scope), name in zip(found, names, strict=True) if scope - cues
    ]
    return kept, cues


def _no_cue(clause: list[str], i: int) -> int:
    """How many words from place i on look like a negation and are none."""
    cues = _cues()
    if clause[i] not in cues.pseudo_first:
        return 0
    pseudo = next((p for p in cues.pseudo if tuple(clause[i : i + len(p)]) == p), None)
    if pseudo is not None:
        return len(pseudo)
    if clause[i] in ("no", "not") and clause[i + 2 : i + 3] == ["than"]:  # "no later than"
        return 3
    return int(clause[i] == "not" and _denies_bound(clause, i))


def _denies_bound(clause: list[str], i: int) -> bool:
    """Whether "not" only turns a bound round: "should not be used for more than 48 hours"."""
    for k in range(i + 1, min(len(clause) - 2, i + 7)):
        if clause[k + 1] == "than" and clause[k] in ("more", "longer", "less", "fewer", "later"):
            return read_number(clause, k + 2) is not None
    return False


def _cue(clause: list[str], i: int) -> _Found | None:
    """The places of the cue that starts at word i, and what it covers; `None` where none does."""
    word = clause[i]
    if tuple(clause[i : i + 2]) in _cues().clausal_phrases:
        return frozenset((i, i + 1)), frozenset(range(len(clause))) - {i, i + 1}
    if word in _cues().unknown:
        return frozenset(), frozenset((i,))
    if word in _cues().clausal:
        return _clausal(clause, i)
    if word in _cues().sentence:
        return _sentential(clause, i)
    if word in ("non", "unless"):
        end = min(i + 2, len(clause)) if word == "non" else len(clause)
        return frozenset((i,)), frozenset(range(i + 1, end))
    if word in _cues().noun:
        start = i + 2 if clause[i + 1 : i + 2] == ["of"] else i + 1
        end = _next(clause, start + 1, _cues().prepositions | _cues().auxiliaries)
        return frozenset(range(i, start)), _ahead(clause, start, end)
    return _verbal(clause, i)


def _clausal(clause: list[str], i: int) -> _Found | None:
    """ "Impossible to finish" denies what follows, "finishing is impossible" the clause, and "a
    harmless effect" only qualifies."""
    n = len(clause)
    if i + 1 < n and clause[i + 1] not in _cues().prepositions | {"that"}:
        return None
    forward = clause[i + 1 : i + 2] in (["to"], ["that"], ["for"])
    return frozenset((i,)), frozenset(range(i + 1 if forward else 0, n)) - {i}


def _sentential(clause: list[str], i: int) -> _Found:
    """ "Not" and "no", which may deny the whole clause by the word that carries them."""
    n, word = len(clause), clause[i]
    carriers, reach = (_cues().carriers_of_no, 2) if word == "no" else (_cues().carriers, _REACH)
    for k in range(i + 1, min(n, i + 1 + reach)):
        if clause[k] in carriers and (
            clause[k] not in _cues().carriers_with_in or clause[k + 1 : k + 2] == ["in"]
        ):
            return frozenset((i, k)), frozenset(range(n)) - {i, k}
    # "ulcers that do not heal can be treated" denies the healing alone.
    relative = word != "no" and _RELATIVE.intersection(clause[:i])
    ends = _cues().auxiliaries if relative else _EXCEPT
    end = _next(clause, i + 2 if relative else i + 1, ends)
    return frozenset((i,)), _ahead(clause, i + 1, end)


def _verbal(clause: list[str], i: int) -> _Found | None:
    root = stem(clause[i])
    phrase = (root, *clause[i + 1 : i + 2])
    width = 2 if phrase in _cues().phrases else 1 if root in _cues().verb else 0
    if not width:
        return None
    places = frozenset(range(i, i + width))
    if width == 1 and any(before in _BE for before in clause[max(0, i - 2) : i]):
        return places, frozenset(range(i))  # "should be avoided" denies its subject
    return places, _ahead(clause, i + width, _next(clause, i + width + 1, _cues().auxiliaries))


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
    return word not in STOP_WORDS or word in _cues().certain


def root(word: str, denied: bool) -> str:
    """A word's stem; all ways to deny knowledge are one."""
    return (
        "known" if word in _cues().unknown or (denied and word in _cues().certain) else stem(word)
    )


def is_auxiliary(word: str) -> bool:
    """Whether a word is an auxiliary or modal verb."""
    return word in _cues().auxiliaries


def is_preposition(word: str) -> bool:
    """Whether a word begins a phrase in which a scope ends."""
    return word in _cues().prepositions


def is_advice(word: str) -> bool:
    """Whether a cue advises against something, and so says nothing of what it does."""
    return stem(word) in _cues().advice


def is_verb_cue(word: str) -> bool:
    """Whether a cue is a verb ("avoid"), which two texts may share and mean alike."""
    return stem(word) in _cues().verb


def denies_verb(word: str) -> bool:
    """Whether a cue denies the verb behind it, and not one noun after the other ("no", "nor")."""
    return word in ("not", "never", "cannot")


def is_light(root: str) -> bool:
    """Whether a stem says little behind "not", so that the next word is what is denied."""
    return root in _cues().light
