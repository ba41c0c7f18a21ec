"""What a run's scores say: the records between statistics and report.

`analysis.analyse` fills them from the store; the report, the verdict and the command line only
read them. Every number that a person sees is an `Estimate`, so none goes without its interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.records import Cell, Generation, Message, Metric, Prediction, Sample

Validity = Literal["valid", "not shown", "invalid", "baseline", "no controls"]
Tone = Literal["good", "bad", "unsure", "plain"]


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval; `value` is `None` where nothing could be measured.

    `n` counts scored subjects, `clusters` the independent units behind the interval, `method`
    says in words how the interval was made ("t, 7 degrees of freedom, by condition").
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    clusters: int = 0
    method: str = ""


@dataclass(frozen=True)
class Sentence:
    """One sentence of the verdict; `topic` is what it answers (`accuracy`, `stability`, ...)."""

    topic: str
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class MetricSummary:
    """A metric of the run. `id` is `scorer.metric`; `version` is what all its scores share."""

    id: str
    scorer: str
    metric: Metric
    version: str
    validity: Validity


@dataclass(frozen=True)
class SeparationResult:
    """Whether a metric kept one promise: paired difference of two controls against a margin."""

    metric: str
    better: str
    worse: str
    margin: float
    difference: Estimate
    validity: Validity


@dataclass(frozen=True)
class ModelSummary:
    """A model or control: its estimates by metric id, and what became of its cells.

    `outcomes` counts cells by outcome (`ok`, `refusal`, ..., `not_run`); `not_planned` says how
    many were left out of the plan, and why. `bounds` holds, by metric id, the lowest and highest
    mean that the unscorable cells could have led to. `repro_rate` is the share of repeated
    requests answered with the very same text.
    """

    name: str
    backend: str
    control: bool
    estimates: Mapping[str, Estimate]
    planned: int
    outcomes: Mapping[str, int]
    not_planned: Mapping[str, int] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    repro_rate: float | None = None
    served: tuple[str, ...] = ()
    oracle: bool = False


@dataclass(frozen=True)
class Comparison:
    """Two models compared on what both answered: `a` less `b`, Holm-adjusted p."""

    metric: str
    a: str
    b: str
    difference: Estimate
    p_adjusted: float | None


@dataclass(frozen=True)
class Rank:
    """A model's place by one metric with its bootstrap interval; 1 is best.

    `reason` is set, and the ranks empty, where the models cannot be ranked (no shared samples).
    """

    metric: str
    model: str
    rank: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True)
class Breakdown:
    """A metric by model and one cell field: `axis` is aspect, variant, arm or a metadata key."""

    axis: str
    metric: str
    rows: tuple[tuple[str, str, Estimate], ...]  # (model, level, estimate)


@dataclass(frozen=True)
class WorstCase:
    """A model's worst variant, chosen on one half of the samples and measured on the other."""

    metric: str
    model: str
    variant: str
    estimate: Estimate


@dataclass(frozen=True)
class ArmEffect:
    """What the told label does: a paired difference of two arms where the labels differ."""

    model: str
    metric: str
    contrast: str  # "gold - predicted, misclassified samples"
    difference: Estimate


@dataclass(frozen=True)
class Agreement:
    """How a scorer's verdicts agree with people's, beside people's agreement with each other.

    `group` is `all` or one model (within source). `auc` is of supported against the rest. `people`
    marks people's agreement with each other.
    """

    measure: str
    group: str
    auc: Estimate
    kappa: Estimate
    n: int
    positives: int
    baseline: bool = False
    people: bool = False


@dataclass(frozen=True)
class ClassifierPage:
    """The classifier's own page. `confusion[i][j]` counts true class i predicted as j."""

    name: str
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    accuracy: Estimate
    balanced_accuracy: Estimate
    ece: Estimate | None
    reliability: tuple[tuple[float, float, int], ...] = ()  # mean confidence, accuracy, count
    groups: tuple[tuple[str, str, Estimate], ...] = ()  # metadata key, value, balanced accuracy
    baselines: tuple[tuple[str, Estimate], ...] = ()  # name, balanced accuracy
    unlabelled: int = 0
    note: str = ""


@dataclass(frozen=True)
class ClaimVerdict:
    """One gold claim held against an explanation."""

    id: str
    text: str
    importance: str
    verdict: Literal["supported", "contradicted", "unsupported"]
    support: float
    sentence: str = ""


@dataclass(frozen=True)
class Explanation:
    """One cell as a person reads it."""

    cell: Cell
    told: str | None
    messages: tuple[Message, ...]
    generation: Generation | None
    claims: tuple[ClaimVerdict, ...] = ()
    scores: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleView:
    """One sample with its prediction and a selection of its explanations."""

    sample: Sample
    prediction: Prediction | None
    explanations: tuple[Explanation, ...]


@dataclass(frozen=True)
class GoldStatus:
    """How far the gold may be trusted: counts of records by status, and of claims."""

    records: int
    claims: int
    by_status: Mapping[str, int]
    sources_opened: int
    sources: int


@dataclass(frozen=True)
class Results:
    """Everything the report shows."""

    suite: str
    run: str
    created: str
    harness_version: str
    seed: int
    cluster: str
    samples: int
    finished: bool
    verdict: tuple[Sentence, ...]
    warnings: tuple[str, ...]
    metrics: tuple[MetricSummary, ...]
    models: tuple[ModelSummary, ...]
    ranks: tuple[Rank, ...]
    comparisons: tuple[Comparison, ...]
    breakdowns: tuple[Breakdown, ...]
    worst_cases: tuple[WorstCase, ...]
    arm_effects: tuple[ArmEffect, ...]
    separations: tuple[SeparationResult, ...]
    agreements: tuple[Agreement, ...]
    classifier: ClassifierPage | None
    gold: GoldStatus
    views: tuple[SampleView, ...]
    manifest: Mapping[str, Any] = field(default_factory=dict)
