"""What the report consists of: its sections, what is left out and why, and its words."""

from __future__ import annotations

import json
from dataclasses import dataclass

from harness.report.samples import Piece
from harness.report.tables import compares
from harness.report.text import cut
from harness.results import Results

DOCUMENT_CHARACTERS = 20_000
SHOWN_ELSEWHERE = ("about", "oracle_variants", "preserving_variants")  # entries of the manifest

GLOSSARY = (
    ("sample", "One input to be classified."),
    ("prediction", "What the classifier said of a sample."),
    (
        "arm",
        "Which label the prompt is told: the classifier's (predicted), the true one (gold), the "
        "most probable wrong one (wrong), or none.",
    ),
    ("family, variant", "One question with its aspects; one way of asking it."),
    (
        "cell",
        "One model, sample, family, variant, arm, aspect and repeat: what is planned, scored and "
        "counted.",
    ),
    ("generation", "What a model returned for a request. Cells may share one."),
    ("gold record", "Expert knowledge of one label and aspect, or of one sample, as claims."),
    (
        "claim",
        "One atomic statement of the gold. A good explanation holds what it must, may hold what "
        "is nice, and never what it must not.",
    ),
    ("control", "A stand-in for a model whose score is known beforehand; it tests the scorers."),
    ("baseline", "A metric or classifier too simple to be trusted, shown for comparison."),
    ("attribution", "A value for each unit of one sample, for one target, by one method."),
    ("unit", "What one value of an attribution speaks about: a word, a patch, a segment of time."),
    (
        "valid, not shown, invalid",
        "Whether a metric separates its controls by the promised margin, too few clusters could "
        "show it, or it does not.",
    ),
    ("oracle", "Shown the gold evidence, so it is out of the ranks."),
    (
        "vs true, vs told",
        "Held against the gold of the true label, or of the label in the prompt.",
    ),
    (
        "prompt stability, sampling stability",
        "How alike the answers are over variants that preserve meaning, and over repeats of one "
        "prompt.",
    ),
    (
        "worst case",
        "The variant that is worst for a model, chosen on half of the samples and measured on "
        "the others.",
    ),
    ("cluster", "The largest cause that samples share; the independent unit behind an interval."),
    ("coverage", "The share of planned cells that could be scored."),
)


@dataclass(frozen=True)
class Section:
    """A section by its anchor; `why` says, in a sentence, why it is left out."""

    id: str
    title: str
    shown: bool
    why: str = ""


def sections(results: Results, scatter: bool, cards: bool) -> list[Section]:
    """All sections in their order, those that are left out among them."""
    known = {m.id for m in results.metrics}
    axes = {b.axis for b in results.breakdowns if compares(b) and b.metric in known}
    controls = any(m.control for m in results.models)
    return [
        Section("verdict", "Verdict", True),
        Section(
            "scatter", "Accuracy against stability", scatter,
            "no model has both a headline accuracy and a headline stability.",
        ),
        Section("models", "Models", True),
        Section("aspects", "Aspects", "aspect" in axes, "there is only one aspect, or none."),
        Section(
            "variants", "Prompt variants", "variant" in axes,
            "there is only one variant, or none.",
        ),
        Section(
            "groups", "Groups of samples", bool(axes - {"aspect", "variant", "arm"}),
            "the suite names no metadata to group by.",
        ),
        Section(
            "arms", "What the told label does", "arm" in axes or bool(results.arm_effects),
            "there is only one arm, so there is nothing to compare.",
        ),
        Section(
            "coverage", "Coverage and failures", bool(results.models), "this run has no models."
        ),
        Section(
            "controls", "Controls", controls or bool(results.separations),
            "this suite ran no controls, so nothing shows that its scorers work.",
        ),
        Section(
            "agreement", "Agreement with people", bool(results.agreements),
            "no person has judged these explanations, so agreement with people is unknown.",
        ),
        Section(
            "classifier", "The classifier", results.classifier is not None,
            "this suite has no classifier.",
        ),
        Section(
            "why", "Why the classifier decided",
            bool(results.explainers or results.concepts),
            "the suite has no entry explain, so what the classifier used is unknown.",
        ),
        Section("samples", "Samples", cards, "no sample was chosen to be shown."),
        Section("provenance", "Provenance", True),
    ]  # fmt: skip


def facts(results: Results) -> list[tuple[str, str]]:
    """The manifest's plain entries."""
    return [
        (key, str(value))
        for key, value in sorted(results.manifest.items())
        if isinstance(value, (str, int, float, bool)) and key not in SHOWN_ELSEWHERE
    ]


def documents(results: Results) -> list[tuple[str, Piece]]:
    """The manifest's nested entries (versions, file hashes, the suite as resolved) as JSON."""
    return [
        (key, Piece(*cut(_json(value), DOCUMENT_CHARACTERS)))
        for key, value in sorted(results.manifest.items())
        if value and not isinstance(value, (str, int, float, bool)) and key not in SHOWN_ELSEWHERE
    ]


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True, default=str)
