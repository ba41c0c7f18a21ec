"""Gold of an OCTA image: claims and an explanation, every word from its drawn instances.

One claim says whether a lesion type is present, one where it is, one how many there are, and one
the stage that these lesions amount to. Each has a paraphrase and a contradiction that really
contradicts, so that controls can be made of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.octa.geometry import SECTORS
from harness.octa.pathology import LABELS, LESIONS, Instance, Label, Lesion, stage_of
from harness.octa.record import BUCKETS, LesionFinding, findings_of
from harness.octa.writer import STAGES, STYLES, lesion_sentence, write
from harness.records import Claim, GoldRecord


def gold_record(sample: str, instances: Sequence[Instance], aspect: str = "findings") -> GoldRecord:
    """Sample-level gold from the instances alone."""
    findings = findings_of(instances)
    claims = [_stage_claim(stage_of(instances))]
    for lesion in LESIONS:
        claims.extend(_lesion_claims(lesion, findings.of(lesion)))
    return GoldRecord(
        aspect=aspect,
        claims=tuple(claims),
        sample=sample,
        text=write(findings),
        status="constructed",
    )


def _stage_claim(label: Label) -> Claim:
    other = LABELS[(LABELS.index(label) + 1) % len(LABELS)]
    return Claim(
        id="stage",
        text=STAGES[label][0],
        paraphrases=STAGES[label][1:],
        contradiction=STAGES[other][0],
    )


def _lesion_claims(lesion: Lesion, finding: LesionFinding) -> list[Claim]:
    if not finding.present:
        return [_claim(f"{lesion}-absent", lesion, finding, LesionFinding(True), negated=True)]
    others = tuple(sector for sector in SECTORS if sector not in finding.sectors)
    claims = [_claim(f"{lesion}-present", lesion, LesionFinding(True), LesionFinding(False))]
    located = LesionFinding(True, finding.sectors)
    elsewhere = LesionFinding(True, others) if others else None
    claims.append(_claim(f"{lesion}-sectors", lesion, located, elsewhere))
    if finding.count is not None:
        other = BUCKETS[(BUCKETS.index(finding.count) + 1) % len(BUCKETS)]
        counted = LesionFinding(True, count=finding.count)
        claims.append(_claim(f"{lesion}-count", lesion, counted, LesionFinding(True, count=other)))
    return claims


def _claim(
    name: str,
    lesion: Lesion,
    finding: LesionFinding,
    opposite: LesionFinding | None,
    *,
    negated: bool = False,
) -> Claim:
    return Claim(
        id=name,
        text=lesion_sentence(lesion, finding),
        polarity="negated" if negated else "affirmed",
        paraphrases=tuple(lesion_sentence(lesion, finding, style) for style in range(1, STYLES)),
        contradiction=None if opposite is None else lesion_sentence(lesion, opposite),
    )
