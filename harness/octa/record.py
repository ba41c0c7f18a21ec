"""The findings of an image as a record.

`Findings` says of each lesion type whether it is present, in which sectors, and how many there
are. For a generated image it is derived from the drawn instances alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.octa.geometry import SECTORS, turned_sector
from harness.octa.pathology import LESIONS, Instance, Label, Lesion, stage_of
from harness.records import HarnessError

Bucket = Literal["few", "several", "numerous"]

BUCKETS: tuple[Bucket, ...] = ("few", "several", "numerous")


def bucket_of(count: int) -> Bucket:
    """Few is 1 to 3, several 4 to 8, numerous 9 and more."""
    return "few" if count <= 3 else "several" if count <= 8 else "numerous"


@dataclass(frozen=True)
class LesionFinding:
    """What is said of one lesion type; `None` and an empty tuple where nothing is said.

    Sectors are kept in clockwise order from the top, each once. Only what is present has sectors
    or a count; anything else raises `HarnessError`, as does an unknown sector.
    """

    present: bool | None = None
    sectors: tuple[str, ...] = ()
    count: Bucket | None = None

    def __post_init__(self) -> None:
        unknown = set(self.sectors) - set(SECTORS)
        if unknown:
            raise HarnessError(f"'{min(unknown)}' is no sector; sectors are {', '.join(SECTORS)}")
        if (self.sectors or self.count) and not self.present:
            raise HarnessError("a lesion with sectors or a count must be present")
        ordered = tuple(sector for sector in SECTORS if sector in self.sectors)
        object.__setattr__(self, "sectors", ordered)


@dataclass(frozen=True)
class Findings:
    """What is said of an image: its stage, and each lesion type."""

    stage: Label | None = None
    dropout: LesionFinding = field(default_factory=LesionFinding)
    microaneurysm: LesionFinding = field(default_factory=LesionFinding)
    neovascularisation: LesionFinding = field(default_factory=LesionFinding)

    def of(self, lesion: Lesion) -> LesionFinding:
        """What is said of this lesion type."""
        finding: LesionFinding = getattr(self, lesion)
        return finding


def findings_of(instances: Sequence[Instance]) -> Findings:
    """The findings that these drawn instances amount to."""
    found = {}
    for lesion in LESIONS:
        own = [instance for instance in instances if instance.kind == lesion]
        found[lesion] = (
            LesionFinding(True, tuple(instance.sector for instance in own), bucket_of(len(own)))
            if own
            else LesionFinding(False)
        )
    return Findings(stage=stage_of(instances), **found)


def turned_findings(findings: Findings, k: int, flip: bool) -> Findings:
    """The findings after a left-right flip (if `flip`), then k quarter turns clockwise."""

    def turned(finding: LesionFinding) -> LesionFinding:
        return replace(
            finding,
            sectors=tuple(
                SECTORS[turned_sector(SECTORS.index(sector), k, flip)] for sector in finding.sectors
            ),
        )

    return Findings(findings.stage, *(turned(findings.of(lesion)) for lesion in LESIONS))
