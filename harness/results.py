"""What a run's scores say: the records between statistics and report.

`analysis.analyse` fills them from the store; the report, the verdict and the command line only
read them. Every number that a person sees is an `Estimate`, so none goes without its interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from harness.drawing.words import unpadded
from harness.records import (
    MODEL_OUTCOMES,
    Attribution,
    Cell,
    ConceptSpace,
    Generation,
    GoldRecordStatus,
    Message,
    Metric,
    Prediction,
    Sample,
)

if TYPE_CHECKING:
    from harness.explainers.metrics.evaluation import Evaluation

Validity = Literal["valid", "not shown", "invalid", "baseline", "no controls"]
Tone = Literal["good", "bad", "unsure", "plain"]

NOT_MEASURED = "–"
NOT_RECORDED = "it has no answer to give, as none is recorded"
"""Why a recording's cells are not planned. They were asked for, so they count in coverage."""
GOLD_STATUSES: tuple[GoldRecordStatus, ...] = ("draft", "disputed", "constructed", "reviewed")


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


def number(value: float | None) -> str:
    """Two decimals below 10, fewer above, no zero before the point; a dash for nothing."""
    if value is None or value != value:
        return NOT_MEASURED
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return unpadded(text)


def symmetric(estimate: Estimate) -> bool:
    """Whether both limits lie equally far from the value, so that one number says both."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return False
    return abs((high - value) - (value - low)) <= 1e-9 * max(1.0, abs(high - low))


def interval(estimate: Estimate) -> str:
    """`[low, high]`, or words that say why there is none."""
    if estimate.value is None:
        return "not measured"
    if estimate.low is None or estimate.high is None:
        return estimate.method if estimate.method.startswith("no interval") else "no interval"
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


@dataclass(frozen=True)
class Sentence:
    """One sentence of the verdict; `topic` is what it answers (`accuracy`, `stability`, ...).

    `about` says in plain words what the figures in it measure.
    """

    topic: str
    text: str
    tone: Tone = "plain"
    about: str = ""


@dataclass(frozen=True)
class RunWarning:
    """What may be wrong with the run, in one sentence that says what to look at.

    `topics` are the verdict's lines that it is about: none of them is favourable while it stands.
    """

    text: str
    topics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Cells of one model that have no score for one reason.

    `why` is what the failures say, with ids and numbers struck out; `example` is a cell's id and
    its own words. `cause` is the kind that was seen of it (`HTTP 503`), empty where the outcome
    says all.
    """

    model: str
    outcome: str
    why: str
    count: int
    example: tuple[str, str]
    cause: str = ""


@dataclass(frozen=True)
class FailureShare:
    """How a model's cells without a score fall on the levels of `axis`: variant, arm, ... or label.

    `counts` holds (level, without a score, planned), the largest share first. `p_adjusted` is of
    "they fall on all levels alike", by permutation with samples kept whole, Holm-adjusted.
    """

    model: str
    axis: str
    counts: tuple[tuple[str, int, int], ...]
    p_adjusted: float


@dataclass(frozen=True)
class AnomalyCount:
    """Answers of one model that show one kind of anomaly, `count` of `of`.

    `example` is a cell's id and an excerpt that shows it. `warned` says whether they are many
    enough for a warning.
    """

    model: str
    kind: str
    count: int
    of: int
    example: tuple[str, str]
    warned: bool = True


@dataclass(frozen=True)
class MetricSummary:
    """A metric of the run. `id` is `scorer.metric`; `version` is what all its scores share.

    `reason` says what its validity lacks where it is not shown or unknown.
    """

    id: str
    scorer: str
    metric: Metric
    version: str
    validity: Validity
    reason: str = ""

    @property
    def label(self) -> str:
        """What people read: `right places named (findings.sector_f1)`."""
        return f"{self.metric.title} ({self.id})"


@dataclass(frozen=True)
class Ordering:
    """How often a scorer of stability puts a reversal below a rewording: mean over gold records.

    `at_hand` says whether it was measured on this run's gold; else it is the scorer's own
    measurement, whose source `source` names.
    """

    scorer: str
    estimate: Estimate
    source: str
    at_hand: bool

    @property
    def said(self) -> str:
        """`ranks a reversal below a rewording in .60 [.48, .71] of cases on 39 gold records`."""
        share = f"{number(self.estimate.value)} {interval(self.estimate)}"
        return f"ranks a reversal below a rewording in {share} of cases on {self.source}"


