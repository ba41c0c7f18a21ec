"""Findings as a short report: stage, dropout, microaneurysms, neovascularisation, in this order.

Every sentence has several paraphrases of one meaning. The words are few and fixed, so that a
small vocabulary can hold them; `parser.parse` reads every report back.
"""

from __future__ import annotations

import numpy as np

from harness.octa.pathology import LESIONS, Label, Lesion
from harness.octa.record import Bucket, Findings, LesionFinding

STAGES: dict[Label, tuple[str, ...]] = {
    "healthy": (
        "The stage is healthy.",
        "This is a healthy scan.",
        "The scan is healthy.",
        "No retinopathy is seen.",
    ),
    "non-proliferative": (
        "The stage is non-proliferative.",
        "This is non-proliferative retinopathy.",
        "The scan shows non-proliferative retinopathy.",
        "Non-proliferative retinopathy is seen.",
    ),
    "proliferative": (
        "The stage is proliferative.",
        "This is proliferative retinopathy.",
        "The scan shows proliferative retinopathy.",
        "Proliferative retinopathy is seen.",
    ),
}
ABSENT = (
    "No {lesion} {is_are} seen.",
    "There {is_are} no {lesion}.",
    "The scan shows no {lesion}.",
    "{lesion} {is_are} absent.",
)
PRESENT = (
    "{amount} {is_are} seen.",
    "There {is_are} {amount}.",
    "The scan shows {amount}.",
    "{amount} {is_are} present.",
)
LOCATED = (
    "{amount} {is_are} seen in the {sectors}.",
    "There {is_are} {amount} in the {sectors}.",
    "The scan shows {amount} in the {sectors}.",
    "In the {sectors} there {is_are} {amount}.",
)
STYLES = 4

NAMES: dict[Lesion, str] = {
    "dropout": "capillary dropout",
    "microaneurysm": "microaneurysms",
    "neovascularisation": "neovascularisation",
}
COUNTED: dict[Lesion, str] = {
    "dropout": "regions of capillary dropout",
    "microaneurysm": "microaneurysms",
    "neovascularisation": "tufts of neovascularisation",
}
AMOUNTS: dict[Bucket, str] = {"few": "a few", "several": "several", "numerous": "numerous"}


def write(
    findings: Findings, rng: np.random.Generator | None = None, style: int | None = None
) -> str:
    """The report. `rng` draws a paraphrase for each sentence; `style` in 0..3 fixes one for all.

    Without either the first paraphrases are used. What the findings leave unsaid is left out.
    """
    sentences = []
    if findings.stage is not None:
        sentences.append(STAGES[findings.stage][_style(rng, style)])
    for lesion in LESIONS:
        finding = findings.of(lesion)
        if finding.present is not None:
            sentences.append(lesion_sentence(lesion, finding, _style(rng, style)))
    return " ".join(sentences)


def lesion_sentence(lesion: Lesion, finding: LesionFinding, style: int = 0) -> str:
    """What is said of one lesion type, in paraphrase `style` of 0..3."""
    templates = ABSENT if not finding.present else LOCATED if finding.sectors else PRESENT
    amount = (
        f"{AMOUNTS[finding.count]} {COUNTED[lesion]}"
        if finding.count is not None
        else NAMES[lesion]
    )
    plural = lesion == "microaneurysm" or finding.count is not None
    sentence = templates[style].format(
        lesion=NAMES[lesion],
        amount=amount,
        is_are="are" if plural else "is",
        sectors=listed(finding.sectors),
    )
    return sentence[0].upper() + sentence[1:]


def listed(words: tuple[str, ...]) -> str:
    """`a`, `a and b`, `a, b and c`; nothing for no words."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def _style(rng: np.random.Generator | None, style: int | None) -> int:
    if style is not None:
        return style
    return 0 if rng is None else int(rng.integers(STYLES))
