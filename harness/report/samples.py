"""Which samples and explanations the report shows, and how much of each.

The whole file stays small enough to open and to send: samples, explanations, texts and pictures
are bounded, and everything left off is counted and stated on the page.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.records import Part
from harness.report import attributions, media
from harness.report.text import cut
from harness.results import ClaimVerdict, Explanation, SampleView
from harness.views.picture import Picture

SAMPLES = 100
EXPLANATIONS = 24  # a sample
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


def cards(
    views: Sequence[SampleView], blobs: Path | None = None, controls: Container[str] = ()
) -> tuple[Card, ...]:
    """The first samples within all bounds; the first is shown even where it fills the budget.

    The models in `controls` come after the others.
    """
    made: list[Card] = []
    spent = 0
    for view in views[:SAMPLES]:
        card = _card(view, blobs, controls)
        spent += _size(card)
        if made and spent > BUDGET:
            break
        made.append(card)
    return tuple(made)


def _card(view: SampleView, blobs: Path | None, controls: Container[str]) -> Card:
    ordered = sorted(view.explanations, key=lambda e: e.cell.model in controls)
    chosen = spread(ordered, EXPLANATIONS)
    prediction = view.prediction
    ranked = sorted(
        (prediction.probabilities if prediction else {}).items(), key=lambda item: -item[1]
    )
    pictures = attributions.drawn(view.attributions, view.sample, blobs)
    output = None
    if prediction is not None and prediction.output is not None:
        output = _text(str(prediction.output), INPUT_CHARACTERS)
    return Card(
        view,
        tuple(_piece(part, blobs, INPUT_CHARACTERS) for part in view.sample.input),
        tuple(ranked[:PROBABILITIES]),
        max(0, len(ranked) - PROBABILITIES),
        output,
        tuple(_shown(explanation) for explanation in chosen),
        len(view.explanations) - len(chosen),
        pictures,
        view.attributions_left + len(view.attributions) - len(pictures),
    )


def spread(explanations: Sequence[Explanation], limit: int) -> list[Explanation]:
    """At most `limit` explanations, taking models in turn so that each is seen; order is kept."""
    if len(explanations) <= limit:
        return list(explanations)
    turns: dict[str, int] = {}
    place = []
    for index, explanation in enumerate(explanations):
        turn = turns.get(explanation.cell.model, 0)
        turns[explanation.cell.model] = turn + 1
        place.append((turn, index))
    return [explanations[index] for index in sorted(index for _, index in sorted(place)[:limit])]


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
    pieces = [*card.input]
    claims = 0
    for shown in card.explanations:
        pieces += [shown.text, *(piece for _, parts in shown.messages for piece in parts)]
        pieces += [shown.reasoning] if shown.reasoning else []
        claims += sum(len(claim.text) + len(claim.sentence) + 200 for claim in shown.claims)
    pictures = sum(len(piece.picture.uri) for piece in pieces if piece.picture)
    pictures += sum(len(drawn.picture or "") for drawn in card.attributions)
    return claims + pictures + sum(len(piece.text) for piece in pieces)
