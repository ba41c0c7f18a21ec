"""How good a language model's reports are, on forests that no training has seen.

Each image is asked about once in an arm, the answer is read by the parser and scored as in a run:
exact sectors against the drawn lesions, beside the floors. Intervals are by forest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.identity import draw
from harness.language_models.corpus import without_pictures
from harness.octa.findings import parse
from harness.octa.pathology import LABELS, LESIONS
from harness.prompts import Family
from harness.records import Cell, Generation, Request, Sample, Sampling, Subject
from harness.results import Estimate
from harness.templates import render

UNSEEN_SEED = 4001
"""Seed of the images for evaluation; training draws its own from other seeds."""

MAX_TOKENS = 96


@dataclass(frozen=True)
class Answer:
    """What a model said of a sample when it was told a label (`None`: no label)."""

    sample: Sample
    told: str | None
    generation: Generation
    scores: dict[str, float | None]
    details: dict[str, Any]


def unseen_samples(forests: int, per_forest: int, seed: int = UNSEEN_SEED) -> list[Sample]:
    """Samples of source `octa` with `per_forest` images on each forest, stages in turn."""
    from harness.sources.octa import Octa

    source = Octa("fast", samples=forests * per_forest, forests=forests, seed=seed)
    return list(source.samples())


def right(sample: Sample) -> str | None:
    """The arm that tells the true label."""
    return sample.label


def wrong(sample: Sample) -> str | None:
    """The arm that tells another label, drawn by the sample's id."""
    others = [label for label in LABELS if label != sample.label]
    return others[int(draw(sample.id, "wrong") * len(others))]


def none(sample: Sample) -> str | None:  # noqa: ARG001
    """The arm that tells no label."""
    return None


ARMS: dict[str, Callable[[Sample], str | None]] = {"right": right, "wrong": wrong, "none": none}


def ask(
    backend: Any, family: Family, samples: Sequence[Sample], arm: str, variant: str = "base"
) -> list[Answer]:
    """The model's likeliest answers, scored; `backend` is a `Transformers`."""
    from harness.scorers.findings import FindingsScores

    told = [ARMS[arm](sample) for sample in samples]
    requests = [
        _request(backend, family, variant, sample, label)
        for sample, label in zip(samples, told, strict=True)
    ]
    answered: dict[int, Generation] = {}
    places = {id(request): i for i, request in enumerate(requests)}
    for batch in backend.batches(requests):
        for request, answer in zip(batch, backend.generate_batch(batch), strict=True):
            answered[places[id(request)]] = answer
    scorer = FindingsScores()
    answers = []
    for i, sample in enumerate(samples):
        cell = Cell("model", sample.id, family.name, variant, arm, family.aspects[0], 1)
        subject = Subject("cell", cell.id, (cell,), sample, told=told[i], labels=LABELS)
        scores = scorer.score(subject, [answered[i]])
        answers.append(
            Answer(
                sample,
                told[i],
                answered[i],
                {score.metric: score.value for score in scores},
                {score.metric: score.detail for score in scores if score.detail is not None},
            )
        )
    return answers


def estimate(answers: Sequence[Answer], metric: str, less: str | None = None) -> Estimate:
    """Mean of a metric (or of its difference to `less`) with an interval by forest."""
    from harness.stats.intervals import mean

    values, forests = [], []
    for answer in answers:
        value, other = answer.scores.get(metric), answer.scores.get(less) if less else 0.0
        if value is not None and other is not None:
            values.append(value - other)
            forests.append(answer.sample.cluster)
    bounds = (-1.0, 1.0) if less else (0.0, 1.0)
    return mean(values, forests, cluster_name="forest", bounds=bounds)


def stage_named(answers: Sequence[Answer]) -> Estimate:
    """How often the stage named is the image's own."""
    return _stages(answers, [answer.sample.label for answer in answers])


def stage_told(answers: Sequence[Answer]) -> Estimate:
    """How often the stage named is the label that the prompt told, where it told one."""
    answers = [answer for answer in answers if answer.told is not None]
    return _stages(answers, [answer.told for answer in answers])


