"""Concepts as pictures: each with the places where it is strongest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.drawing.figure import Figure
from harness.explainers.concepts.activations import Activations
from harness.explainers.concepts.meaning import Example, top_samples
from harness.explainers.concepts.spaces.space import Fitted
from harness.explainers.pictures.gallery import Concept, Crop, Excerpt, gallery
from harness.records import ConceptExample, ConceptSpace, HarnessError, Sample


def concept_gallery(
    space: Fitted,
    activations: Activations,
    samples: Sequence[Sample],
    *,
    concepts: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    scores: Mapping[str, tuple[str, float]] | None = None,
    count: int = 5,
) -> Figure:
    """A card for each concept of a space: its name or label, a score with its name (`("AUC", .9)`),
    and the `count` samples in which it is strongest, with the unit marked.

    `samples` are those that the activations were collected of, `concepts` the names of those to be
    drawn, in their order; all unless given. Raises `HarnessError` for a name that there is not, and
    for a sample that is not given.
    """
    wanted = list(concepts) or list(space.names)
    if strange := [name for name in wanted if name not in space.names]:
        raise HarnessError(
            f"there is no concept '{strange[0]}'; there are {', '.join(space.names[:20])}"
        )
    by_id = {sample.id: sample for sample in samples}
    tops = dict(zip(space.names, top_samples(space, activations, count), strict=True))
    shapes = shapes_of(activations)
    cards = []
    for name in wanted:
        shown = [_shown(one, by_id, shapes) for one in tops[name]]
        label, score = (labels or {}).get(name, name), (scores or {}).get(name)
        cards.append(Concept(label, [one for one in shown if one is not None], score))
    return gallery(cards, f"Concepts of {activations.layer}", most=count)


def gallery_of(space: ConceptSpace, samples: Sequence[Sample], width: float = 640.0) -> Figure:
    """The gallery of a space as it stands in a run, the concepts of the strongest effects first;
    places of samples that are not given are left out."""
    by_id = {sample.id: sample for sample in samples}
    cards = []
    both = list(zip(space.concepts, space.examples, strict=True))
    for name, examples in sorted(both, key=lambda one: -abs(space.effects.get(one[0], 0.0))):
        shown = [
            _shown(one, by_id, {one.sample: one.shape} if one.shape else {})
            for one in examples
            if one.sample in by_id
        ]
        effect = space.effects.get(name)
        score = None if effect is None else (f"effect on {space.target}", effect)
        cards.append(Concept(name, [one for one in shown if one is not None], score))
    return gallery(cards, f"{space.kind} of {space.layer}", width)


def _shown(
    example: Example | ConceptExample,
    samples: Mapping[str, Sample],
    shapes: Mapping[str, tuple[int, int]],
) -> Excerpt | Crop | None:
    """The place in its input; `None` for a unit of what is neither text nor picture."""
    sample, unit = samples.get(example.sample), example.unit
    if sample is None:
        raise HarnessError(f"sample '{example.sample}' of the activations is not among the samples")
    if unit.part >= len(sample.input):  # a token of an answer
        return Excerpt(unit.text, 0, len(unit.text), example.strength)
    part = sample.input[unit.part]
    if part.media is None:
        start, end = unit.start or 0, len(part.text) if unit.end is None else unit.end
        return Excerpt(part.text, start, end, example.strength)
    if unit.box is None:
        return None
    return Crop(part.media, unit.box, shapes.get(example.sample), example.strength)


def shapes_of(activations: Activations) -> dict[str, tuple[int, int]]:
    """Height and width of each sample's array: its patches together."""
    found: dict[str, tuple[int, int]] = {}
    for sample, unit in activations.units():
        if unit.box is not None:
            top, left, height, width = unit.box
            rows, columns = found.get(sample, (0, 0))
            found[sample] = max(rows, top + height), max(columns, left + width)
    return found