@dataclass(frozen=True)
class Requirement:
    """A bar of the suite's `require`, held against one model's scores.

    `direction` says whether the interval's lower bound must reach the bar (`higher`) or its upper
    bound stay at or under it (`lower`). `group` narrows it to samples (`site=A`). `reason` says why
    it is not kept where the interval alone does not.
    """

    metric: str
    title: str
    bar: float
    direction: Literal["higher", "lower"]
    model: str
    group: str = ""
    estimate: Estimate = field(default_factory=lambda: Estimate(None))
    kept: bool = False
    reason: str = ""

    @property
    def asked(self) -> str:
        """`required claims stated (claims.recall_vs_true) at least .80, site=A`."""
        name = f"{self.title} ({self.metric})" if self.title else self.metric
        least = "at least" if self.direction == "higher" else "at most"
        return f"{name} {least} {number(self.bar)}" + (f", {self.group}" if self.group else "")

    @property
    def found(self) -> str:
        """`qwen .85 [.81, .89]`, with the reason where there is one."""
        value = self.estimate.value
        measured = "" if value is None else f"{number(value)} {interval(self.estimate)}"
        if self.reason and self.reason == interval(self.estimate):
            return " ".join(filter(None, (self.model, measured)))
        reason = f"({self.reason})" if measured and self.reason else self.reason
        return " ".join(filter(None, (self.model, measured, reason)))


@dataclass(frozen=True)
class SeparationResult:
    """Whether a metric kept one promise: paired difference of two controls against a margin.

    The units are those of the gold at hand, and the limits of the difference are one-sided.
    `needed` says, where it is not shown, how many independent units would be needed. `sign_flip`
    is the one-sided p of sign-flips of units, as a check.
    """

    metric: str
    better: str
    worse: str
    margin: float
    difference: Estimate
    validity: Validity
    needed: str = ""
    sign_flip: float | None = None


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

    @property
    def not_recorded(self) -> int:
        """The cells that a recording was asked for and has no answer to."""
        return self.not_planned.get(NOT_RECORDED, 0)

    @property
    def no_answer_rate(self) -> float | None:
        """The share of scorable cells that are empty or refused; `None` where none is scorable."""
        scorable = sum(self.outcomes.get(name, 0) for name in ("ok", *MODEL_OUTCOMES))
        silent = sum(self.outcomes.get(name, 0) for name in ("empty", "refusal"))
        return silent / scorable if scorable else None


@dataclass(frozen=True)
class Comparison:
    """Two models compared on what both answered: `a` less `b`, with p by `test`.

    `difference` and `p` are of this pair alone and agree; `together` is the difference with the
    interval that holds for all pairs at once, and agrees with `p_adjusted`. `sign_flip` is the p of
    sign-flips of whole clusters for this pair alone, as a check.
    """

    metric: str
    a: str
    b: str
    difference: Estimate
    p_adjusted: float | None
    test: str = ""
    p: float | None = None
    together: Estimate | None = None
    sign_flip: float | None = None


@dataclass(frozen=True)
class Rank:
    """A model's place by one metric; 1 is best.

    `low` and `high` are for this model alone, `simultaneous` for all models together.
    `reason` is set, and the ranks empty, where the models cannot be ranked (no shared samples).
    """

    metric: str
    model: str
    rank: float | None
    low: float | None
    high: float | None
    reason: str = ""
    simultaneous: tuple[float, float] | None = None


@dataclass(frozen=True)
class Breakdown:
    """A metric by model and one cell field: `axis` is aspect, variant, arm or a metadata key."""

    axis: str
    metric: str
    rows: tuple[tuple[str, str, Estimate], ...]  # (model, level, estimate)


@dataclass(frozen=True)
class WorstCase:
    """A model's worst variant, chosen on one half of the samples and measured on the other.

    `bound` is the simultaneous bound: the mean of no variant lies beyond it, with 95 % confidence.
    """

    metric: str
    model: str
    variant: str
    estimate: Estimate
    bound: float | None = None


@dataclass(frozen=True)
class VarianceShares:
    """How much of a score's variance lies between samples, between these wordings, and in chance.

    `shares` holds (part, share) by `stats.variance.PARTS`; without repeats the last is missing.
    """

    metric: str
    model: str
    shares: tuple[tuple[str, Estimate], ...]


@dataclass(frozen=True)
class ArmEffect:
    """What the told label does: a paired difference of two arms where the labels differ."""

    model: str
    metric: str
    contrast: str  # "gold - predicted, misclassified samples"
    difference: Estimate


ALL_MODELS, WITHIN_MODELS = "all", "within models"


@dataclass(frozen=True)
class Agreement:
    """How a scorer's verdicts agree with people's, beside people's agreement with each other.

    `group` is `ALL_MODELS`, `WITHIN_MODELS` (only claims of one model are compared with each other,
    so that what merely tells models apart earns nothing) or one model. `auc` is of supported
    against the rest. `gain` is the scorer's AUC less a baseline's, on the same claims. `people`
    marks one person against the others; `alpha` is then all people's agreement beyond chance.
    """

    measure: str
    group: str
    auc: Estimate
    kappa: Estimate
    n: int
    positives: int
    baseline: bool = False
    people: bool = False
    gain: Estimate | None = None
    alpha: Estimate | None = None


