"""Pictures of a sample's attributions for the report, small enough for a telephone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from markupsafe import Markup

from harness.drawing.figure import Figure
from harness.drawing.words import short
from harness.explainers.concepts.figures import gallery_of
from harness.explainers.metrics.evaluation import Evaluation
from harness.explainers.metrics.figures import mean_curves, methods_by_metrics
from harness.explainers.pictures.draw import draw
from harness.records import Attribution, Part, Sample
from harness.results import ConceptSummary

WIDTH = 330.0  # pixels: what a telephone's page leaves
LONGEST = 400_000  # characters of one picture: a text of thousands of words is no picture
MOST = 6  # a sample
FAMILIES = ("faithfulness", "robustness", "localisation", "randomisation", "axiom")


@dataclass(frozen=True)
class Drawn:
    """One attribution as shown: `note` says why there is no picture."""

    title: str
    picture: Markup | None = None
    note: str = ""


def drawn(
    attributions: Sequence[Attribution], sample: Sample, blobs: Path | None = None
) -> tuple[Drawn, ...]:
    """The pictures of the first attributions of a sample.

    `blobs` is the run's folder of media by SHA-256, for images whose bytes no record holds.
    """
    stored = _stored(sample, blobs)
    return tuple(_drawn(attribution, stored) for attribution in attributions[:MOST])


def worth(evaluation: Evaluation | None) -> tuple[Drawn, ...]:
    """What methods of attribution are worth: by metrics, and their curves."""
    if evaluation is None:
        return ()
    kinds = {metric.family for metric in evaluation.metrics.values()}
    families = [one for one in FAMILIES if one in kinds]
    found = [
        _figure(f"Methods by metrics: {name}", partial(methods_by_metrics, evaluation, [name]))
        for name in families
    ]
    if {"deletion", "insertion"} & set(evaluation.metrics):
        found.append(_figure("Deletion and insertion", partial(mean_curves, evaluation, WIDTH)))
    return tuple(found)


def galleries(concepts: Sequence[ConceptSummary], blobs: Path | None = None) -> tuple[Drawn, ...]:
    """The concepts of each space, each where it is strongest."""
    found = []
    for one in concepts:
        samples = [_stored(sample, blobs) for sample in one.samples]
        title = f"{one.space.kind} of {one.space.layer}"
        found.append(_figure(title, partial(gallery_of, one.space, samples, WIDTH)))
    return tuple(found)


def _figure(title: str, make: Callable[[], Figure]) -> Drawn:
    try:
        return Drawn(title, make().page)
    except Exception as error:  # as for attributions: the report goes on without it
        return Drawn(title, note=f"It cannot be drawn: {short(str(error), 200)}")


def _drawn(attribution: Attribution, sample: Sample) -> Drawn:
    title = f"{attribution.method}: why {attribution.target}"
    try:
        figure = draw(attribution, sample, WIDTH, headed=False)
    # Units and views are code of anyone's, and a report is worth more than one of its pictures.
    except Exception as error:
        cause = short(str(error) or type(error).__name__, 200)
        return Drawn(title, note=f"This attribution cannot be drawn: {cause}")
    if len(figure.page) > LONGEST:
        return Drawn(title, note="This attribution has too many units to be drawn here.")
    return Drawn(title, figure.page)


def _stored(sample: Sample, blobs: Path | None) -> Sample:
    """The sample with its media read from `blobs`, where they lie there."""
    if blobs is None:
        return sample

    def found(part: Part) -> Part:
        media = part.media
        if media is None or media.data is not None or not (blobs / media.sha256).is_file():
            return part
        return replace(part, media=replace(media, path=str(blobs / media.sha256)))

    return replace(sample, input=tuple(map(found, sample.input)))
