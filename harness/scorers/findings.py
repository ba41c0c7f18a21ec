"""Whether a report's findings are those of the image: presence, sectors, counts, stage.

The truth is the list of drawn lesions that a sample carries as evidence `instances`, never a
text. Sectors are compared exactly, since a tolerance of one sector rewards a text that names all
of them, and every sector F1 stands beside its floors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from harness.octa.findings import Findings, LesionFinding, ParsedFindings, findings_of, parse
from harness.octa.geometry import SECTORS
from harness.octa.pathology import LABELS, LESIONS, Instance, Lesion, stage_of
from harness.outcomes import cell_outcome
from harness.records import (
    Generation,
    HarnessError,
    Metric,
    Request,
    Sample,
    Score,
    Separation,
    Subject,
)

READABLE = 0.8
"""Below this share of sentences read, a score would be about the parser, so there is none."""

SCORED_FOR_PRESENCE: tuple[Lesion, ...] = ("dropout", "microaneurysm")
"""Neovascularisation is left out: the stage alone decides whether there is any."""

_LOCATED = "; not applicable where the image has none"


def _sector_metrics(name: str, what: str, of: str = "") -> tuple[Metric, ...]:
    return (
        Metric(
            f"{name}_f1",
            separates=(Separation("gold", "negated", 0.3), Separation("gold", "other-label", 0.1)),
            headline="accuracy" if name == "sector" else None,
            about=f"F1 of the sectors named for {what} against the true ones, exact{_LOCATED}.",
            title=f"right places named{of}",
        ),
        Metric(
            f"{name}_f1_moved",
            baseline=True,
            about=f"Mean F1 of the same text for {what} against other images of the same class: "
            "what the text earns without looking.",
            title=f"right places named{of}, by luck within the class",
        ),
        Metric(
            f"{name}_f1_other_image",
            baseline=True,
            about=f"Floor: mean F1 for {what} of the true sectors of other images of this class.",
            title=f"right places named{of}: floor of other images",
        ),
        Metric(
            f"{name}_f1_all_eight",
            baseline=True,
            about=f"Floor: F1 for {what} of a text that names all eight sectors.",
            title=f"right places named{of}: floor of naming all",
        ),
    )


def _lesion_metrics(lesion: Lesion) -> tuple[Metric, ...]:
    return (
        *_sector_metrics(f"{lesion}_sector", lesion, f" for {lesion}"),
        Metric(
            f"{lesion}_sector_precision",
            separates=(Separation("gold", "negated", 0.3),),
            about=f"Share of the sectors named for {lesion} that are true; not applicable where "
            "the image has none or the text names none.",
            title=f"places named for {lesion} that are right",
        ),
        Metric(
            f"{lesion}_sector_recall",
            separates=(Separation("gold", "empty", 0.3),),
            about=f"Share of the true sectors of {lesion} that are named{_LOCATED}.",
            title=f"places of {lesion} that are named",
        ),
        Metric(
            f"{lesion}_count",
            separates=(Separation("gold", "empty", 0.3),),
            about=f"1 where the text gives the right bucket of the number of {lesion} (few 1 to 3, "
            f"several 4 to 8, numerous 9 and more), else 0{_LOCATED}.",
            title=f"right number given for {lesion}",
        ),
    )


class FindingsScores:
    """Scores of the findings that a text states, for samples with evidence `instances`.

    The presence metrics are 1 where a cell is right. Averaged over all cells they would reward
    whoever knows the stage, so their figure is the balanced accuracy within the stages where both
    values occur (`harness.stats.balanced`): each score's detail holds `stage` (the true one),
    `true` and `said`. A lesion left unmentioned, or affirmed and denied, is wrong either way.

    Nothing is applicable where the parser read less than 80 % of the sentences. An empty answer
    or a refusal states nothing, and is scored as such.
    """

    metrics = (
        *(
            Metric(
                f"{lesion}_presence",
                separates=(Separation("gold", "negated", 0.5),),
                balanced=("stage", "true"),
                about=f"1 where the text says rightly whether there is any {lesion}, else 0. To be "
                "averaged by balanced accuracy within the stages where both occur.",
                title=f"{lesion} rightly seen or ruled out",
            )
            for lesion in SCORED_FOR_PRESENCE
        ),
        *_sector_metrics("sector", "every lesion type present, averaged,"),
        *(metric for lesion in LESIONS for metric in _lesion_metrics(lesion)),
        Metric(
            "hallucinated_findings",
            title="absent findings that are stated",
            direction="lower",
            separates=(Separation("gold", "negated", 0.3),),
            about="Share of the lesion types absent from the image that the text affirms; not "
            "applicable where none is absent.",
        ),
        Metric(
            "stage_contradiction",
            title="stage at odds with the findings",
            direction="lower",
            separates=(Separation("gold", "negated", 0.3),),
            about="1 where the text's stage contradicts its own findings, or it affirms and denies "
            "the same; not applicable where it names no stage and contradicts nothing.",
        ),
        Metric(
            "read_share",
            title="sentences that could be read",
            direction=None,
            baseline=True,
            about="Share of the text's sentences that the parser could read.",
        ),
    )

    def requests(self, subject: Subject) -> Sequence[Request]:  # noqa: ARG002
        """None: findings are parsed, not judged."""
        return ()

    def score(self, subject: Subject, generations: Sequence[Generation]) -> list[Score]:
        """All metrics of one cell; `None` for what does not apply to it."""
        sample = subject.sample
        instances = None if sample is None else true_instances(sample)
        if sample is None or instances is None:
            return [Score(metric.name, None) for metric in self.metrics]
        generation = generations[0]
        silent = cell_outcome(generation, subject.schema) in ("empty", "refusal")
        parsed = parse("" if silent else generation.text)
        values: dict[str, float | None] = {"read_share": parsed.read_share}
        details: dict[str, dict[str, Any]] = {"read_share": {"unread": list(parsed.unread)}}
        if parsed.read_share >= READABLE:
            truth = findings_of(instances)
            stage = stage_of(instances)
            for lesion in SCORED_FOR_PRESENCE:
                said = None if lesion in parsed.conflicts else parsed.findings.of(lesion).present
                true = truth.of(lesion).present
                values[f"{lesion}_presence"] = float(said == true)
                details[f"{lesion}_presence"] = {"stage": stage, "true": true, "said": said}
            for lesion in LESIONS:
                located = _located(lesion, truth.of(lesion), parsed.findings.of(lesion))
                values |= located
                if located:
                    details[f"{lesion}_sector_f1"] = {
                        "stage": stage,
                        "true": list(truth.of(lesion).sectors),
                        "said": list(parsed.findings.of(lesion).sectors),
                    }
            values |= _floors(sample, truth, parsed.findings)
            for kind in ("f1", "f1_moved", "f1_other_image", "f1_all_eight"):
                values[f"sector_{kind}"] = _mean(
                    values.get(f"{lesion}_sector_{kind}") for lesion in LESIONS
                )
            values["hallucinated_findings"] = _hallucinated(truth, parsed.findings)
            values["stage_contradiction"] = _contradiction(parsed)
            details["stage_contradiction"] = {
                "said": parsed.findings.stage,
                "conflicts": list(parsed.conflicts),
            }
        return [
            Score(metric.name, values.get(metric.name), details.get(metric.name))
            for metric in self.metrics
        ]


def true_instances(sample: Sample) -> tuple[Instance, ...] | None:
    """The drawn lesions of a sample; `None` where it has no evidence `instances`."""
    for evidence in sample.evidence:
        if evidence.name == "instances":
            try:
                return tuple(Instance(**fields) for fields in evidence.value)
            except TypeError as error:
                raise HarnessError(
                    f"sample '{sample.id}': evidence 'instances' must list kind, x, y, radius and "
                    f"sector of each lesion ({error})"
                ) from error
    return None


def sector_f1(said: Iterable[str], true: Iterable[str]) -> float:
    """F1 of two sets of sectors, exact; 0 where nothing is said. `true` is not empty."""
    named, drawn = set(said), set(true)
    return 2.0 * len(named & drawn) / (len(named) + len(drawn))


def _located(lesion: Lesion, true: LesionFinding, said: LesionFinding) -> dict[str, float | None]:
    """Sector and count scores of a lesion type that the image has."""
    if not true.present:
        return {}
    hits = len(set(said.sectors) & set(true.sectors))
    return {
        f"{lesion}_sector_f1": sector_f1(said.sectors, true.sectors),
        f"{lesion}_sector_precision": hits / len(said.sectors) if said.sectors else None,
        f"{lesion}_sector_recall": hits / len(true.sectors),
        f"{lesion}_sector_f1_all_eight": sector_f1(SECTORS, true.sectors),
        f"{lesion}_count": float(said.count == true.count),
    }


def _floors(sample: Sample, truth: Findings, said: Findings) -> dict[str, float | None]:
    """What other images of the class say of this one, and what this text earns on them.

    Both keep to images that have the lesion, as the sector F1 itself does.
    """
    partners = next((e.value for e in sample.evidence if e.name == "same_class"), ())
    floors: dict[str, float | None] = {}
    for lesion in LESIONS:
        if not truth.of(lesion).present:
            continue
        others = [partner["sectors"][lesion] for partner in partners]
        floors[f"{lesion}_sector_f1_other_image"] = _mean(
            sector_f1(other, truth.of(lesion).sectors) for other in others
        )
        floors[f"{lesion}_sector_f1_moved"] = _mean(
            sector_f1(said.of(lesion).sectors, other) for other in others if other
        )
    return floors


def _hallucinated(truth: Findings, said: Findings) -> float | None:
    absent = [lesion for lesion in LESIONS if not truth.of(lesion).present]
    return _mean(float(bool(said.of(lesion).present)) for lesion in absent)


def _contradiction(parsed: ParsedFindings) -> float | None:
    """Whether the stage that a text names can be that of the findings it states."""
    if parsed.conflicts:
        return 1.0
    said = parsed.findings
    if said.stage is None:
        return None
    present = {lesion: said.of(lesion).present for lesion in LESIONS}
    if said.stage == LABELS[0]:
        clashes = [bool(present[lesion]) for lesion in LESIONS]
    elif said.stage == LABELS[1]:
        nothing = present["dropout"] is False and present["microaneurysm"] is False
        clashes = [bool(present["neovascularisation"]), nothing]
    else:
        clashes = [present["neovascularisation"] is False]
    return float(any(clashes))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
