"""How much of each sample and explanation the report shows.

Which ones are shown, and in which order, was chosen in `harness.analysis.views`. Here the file is
kept small enough to open and to send: texts and pictures are bounded, what no longer fits at the
end is left off, and everything left off is counted and stated on the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.records import Part
from harness.report import attributions, media
from harness.report.text import cut
from harness.results import ClaimVerdict, ComparedAnswers, Explanation, SampleView
from harness.views.picture import Picture

CLAIMS = 40  # an explanation
PROBABILITIES = 8
INPUT_CHARACTERS = 4_000
TEXT_CHARACTERS = 6_000
PROMPT_CHARACTERS = 3_000
BUDGET = 6_000_000  # characters of all samples together, pictures included


@dataclass(frozen=True)
class Piece:
    """A text as shown, or a picture; `left` counts the characters that were cut."""

    text: str = ""
    left: int = 0
    picture: Picture | None = None


@dataclass(frozen=True)
class Shown:
    """One explanation as shown."""

    explanation: Explanation
    text: Piece
    reasoning: Piece | None
    messages: tuple[tuple[str, tuple[Piece, ...]], ...]
    claims: tuple[ClaimVerdict, ...]
    claims_left: int


@dataclass(frozen=True)
class Card:
    """One sample as shown."""

    view: SampleView
    input: tuple[Piece, ...]
    probabilities: tuple[tuple[str, float], ...]
    probabilities_left: int
    output: Piece | None
    explanations: tuple[Shown, ...]
    explanations_left: int
    attributions: tuple[attributions.Drawn, ...] = ()
    attributions_left: int = 0
    compared: tuple[ComparedAnswers, ...] = ()
    compared_left: int = 0


def cards(views: Sequence[SampleView], blobs: Path | None = None) -> tuple[Card, ...]:
    """The samples, each with as many of its explanations as fit into its share of the page.

    Where not even one of each fits, the last samples are left off; the first is always shown.
    """
    made: list[Card] = []
    left = BUDGET
    for place, view in enumerate(views):
        card = _card(view, blobs, left // (len(views) - place))
        size = _size(card)
        if made and size > left:
            break
        made.append(card)
        left -= size
    return tuple(made)


def _card(view: SampleView, blobs: Path | None, room: int) -> Card:
    """The sample with its first explanations, as many as fit into `room` characters beside it, and
    at least one."""
    prediction = view.prediction
    ranked = sorted(
        (prediction.probabilities if prediction else {}).items(), key=lambda item: -item[1]
    )
    pictures = attributions.drawn(view.attributions, view.sample, blobs)
    output = None
    if prediction is not None and prediction.output is not None:
        output = _text(str(prediction.output), INPUT_CHARACTERS)
    card = Card(
        view,
        tuple(_piece(part, blobs, INPUT_CHARACTERS) for part in view.sample.input),
        tuple(ranked[:PROBABILITIES]),
        max(0, len(ranked) - PROBABILITIES),
        output,
        (),
        0,
        pictures,
        view.attributions_left + len(view.attributions) - len(pictures),
    )
    room -= _size(card)
    shown: list[Shown] = []
    for explanation in view.explanations:
        one = _shown(explanation)
        room -= _size_of(one)
        if room < 0 and shown:
            break
        shown.append(one)
    left = view.explanations_left + len(view.explanations) - len(shown)
    pairs: list[ComparedAnswers] = []
    for pair in view.compared:
        room -= _size_of_pair(pair)
        if room < 0:
            break
        pairs.append(pair)
    return replace(
        card,
        explanations=tuple(shown),
        explanations_left=left,
        compared=tuple(pairs),
        compared_left=view.compared_left + len(view.compared) - len(pairs),
    )


def _shown(explanation: Explanation) -> Shown:
    generation = explanation.generation
    reasoning = generation.reasoning if generation else None
    return Shown(
        explanation,
        _text(generation.text if generation else "", TEXT_CHARACTERS),
        _text(reasoning, PROMPT_CHARACTERS) if reasoning else None,
        tuple(
            (message.role, tuple(_mention(part) for part in message.parts))
            for message in explanation.messages
        ),
        explanation.claims[:CLAIMS],
        max(0, len(explanation.claims) - CLAIMS),
    )


def _piece(part: Part, blobs: Path | None, limit: int) -> Piece:
    if part.media is not None:
        return Piece(picture=media.picture(part.media, blobs))
    return _text(part.text, limit)


def _mention(part: Part) -> Piece:
    """A prompt's part; a picture is named, as the sample already shows it."""
    if part.media is not None:
        return _text(f"[{part.media.mime}, SHA-256 {part.media.sha256[:12]}]", PROMPT_CHARACTERS)
    return _text(part.text, PROMPT_CHARACTERS)


def _text(text: str, limit: int) -> Piece:
    return Piece(*cut(text, limit))


def _size(card: Card) -> int:
    """Characters of a card's own content; markup around it is left out of account."""
    pictures = sum(len(piece.picture.uri) for piece in card.input if piece.picture)
    pictures += sum(len(drawn.picture or "") for drawn in card.attributions)
    texts = sum(len(piece.text) for piece in card.input)
    pairs = sum(map(_size_of_pair, card.compared))
    return pictures + texts + pairs + sum(map(_size_of, card.explanations))


def _size_of_pair(pair: ComparedAnswers) -> int:
    return sum(len(s.text) + len(s.other) + 150 for s in (*pair.first, *pair.second))


def _size_of(shown: Shown) -> int:
    pieces = [shown.text, *(piece for _, parts in shown.messages for piece in parts)]
    pieces += [shown.reasoning] if shown.reasoning else []
    claims = sum(len(claim.text) + len(claim.sentence) + 200 for claim in shown.claims)
    return claims + sum(len(piece.text) for piece in pieces)