@dataclass(frozen=True)
class ClassifierPage:
    """The classifier's own page. `confusion[i][j]` counts true class i predicted as j.

    `ece` and `brier` are of its confidence in the label it chose; `None` without probabilities.
    `p_below_chance` is one-sided, of "predictions have nothing to do with the truth", small where
    they agree less. `exchanged` names pairs of classes that are mostly predicted as each other.
    """

    name: str
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    accuracy: Estimate
    balanced_accuracy: Estimate
    ece: Estimate | None
    brier: Estimate | None = None
    reliability: tuple[tuple[float, float, int], ...] = ()  # mean confidence, accuracy, count
    groups: tuple[tuple[str, str, Estimate], ...] = ()  # metadata key, value, balanced accuracy
    baselines: tuple[tuple[str, Estimate], ...] = ()  # name, balanced accuracy
    unlabelled: int = 0
    note: str = ""
    p_below_chance: float | None = None  # by permutation
    exchanged: tuple[tuple[str, str, float], ...] = ()  # classes, adjusted p


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
class StatementInPair:
    """A sentence of one answer as another answer has it: `kept`, `reversed`, or only here (`only`).

    `other` is the other's sentence that keeps or reverses it.
    """

    text: str
    state: Literal["kept", "reversed", "only"]
    other: str = ""


@dataclass(frozen=True)
class ComparedAnswers:
    """Two answers of one model to one sample, that differ in `axis` alone, by statements.

    What is only in the first was dropped, what is only in the second added.
    """

    axis: Literal["variant", "repeat", "arm"]
    first_cell: Cell
    second_cell: Cell
    first: tuple[StatementInPair, ...]
    second: tuple[StatementInPair, ...]

    def count(self, state: str) -> int:
        """How many statements of both are in this state."""
        return sum(s.state == state for s in (*self.first, *self.second))

    @property
    def level(self) -> tuple[str, str]:
        """What tells the two apart: their variants, arms or repeats."""
        one, two = (str(getattr(c, self.axis)) for c in (self.first_cell, self.second_cell))
        return one, two


# Why a sample is shown, those of most interest first.
WRONG_PREDICTION, CONTRADICTION = "wrong prediction", "an answer contradicts"
LOWEST_SCORE, DRAWN = "lowest score", "drawn by seed"


@dataclass(frozen=True)
class SampleView:
    """One sample with its prediction and a selection of its explanations and attributions.

    `reason` says why it is shown, `explanations_left` counts its cells that are not. `compared`
    holds pairs of its answers, those with most reversals first.
    """

    sample: Sample
    prediction: Prediction | None
    explanations: tuple[Explanation, ...]
    attributions: tuple[Attribution, ...] = ()
    attributions_left: int = 0
    reason: str = ""
    explanations_left: int = 0
    compared: tuple[ComparedAnswers, ...] = ()
    compared_left: int = 0


@dataclass(frozen=True)
class ExplainerSummary:
    """What one method was asked for, and how it went: what a reader of its pictures must know.

    `evaluations` is the mean a sample; `completeness_error` the largest, `None` for a method whose
    values are to sum to nothing.
    """

    method: str
    unit: str
    output: str
    removal: str
    samples: int
    attributions: int
    targets: tuple[str, ...]
    evaluations: float
    completeness_error: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConceptSummary:
    """A space of concepts, what it is worth by metric, and the samples of its examples."""

    space: ConceptSpace
    worth: Mapping[str, float | None]
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class GoldStatus:
    """How far the gold may be trusted: counts of records by status, and of claims."""

    records: int
    claims: int
    by_status: Mapping[str, int]
    sources_opened: int
    sources: int

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """Records by status, the least trusted first; one of unknown status is a draft."""
        known = {name: self.by_status.get(name, 0) for name in GOLD_STATUSES}
        known["draft"] += max(0, self.records - sum(known.values()))
        return tuple((name, count) for name, count in known.items() if count)


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
    variance: tuple[VarianceShares, ...]
    arm_effects: tuple[ArmEffect, ...]
    separations: tuple[SeparationResult, ...]
    agreements: tuple[Agreement, ...]
    classifier: ClassifierPage | None
    gold: GoldStatus
    views: tuple[SampleView, ...]
    explainers: tuple[ExplainerSummary, ...] = ()
    concepts: tuple[ConceptSummary, ...] = ()
    evaluation: Evaluation | None = None  # what the explainers are worth, where it was measured
    requirements: tuple[Requirement, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    failure_shares: tuple[FailureShare, ...] = ()
    anomalies: tuple[AnomalyCount, ...] = ()
    orderings: tuple[Ordering, ...] = ()

    @property
    def unmet(self) -> tuple[Requirement, ...]:
        """The bars of the suite's `require` that are not kept."""
        return tuple(one for one in self.requirements if not one.kept)
