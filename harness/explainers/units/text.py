"""Texts in words, sentences, paragraphs or given spans.

Units tile the text: each carries the white space behind it, the first one also any in front. The
kinds nest: a paragraph begins with a sentence, a sentence with a word.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.records import HarnessError
from harness.sentences import BULLET, HEADING, LINK, MARKS, split

# Scripts written without spaces between words: Thai and Lao, Myanmar, Khmer, kana, CJK ideographs
# (Unicode 15.1, Blocks.txt).
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\ua9e0-\ua9ff\uaa60-\uaa7f"
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
_JOINERS = "\u200c\u200d\uff9e\uff9f"  # joiners, and half-width kana's voicing marks
_STACKERS = "\u200d\u17d2\u1039"  # what follows them is drawn as one with what is before
_OPENING = ("Ps", "Pi")
_CLOSING = ("Pe", "Pf")


class Word:
    """What stands between white space, with its punctuation.

    Where the space after a sentence is missing, a word begins there too. Scripts without spaces
    (CJK ideographs, kana, Thai, Lao, Khmer, Myanmar) are divided by character; combining marks and
    variation selectors stay with theirs, punctuation with what it closes or opens.
    """

    reads = "text"
    within: str | None = "sentence"

    def split(self, text: str, sample: str = "") -> tuple[tuple[int, int], ...]:  # noqa: ARG002
        """Spans [start, end) of characters, in order, that tile the text; none of an empty text."""
        return _tiles(text, {*_words(text), *_sentences(text)})


class Sentence:
    """A sentence, heading or list item, divided as the scorers divide explanations.

    What holds neither letter nor digit goes with the sentence before it in its paragraph.
    """

    reads = "text"
    within: str | None = "paragraph"

    def split(self, text: str, sample: str = "") -> tuple[tuple[int, int], ...]:  # noqa: ARG002
        """Spans [start, end) of characters, in order, that tile the text; none of an empty text."""
        return _tiles(text, _sentences(text))


class Paragraph:
    """What stands between blank lines."""

    reads = "text"
    within: str | None = None

    def split(self, text: str, sample: str = "") -> tuple[tuple[int, int], ...]:  # noqa: ARG002
        """Spans [start, end) of characters, in order, that tile the text; none of an empty text."""
        return _tiles(text, (lines[0][0] for lines in _paragraphs(text)))


class Spans:
    """Given spans of characters; what lies between them becomes units too.

    `spans` is a list of [start, end) for every sample, or a mapping from a sample's id to its list.
    White space belongs to the unit before it, so a unit may end a little behind its span. Raises
    `HarnessError` for spans that overlap, are empty or reversed, lie outside of the text or hold
    white space alone, and for a sample that a mapping does not name.
    """

    reads = "text"
    within: str | None = None

    def __init__(
        self, spans: Sequence[Sequence[int]] | Mapping[str, Sequence[Sequence[int]]]
    ) -> None:
        if isinstance(spans, Mapping):
            self._by_sample: dict[str, tuple[tuple[int, int], ...]] = {
                str(name): _checked(own, str(name)) for name, own in spans.items()
            }
            self._for_all: tuple[tuple[int, int], ...] | None = None
            self.settings: Mapping[str, Any] = {"spans": self._by_sample}
        else:
            self._by_sample, self._for_all = {}, _checked(spans, "")
            self.settings = {"spans": self._for_all}

    def split(self, text: str, sample: str = "") -> tuple[tuple[int, int], ...]:
        """Spans [start, end) of characters, in order, that tile the text; none of an empty text."""
        spans = self._by_sample.get(sample) if self._for_all is None else self._for_all
        if spans is None:
            raise HarnessError(f"unit 'spans': there are no spans for sample '{sample}'; add them")
        for start, end in spans:
            if end > len(text):
                raise _refusal(sample, start, end, f"ends behind the text's {len(text)} characters")
            if not text[start:end].strip():
                raise _refusal(sample, start, end, "holds only white space")
        edges = [0, *(edge for span in spans for edge in span)]
        return _tiles(text, (_ahead(text, edge, str.isspace) for edge in edges))


def _checked(spans: Any, sample: str) -> tuple[tuple[int, int], ...]:
    """Spans in order; raises `HarnessError` for the first one that cannot be right."""
    where = f" of sample '{sample}'" if sample else ""
    if isinstance(spans, str) or not isinstance(spans, Sequence):
        raise HarnessError(f"unit 'spans': spans{where} is a list of [start, end], not {spans!r}")
    for span in spans:
        whole = isinstance(span, Sequence) and all(type(edge) is int for edge in span)
        if not whole or len(span) != 2:
            raise HarnessError(
                f"unit 'spans': a span{where} is [start, end] in whole characters, not {span!r}"
            )
        if not 0 <= span[0] < span[1]:
            raise _refusal(sample, span[0], span[1], "is not 0 <= start < end")
    found = sorted((start, end) for start, end in spans)
    for before, (start, end) in itertools.pairwise(found):
        if start < before[1]:
            raise _refusal(sample, start, end, f"overlaps [{before[0]}, {before[1]}]")
    return tuple(found)


def _refusal(sample: str, start: int, end: int, why: str) -> HarnessError:
    where = f" of sample '{sample}'" if sample else ""
    return HarnessError(f"unit 'spans': span [{start}, {end}]{where} {why}; correct it")


def _tiles(text: str, starts: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Spans that begin at these places; the first one begins with the text."""
    found = sorted({start for start in starts if start < len(text)})[1:]
    edges = [0, *found, len(text)]
    return tuple(itertools.pairwise(edges)) if text else ()


