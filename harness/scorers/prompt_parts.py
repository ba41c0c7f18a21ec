"""The parts of a prompt that tell different things, and the prompt without some of them.

A part is what template variables of one kind printed, wherever it stands; the template's own words
between them are the instructions. Removing a part removes its characters (and its pictures) and
nothing else: the white space around them stays, so that words on either side do not become one, and
a message that loses all its text stays, empty, because the chat template's own words around it are
no part of the prompt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.records import Message, Part, Span

# In the order in which a span of several variables is decided: `probabilities[label]` prints a
# probability and no label.
_OF_VARIABLES = {
    "evidence": ("evidence_summary", "gold_evidence"),
    "input": ("input",),
    "probabilities": ("probability", "probabilities"),
    "label": ("label",),
    "question": ("aspect", "question", "language", "id"),
}
PARTS = {
    "label": "the label that is told",
    "probabilities": "the probabilities that are told",
    "evidence": "the evidence summary (or gold evidence)",
    "input": "the sample itself, text and pictures",
    "question": "aspect, question, language and id",
    "instructions": "the template's own words",
    "earlier_answers": "what the model said in earlier turns",
}
"""The parts by name, and what each holds."""


@dataclass(frozen=True)
class _Piece:
    """Characters of a message's content part, or its medium, and the part of the prompt it is in.

    White space is in none, because it tells nothing.
    """

    message: int
    place: int
    content: Part
    owner: str | None


@dataclass(frozen=True)
class PromptParts:
    """A prompt, cut where its parts meet."""

    messages: tuple[Message, ...]
    pieces: tuple[_Piece, ...]

    @classmethod
    def of(cls, messages: Sequence[Message], spans: Sequence[Span]) -> PromptParts:
        """Cuts a prompt at its spans; where these lie in one another the inner one counts."""
        pieces = [
            piece
            for number, message in enumerate(messages)
            for place in range(len(message.parts))
            for piece in _pieces(
                messages,
                number,
                place,
                [s for s in spans if (s.message, s.part) == (number, place)],
            )
        ]
        return cls(tuple(messages), tuple(pieces))

    @property
    def names(self) -> tuple[str, ...]:
        """The parts that the prompt has, in the order of `PARTS`."""
        found = {piece.owner for piece in self.pieces}
        return tuple(name for name in PARTS if name in found)

    def without(self, removed: Collection[str]) -> tuple[Message, ...]:
        """The messages less the characters and media of the parts removed."""
        texts: dict[tuple[int, int], str] = {}
        media: set[tuple[int, int]] = set()
        for piece in self.pieces:
            if piece.owner in removed:
                continue
            where = (piece.message, piece.place)
            if piece.content.media is not None:
                media.add(where)
            texts[where] = texts.get(where, "") + piece.content.text
        return tuple(
            replace(
                message,
                parts=tuple(
                    part if part.media is not None else Part(texts.get((number, place), ""))
                    for place, part in enumerate(message.parts)
                    if part.media is None or (number, place) in media
                ),
            )
            for number, message in enumerate(self.messages)
        )


def _pieces(
    messages: Sequence[Message], number: int, place: int, spans: Sequence[Span]
) -> Iterator[_Piece]:
    """The pieces of one content part."""
    part = messages[number].parts[place]
    if part.media is not None:
        yield _Piece(number, place, part, _owner(spans[0]) if spans else "input")
        return
    rest = "earlier_answers" if messages[number].role == "assistant" else "instructions"
    cuts = sorted({0, len(part.text), *(s.start for s in spans), *(s.end for s in spans)})
    for start, end in pairwise(cuts):
        around = [span for span in spans if span.start <= start and end <= span.end]
        inner = min(around, key=lambda span: span.end - span.start, default=None)
        owner = rest if inner is None else _owner(inner)
        before, words, after = _white_space_apart(part.text[start:end])
        yield _Piece(number, place, Part(before), None)
        yield _Piece(number, place, Part(words), owner if words else None)
        yield _Piece(number, place, Part(after), None)


def _white_space_apart(text: str) -> tuple[str, str, str]:
    words = text.strip()
    start = text.index(words)
    return text[:start], words, text[start + len(words) :]


def _owner(span: Span) -> str:
    names = span.variable.split()
    for part, variables in _OF_VARIABLES.items():
        if any(name in variables for name in names):
            return part
    return "instructions"