def _stages(answers: Sequence[Answer], expected: Sequence[str | None]) -> Estimate:
    from harness.stats.intervals import mean

    said = [parse(answer.generation.text).findings.stage for answer in answers]
    hits = [float(one == other) for one, other in zip(said, expected, strict=True)]
    return mean(hits, [a.sample.cluster for a in answers], cluster_name="forest")


def presence(answers: Sequence[Answer], lesion: str) -> Estimate:
    """Balanced accuracy of presence within the stages where both values occur, by forest."""
    from harness.stats.balanced import balanced_mean

    # What the parser could not read has no findings to be right or wrong about.
    answers = [one for one in answers if f"{lesion}_presence" in one.details]
    details = [answer.details[f"{lesion}_presence"] for answer in answers]
    return balanced_mean(
        [float(detail["said"] == detail["true"]) for detail in details],
        within=[detail["stage"] for detail in details],
        over=[detail["true"] for detail in details],
        clusters=[answer.sample.cluster for answer in answers],
        cluster_name="forest",
    )


def floor_among(answers: Sequence[Answer], lesion: str) -> Estimate:
    """Mean sector F1 of the truth of other images of the class that have the lesion too: what a
    text that is right about another image earns, with nothing lost to images without the lesion."""
    from harness.scorers.findings import sector_f1
    from harness.stats.intervals import mean

    values, forests = [], []
    for answer in answers:
        detail = answer.details.get(f"{lesion}_sector_f1")
        partners = next((e.value for e in answer.sample.evidence if e.name == "same_class"), ())
        others = [partner["sectors"][lesion] for partner in partners]
        if detail is not None:
            floors = [sector_f1(other, detail["true"]) for other in others if other]
            values += [sum(floors) / len(floors)] if floors else []
            forests += [answer.sample.cluster] if floors else []
    return mean(values, forests, cluster_name="forest")


def table(answers: Sequence[Answer]) -> list[tuple[str, Estimate]]:
    """The figures of a card, by name, in the order in which they are read."""
    rows: list[tuple[str, Estimate]] = []
    for lesion in LESIONS:
        f1 = f"{lesion}_sector_f1"
        rows += [
            (f"{lesion}: exact sector F1", estimate(answers, f1)),
            (f"{lesion}: floor, the same text on other images", estimate(answers, f"{f1}_moved")),
            (f"{lesion}: floor, truth of other images", estimate(answers, f"{f1}_other_image")),
            (f"{lesion}: the same, among images that have it", floor_among(answers, lesion)),
            (f"{lesion}: floor, all eight sectors", estimate(answers, f"{f1}_all_eight")),
            (f"{lesion}: F1 above all eight", estimate(answers, f1, less=f"{f1}_all_eight")),
            (f"{lesion}: count bucket right", estimate(answers, f"{lesion}_count")),
        ]
    for lesion in LESIONS[:2]:
        rows.append((f"{lesion}: balanced accuracy of presence", presence(answers, lesion)))
    rows.append(("stage named is the image's", stage_named(answers)))
    rows.append(("hallucinated findings", estimate(answers, "hallucinated_findings")))
    rows.append(("share of sentences read", estimate(answers, "read_share")))
    return rows


def shown(value: Estimate) -> str:
    """`.71 [.66, .76]`, or a dash where there is nothing."""
    if value.value is None:
        return "-"
    if value.low is None or value.high is None:
        return f"{value.value:.3f}"
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _request(
    backend: Any, family: Family, variant: str, sample: Sample, told: str | None
) -> Request:
    chosen = family.variant(variant)
    template = chosen.for_arm("none" if told is None else "predicted")
    assert template is not None
    context: dict[str, Any] = {
        "id": sample.id,
        "input": sample.input,
        "aspect": family.aspects[0],
        "question": family.question,
        "language": family.language,
    }
    if told is not None:
        probabilities: dict[str, float] = dict.fromkeys(LABELS, 0.05)
        probabilities[told] = 0.9
        ordered = dict(sorted(probabilities.items(), key=lambda item: (-item[1], item[0])))
        context |= {"label": told, "probability": 0.9, "probabilities": ordered}

    messages = render(template, context, f"{family.name}/{variant}")[0].messages
    if not backend.capabilities.images:
        messages = tuple(without_pictures(messages))
    sampling = Sampling(temperature=0.0, max_tokens=MAX_TOKENS)
    return Request("transformers", backend.model_id, messages, sampling=sampling)