def _ahead(text: str, place: int, skipped: Callable[[str], bool]) -> int:
    """The next place whose character is not to be skipped; the text's end where there is none."""
    while place < len(text) and skipped(text[place]):
        place += 1
    return place


def _words(text: str) -> Iterator[int]:
    """Where words begin."""
    before = " "
    unspaced = False  # whether the last letter was of a script without spaces
    opened: int | None = None  # where the brackets just before begin
    for place, char in enumerate(text):
        if char.isspace():
            unspaced, opened = False, None
        elif before.isspace():
            yield place
            unspaced = bool(_UNSPACED.match(char))
            opened = place if _opens(char) else None
        elif _clings(char) or before in _STACKERS:
            pass
        elif (without := bool(_UNSPACED.match(char))) or char.isalnum():
            if without or unspaced:
                yield place if opened is None else opened
            unspaced, opened = without, None
        elif _opens(char):
            opened = place if opened is None else opened
        else:
            opened = None
        before = char


def _clings(char: str) -> bool:
    """Whether a character is written onto the one before it."""
    return char in _JOINERS or unicodedata.category(char)[0] == "M"


def _opens(char: str) -> bool:
    return unicodedata.category(char) in _OPENING


def _belongs_before(char: str) -> bool:
    """Whether a character at a sentence's start is the last of the one before it."""
    return char.isspace() or unicodedata.category(char) in _CLOSING or _clings(char)


def _sentences(text: str) -> Iterator[int]:
    """Where sentences begin: each paragraph's start, and each later piece that says something."""
    for lines in _paragraphs(text):
        yield lines[0][0]
        inside = False
        for start, end in _blocks(text, lines):
            mark = BULLET.match(text[start:end]) or HEADING.match(text[start:end])
            shift = start + (mark.end() if mark else 0)
            prose = _without_marks(text[shift:end])
            at = 0
            for number, piece in enumerate(split(prose)):
                at = prose.index(piece, at)
                if any(char.isalnum() for char in piece):
                    if inside:
                        yield _ahead(text, shift + at, _belongs_before) if number else start
                    inside = True
                at += len(piece)


def _paragraphs(text: str) -> Iterator[list[tuple[int, int]]]:
    """The lines of each paragraph, as spans without the white space around them."""
    lines: list[tuple[int, int]] = []
    place = 0
    for line in text.splitlines(keepends=True):
        bare = line.lstrip()
        if bare:
            lines.append((place + len(line) - len(bare), place + len(line.rstrip())))
        elif lines:
            yield lines
            lines = []
        place += len(line)
    if lines:
        yield lines


def _blocks(text: str, lines: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Headings, list items and runs of prose; lines that only wrap are joined."""
    begin, heading = lines[0][0], False
    for place, (start, end) in enumerate(lines):
        line, last = text[start:end], text[lines[place - 1][1] - 1]
        wraps = not heading and not BULLET.match(line) and not HEADING.match(line)
        if place and not (wraps and (line[0].islower() or last not in ".!?:")):
            yield begin, lines[place - 1][1]
            begin = start
        heading = HEADING.match(line) is not None
    yield begin, lines[-1][1]


def _without_marks(prose: str) -> str:
    """Prose of the same length in which no markdown stands in a sentence's way."""
    linked = LINK.sub(
        lambda link: link[0][: link.end(1) - link.start()].ljust(len(link[0]), "x"), prose
    )
    return MARKS.sub(lambda mark: '"' * len(mark[0]), linked)
