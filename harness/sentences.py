"""Prose into sentences, and sentences into the words that carry meaning.

English without any model: bullets, numbered lists, markdown, abbreviations and decimals are known,
and everything is linear in the length of the text, because language models write anything.
"""

# Word lists are read more easily as text.
# ruff: noqa: SIM905

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_ABBREVIATIONS = frozenset(
    "dr mr mrs ms prof st vs e.g i.e eg ie cf fig figs approx dept est inc ltd jr sr ca al "
    "esp resp incl max min temp vol ed eds jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
_LETTERED = frozenset("vitamin vitamins hepatitis type group influenza class grade".split())
BULLET = re.compile(r"^(?:[-*•‣◦▪–—+]|\(?(?:\d{1,3}|[a-z])[.)]|\(?[A-Z]\))\s+")
HEADING = re.compile(r"^#{1,6}\s+")
LINK = re.compile(r"!?\[([^\[\]\n]{0,300})\]\([^()\s]{0,500}\)")
MARKS = re.compile(r"\*\*|__|`+|~~|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)")
_RULE = re.compile(r"^(?:[-*_=|:\s]{3,}|```.*|~~~.*)$")
_END = re.compile(
    r"[.!?…]+[\"'”’)\]]*(?=\s+[\"'“‘(\[]*[^\Wa-z_])|[。！？]+|(?<=[a-z]{3})[.!?](?=[A-Z][a-z])"
)
_LAST_WORD = re.compile(r"(\S+)$")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+(?:[.,]\d+)*")

STOP_WORDS = frozenset(
    """a about above after again all also although am an and any are as at be because been before
    being below between both but by can could did do does doing down during each especially etc few
    for from further generally get gets had has have having he her here hers him his how however i
    if in into is it its itself just like made make makes many may me might more most much must my
    no nor not of off often on once one only or other our out over own people person patient
    patients same several she should since so some someone such than that the their them then there
    therefore these they this those through to too under up upon usually very was we were what when
    where whether which while who whom whose why will with within without would you your yours
    sometimes typically commonly certain various different include includes including included
    involve involves never cannot none neither ca wo t s ve re ll d
    use used using main way ways help helps called well even""".split()
)

# Verbs and nouns that say "this brings that about", read as one word; so are a few plain synonyms
# that patient texts exchange freely. Keys are stems.
_SAME = dict.fromkeys(("lead", "trigger", "provok", "result", "induc", "due", "bring"), "caus") | {
    "physician": "doctor",
    "medication": "medicin",
    "drug": "medicin",
    "meal": "eat",
    "food": "eat",
    "belly": "abdom",
    "abdomen": "abdom",
    "abdomin": "abdom",
    "abdominal": "abdom",
    "unknown": "known",
    "unclear": "known",
    "uncertain": "known",
    "understood": "known",
}


@lru_cache(maxsize=65536)
def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text in order, without list marks and markdown.

    An item of a list whose lead-in ends in a colon is read together with it ("Causes include:
    alcohol"), because alone it says nothing. Never raises; blank text gives none.
    """
    found: list[str] = []
    lead = ""
    for block, is_item in _blocks(text):
        pieces = split(block)
        if is_item and lead and pieces:
            pieces[0] = f"{lead} {pieces[0]}"
        elif not is_item:
            lead = pieces[-1] if pieces and pieces[-1].endswith(":") else ""
            if lead:
                pieces.pop()
                if len(lead) > 200:
                    pieces, lead = [*pieces, lead], ""
        found.extend(pieces)
    if lead and not (found and found[-1].startswith(lead)):
        found.append(lead)
    return tuple(piece for piece in found if any(c.isalnum() for c in piece))


def windows(parts: Sequence[str], size: int) -> tuple[str, ...]:
    """Every run of `size` neighbouring sentences, joined; none where the text is shorter."""
    return tuple(" ".join(parts[i : i + size]) for i in range(len(parts) - size + 1))


def words(text: str) -> list[str]:
    """Lower-case words and numbers in order, with "n't" and Unicode's ligatures spelled out."""
    folded = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    return _WORD.findall(folded.replace("n't", " not"))


def content(text: str) -> list[str]:
    """Stems of the words that carry meaning, in order, repetitions kept."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS]


def content_words(text: str) -> dict[str, str]:
    """The words that carry meaning by their stems, each as it stands first."""
    found: dict[str, str] = {}
    for word in words(text):
        if word not in STOP_WORDS:
            found.setdefault(stem(word), word)
    return found


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without plural, tense and adverb endings, British and American spellings unified."""
    word = word.removesuffix("'s")
    if len(word) < 4 or not word.isalpha():
        return word
    if len(word) > 5:
        word = word.replace("oe", "e").replace("ae", "e").replace("isation", "ization")
        word = re.sub(r"our(?=s|ed|$)", "or", word)
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending) + instead
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    if len(word) > 3 and word[-1] == "e":
        word = word[:-1]
    return _SAME.get(word, word)


_ENDINGS = (
    ("fulness", "ful"), ("ousness", "ous"), ("iveness", "ive"), ("ations", "ate"),
    ("ation", "ate"), ("ities", "ity"), ("sses", "ss"), ("iest", "y"), ("ying", "y"),
    ("ments", "ment"), ("ingly", ""), ("edly", ""), ("ally", "al"), ("ies", "y"), ("ied", "y"),
    ("ings", ""), ("ing", ""), ("ions", "ion"), ("ness", ""), ("ily", "y"), ("ly", ""),
    ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("ss", "ss"), ("us", "us"), ("is", "is"),
    ("eed", "eed"), ("ed", ""), ("es", ""), ("s", ""), ("y", "y"),
)  # fmt: skip


def informative(sentence: str) -> bool:
    """Whether a sentence states something: three different words of content, and no question."""
    return not is_question(sentence) and len(set(content(sentence))) >= 3


def is_question(sentence: str) -> bool:
    """Whether a sentence asks, and so states nothing."""
    return sentence.rstrip("\"'”’)] ").endswith("?")


def asks_whether(sentence: str) -> bool:
    """Whether a question holds a whole statement ("Does it spread?"), which no answer repeats.

    "What causes it?" is another matter: it names what the sentence after it speaks of.
    """
    return is_question(sentence) and words(sentence)[:1] not in ([word] for word in _ASKING)


_ASKING = "what which who whom whose when where why how".split()


def _blocks(text: str) -> list[tuple[str, bool]]:
    """Paragraphs, headings and list items; lines that only wrap are joined."""
    found: list[tuple[str, bool]] = []
    open_block = False
    for line in text.replace("\ufeff", "").splitlines():
        line = line.strip().lstrip(">").strip()
        if not line or _RULE.match(line):
            open_block = False
            continue
        heading = HEADING.match(line)
        item = BULLET.match(line)
        if heading or item:
            line = line[(heading or item).end() :]  # type: ignore[union-attr]
        clean = MARKS.sub("", LINK.sub(r"\1", line)).replace("|", " ").strip()
        if not clean:
            continue
        wraps = open_block and not heading and not item
        if wraps and (clean[0].islower() or found[-1][0][-1] not in ".!?:"):
            found[-1] = (f"{found[-1][0]} {clean}", found[-1][1])
        else:
            found.append((clean, item is not None))
        open_block = not heading
    return found


def split(block: str) -> list[str]:
    pieces: list[str] = []
    start = 0
    for match in _END.finditer(block):
        if match[0].startswith(".") and len(match[0]) == 1 and _abbreviation(block, match.start()):
            continue
        pieces.append(block[start : match.end()].strip())
        start = match.end()
    pieces.append(block[start:].strip())
    return [piece for piece in pieces if piece]


def _abbreviation(block: str, dot: int) -> bool:
    before = block[max(0, dot - 16) : dot]
    last = _LAST_WORD.search(before)
    if last is None:
        return False
    word = last[1].lstrip("([\"'“‘").lower()
    if len(word) == 1 and word.isalpha():  # an initial: "H. Pylori", but not "vitamin A"
        named = before[: last.start()].split()[-1:]
        return word != "i" and not (named and named[0].lower() in _LETTERED)
    if word == "no":
        return block[dot + 1 :].lstrip()[:1].isdigit()
    return word in _ABBREVIATIONS
