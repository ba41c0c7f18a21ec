"""The vocabulary of the harness as frozen records, and nothing else.

Every stage takes these and returns these; no dictionary travels further than the file that
parsed it. Records hold plain values only (text, numbers, tuples, mappings), so they can be
stored as JSON, sent to another process, and compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

Arm = Literal["predicted", "gold", "wrong", "none"]
Importance = Literal["must", "nice", "must_not"]
Role = Literal["system", "user", "assistant"]
GoldRecordStatus = Literal["draft", "reviewed", "disputed", "constructed"]
SubjectKind = Literal[
    "classifier", "prediction", "generation", "cell", "group", "attribution", "concept_space"
]
Outcome = Literal[
    "ok", "refusal", "truncated", "empty", "invalid_format",  # the model's: scored at their worth
    "transport", "server", "too_long",  # unscorable: they lower coverage
    "not_run",
]  # fmt: skip

MODEL_OUTCOMES: tuple[Outcome, ...] = ("refusal", "truncated", "empty", "invalid_format")
UNSCORABLE: tuple[Outcome, ...] = ("transport", "server", "too_long")
ARMS: tuple[Arm, ...] = ("predicted", "gold", "wrong", "none")
OTHERS = 4
"""How many other samples' explanations stand beside one: enough to average over, soon read."""


class HarnessError(Exception):
    """A mistake that a person can mend: one sentence with what, where, and what to do."""

    exit_code = 2


class InfrastructureError(HarnessError):
    """Something outside the suite failed: a server that is not there, a full disk."""

    exit_code = 4


# --- what is classified -------------------------------------------------------------------


@dataclass(frozen=True)
class Media:
    """One picture, sound or film, known by the SHA-256 of its bytes.

    Exactly one of `data` and `path` is set; neither takes part in comparison, because the
    same bytes are the same medium wherever they lie.
    """

    sha256: str
    mime: str
    data: bytes | None = field(default=None, compare=False, repr=False)
    path: str | None = field(default=None, compare=False, repr=False)

    def read(self) -> bytes:
        """The bytes themselves."""
        if self.data is not None:
            return self.data
        if self.path is None:
            raise HarnessError(f"medium {self.sha256[:12]} has neither bytes nor a path")
        return Path(self.path).read_bytes()


@dataclass(frozen=True)
class Part:
    """One piece of content: text, or a medium of any modality."""

    text: str = ""
    media: Media | None = None


@dataclass(frozen=True)
class Evidence:
    """The known reason for a label; never visible to a prompt template.

    `kind` is `spans` (tuple of (start, end) characters), `mask` (a `Media`), `segments`
    (tuple of (start, end) seconds), `edges` or `values`. A `landmark` is a mask (a `Media`) of
    what every sample has: known, and no reason for a label.
    """

    kind: str
    name: str
    value: Any


@dataclass(frozen=True)
class Sample:
    """One input to be classified. `cluster` is the largest cause it shares with others."""

    id: str
    input: tuple[Part, ...]
    label: str | None = None
    evidence: tuple[Evidence, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    cluster: str | None = None

    @property
    def text(self) -> str:
        """The text parts of the input, joined."""
        return "\n".join(part.text for part in self.input if part.media is None)

    @property
    def media(self) -> tuple[Media, ...]:
        """The media parts of the input."""
        return tuple(part.media for part in self.input if part.media is not None)


@dataclass(frozen=True)
class Prediction:
    """What a classifier said of a sample.

    `kind` is `distribution` (then `probabilities` sum to 1), `ranking`, `sequence`, `array` or
    `text` (then `output` holds it; probabilities that are independent of each other are an array
    by class name). `label` is the class told by the arm `predicted`.
    """

    sample: str
    label: str | None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    kind: Literal["distribution", "ranking", "sequence", "array", "text"] = "distribution"
    output: Any = None


# --- gold ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class GoldSource:
    """Where a claim comes from. `opened` is true only where the text was really read."""

    id: str
    url: str | None = None
    quote_sha256: str | None = None
    opened: bool = False


@dataclass(frozen=True)
class Claim:
    """One atomic statement of expert gold."""

    id: str
    text: str
    importance: Importance = "must"
    polarity: Literal["affirmed", "negated"] = "affirmed"
    hedged: bool = False
    paraphrases: tuple[str, ...] = ()
    contradiction: str | None = None
    sources: tuple[GoldSource, ...] = ()


@dataclass(frozen=True)
class GoldRecord:
    """Expert knowledge of one (label, aspect), or of one (sample, aspect).

    Exactly one of `label` and `sample` is set. `text` is a whole explanation where experts
    wrote one; otherwise the claims, joined, stand for it. `status` is how far the record may be
    trusted: `constructed` is gold of a generator, exact because the sample was made from it.
    """

    aspect: str
    claims: tuple[Claim, ...]
    label: str | None = None
    sample: str | None = None
    text: str | None = None
    status: GoldRecordStatus = "draft"
    reviews: tuple[Mapping[str, Any], ...] = ()
    note: str | None = None


# --- why the classifier decided -----------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    """What one value of an attribution speaks about.

    `text` is what a reader is shown of it. In a text part, `start` and `end` are its characters
    [start, end) of that part; in an array, its first and last steps along a single axis, or `box`
    is (top, left, height, width) around it. `part` is the place of the input's part.
    """

    text: str = ""
    start: int | None = None
    end: int | None = None
    box: tuple[int, int, int, int] | None = None
    part: int = 0


@dataclass(frozen=True)
class Segmentation:
    """Which unit each place of an array belongs to: a label map as run lengths, in C order.

    `runs` holds label, length, label, length, ...; a label is a place in the attribution's units,
    or -1 where a place is in none. `shape` is that of the array as the classifier was given it.
    `extent` is what of an image the array shows: top, left, bottom and right as shares of its
    height and width, beyond 0 and 1 where the array has a border; `None` where it shows just the
    image.
    """

    shape: tuple[int, ...]
    runs: tuple[int, ...]
    part: int = 0
    extent: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Pair:
    """The interaction of two units, `first` and `second` being their places in the attribution's
    units: what both add together beside what each adds."""

    first: int
    second: int
    value: float
    standard_error: float | None = None


@dataclass(frozen=True)
class Attribution:
    """A value per unit of one sample, for one target, by one method.

    Two are compared only at equal `output` (`logit`, `probability`, `log_probability`; for a
    concept `activation`) and `removal` (`mask`, `delete`, `baseline`, `background`). A value is
    `None` where the classifier did not see the unit. `full` and `empty` are the target's values
    with every unit kept and with every unit removed. `completeness_error` is |sum of values -
    (full - empty)| over the larger of |full - empty| and 1 % of the range of the outputs, for
    methods whose values are to sum to that. `held` is, for a method that hands out `full` whole
    (relevance propagation), what no unit has of it, by what has it: values and these sum to
    `full`. `pairs` holds interactions of every two units that the classifier saw, counted in those
    sums, and nothing where the method gives none.
    `classifier` and `input` are hashes of the classifier's weights and of the sample.
    """

    sample: str
    method: str
    unit: str
    target: str
    output: str
    removal: str
    units: tuple[Unit, ...] = field(repr=False)
    values: tuple[float | None, ...] = field(repr=False)
    standard_errors: tuple[float | None, ...] | None = field(default=None, repr=False)
    full: float | None = None
    empty: float | None = None
    completeness_error: float | None = None
    evaluations: int = 0
    reduce: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    classifier: str = ""
    input: str = ""
    segmentation: tuple[Segmentation, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    held: Mapping[str, float] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class ConceptExample:
    """A place where a concept is as strong as `strength`. `shape` is the height and width of the
    array that the unit's box counts in, for images."""

    sample: str
    unit: Unit
    strength: float
    shape: tuple[int, int] | None = None


@dataclass(frozen=True)
class ConceptSpace:
    """Concepts that were fitted to what the module `layer` of a classifier says of units (`at`).

    `id` hashes all that the space follows from. `effects` are each concept's mean importance for
    `target` (gradient x concept, in units of the output); `examples`, in the order of `concepts`,
    the places where each is strongest. The directions lie in the run's folder, in `file`.
    """

    id: str
    kind: str
    layer: str
    at: str
    concepts: tuple[str, ...]
    rows: int
    width: int
    samples: int
    target: str
    file: str
    effects: Mapping[str, float] = field(default_factory=dict)
    examples: tuple[tuple[ConceptExample, ...], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    classifier: str = ""
    notes: tuple[str, ...] = ()


# --- what is asked ------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Cell:
    """What is planned, scored and counted."""

    model: str
    sample: str
    family: str
    variant: str
    arm: str
    aspect: str
    repeat: int

    @property
    def id(self) -> str:
        """`model/sample/family/variant/arm/aspect/repeat`, each part percent-encoded."""
        return _cell_id(self)

    @classmethod
    def parse(cls, cell_id: str) -> Cell:
        """The cell with this id; raises `HarnessError` where it is none."""
        parts = cell_id.split("/")
        if len(parts) != 7 or not parts[6].isdigit():
            raise HarnessError(
                f"'{cell_id}' is no cell id; it reads model/sample/family/variant/arm/aspect/repeat"
            )
        model, sample, family, variant, arm, aspect = (unquote(part) for part in parts[:6])
        return cls(model, sample, family, variant, arm, aspect, int(parts[6]))


@lru_cache(maxsize=1 << 18)  # a run asks for each of its cells' ids dozens of times
def _cell_id(cell: Cell) -> str:
    parts = (cell.model, cell.sample, cell.family, cell.variant, cell.arm, cell.aspect)
    return "/".join([*(quote(part, safe=" :;,.+=@()") for part in parts), str(cell.repeat)])


@dataclass(frozen=True)
class Span:
    """Where a template variable stands in a message: characters [start, end) of a text part."""

    variable: str
    message: int
    part: int
    start: int
    end: int


@dataclass(frozen=True)
class Message:
    """One message of a conversation."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "\n".join(part.text for part in self.parts if part.media is None)

    @classmethod
    def of(cls, role: Role, text: str) -> Message:
        """A message of one text part."""
        return cls(role, (Part(text),))


@dataclass(frozen=True)
class Sampling:
    """How a generation is drawn. `None` leaves a setting to the backend."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Request:
    """Everything that determines a generation; `identity.request_key` hashes it.

    `extras` are what is wanted beyond the text (`{"logprobs": 5}`). `cell` and `reads` are set
    only for backends that answer from a table or from gold: the cell asked for and the hash of
    what they read; `code` is the hash of the code of a plug-in that answers. With a `continuation`,
    token ids of an answer, nothing is drawn: what is wanted are the log-probabilities of these
    tokens after the messages.
    """

    backend: str
    model: str
    messages: tuple[Message, ...]
    revision: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    schema: Mapping[str, Any] | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    repeat: int = 1
    cell: str | None = None
    reads: str | None = None
    continuation: tuple[int, ...] | None = None
    code: str | None = None


@dataclass(frozen=True)
class Generation:
    """What a backend returned for a request.

    `reasoning` is kept apart and never scored. `error` is one sentence, set with the outcomes
    `transport`, `server` and `too_long`; `failure` is its kind, in a few words that many share
    (`HTTP 503`, `connection refused`). `seconds` is left out of exports and comparisons.
    `logprobs` are natural logarithms under the model itself, one for each of `token_ids`; where a
    request has a `continuation` these are its tokens, and a backend that cannot say returns no
    `logprobs` and the reason as its last note.
    """

    text: str = ""
    reasoning: str | None = None
    outcome: Outcome = "ok"
    error: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_token_ids: tuple[int, ...] | None = None
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    served_model: str | None = None
    fingerprint: str | None = None
    notes: tuple[str, ...] = ()
    failure: str | None = None
    seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Served:
    """What was seen of the model that answers, before it is asked; never part of a key or seed.

    `proof` identifies it (a stated revision, a hash of weights, a plug-in's code, a digest that
    the server gives): equal proofs are one model. `signs` are what a server shows of it (`root`,
    hashed; `parent`, `owner`, `size`, `parameters`, `length`, `quantisation`, `served_model`,
    `build`): equal signs prove nothing, some that differ tell models apart.
    """

    proof: str | None = None
    signs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do; a plan never asks for more.

    `concurrency` is how many requests may be under way at once.
    """

    seed: bool = False
    logprobs: bool = False
    schema: bool = False
    images: bool = False
    system_role: bool = True
    temperature: bool = True
    concurrency: int = 8


# --- what is measured ---------------------------------------------------------------------


@dataclass(frozen=True)
class Separation:
    """A promise a metric makes: control `better` beats control `worse` by more than `margin`."""

    better: str
    worse: str
    margin: float = 0.0


def _in_words(name: str) -> str:
    """A name as people would say it: `recall_vs_true` and `recallVsTrue` are "recall vs true"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", " ", str(name))
    words = re.sub(r"[\s_.\-]+", " ", spaced).split()
    return " ".join(w if w.isupper() else w[:1].lower() + w[1:] for w in words) or str(name)


NOT_VALIDATED = ", not validated"  # ends the title of a metric that people do not bear out


@dataclass(frozen=True)
class Metric:
    """What a scorer measures, as data.

    `range` is (lowest, highest), `None` where open. `direction` is `higher` or `lower` is
    better, `None` for a description. `axis` says along which cell field a `group` subject
    varies (`variant`, `repeat`, `arm`). `baseline` marks what must not be taken for validity.
    `headline` metrics open the report: `accuracy`, `stability` or `faithfulness`, which is above 0
    where an explanation follows what the classifier used. `balanced` names two fields of a
    score's detail, (within, over): the metric's mean then gives every level of `over` the same
    weight inside each group of `within`, where it has several.
    `floor` names the scorer's metric that is the same among repeats of one prompt, where only the
    difference of the two says anything: then a bar can be set for that difference alone.
    `title` says in a few plain words what is measured, and stands beside the id wherever people
    read it ("right places named"); a metric without one gets its name in words. `not_validated`
    says, where people's judgement does not bear a metric out, what is known of it: one line, which
    the report gives as a reason for doubt. The title of such a metric ends in "not validated".
    """

    name: str
    subject: SubjectKind = "cell"
    range: tuple[float | None, float | None] = (0.0, 1.0)
    direction: Literal["higher", "lower"] | None = "higher"
    separates: tuple[Separation, ...] = ()
    axis: Literal["variant", "repeat", "arm"] | None = None
    baseline: bool = False
    headline: Literal["accuracy", "stability", "faithfulness"] | None = None
    balanced: tuple[str, str] | None = None
    floor: str | None = None
    about: str = ""
    title: str = ""
    not_validated: str = ""

    def __post_init__(self) -> None:
        title = self.title or _in_words(self.name)
        if self.not_validated and not title.endswith(NOT_VALIDATED):
            title += NOT_VALIDATED
        object.__setattr__(self, "title", title)


@dataclass(frozen=True)
class Subject:
    """What a score is about, with everything a scorer may look at.

    `cells` holds one cell, or a group's. `gold_true` and `gold_told` are the gold of the true
    label (or of the sample) and of the label in the prompt; `None` where there is none.
    `attributions` and `concept_spaces` are references into the store. What is expensive to look up
    is there only for scorers whose `reads` names it: `requests` and `spans`, the last request of
    each cell and where template variables stand in it; `attributions` with the records behind them,
    `attributed`, those of the sample in the order they came; `others`, explanations by the same
    model of up to `OTHERS` other samples that were told the same label, asked in the same way.
    """

    kind: SubjectKind
    id: str
    cells: tuple[Cell, ...]
    sample: Sample | None = None
    prediction: Prediction | None = None
    told: str | None = None
    labels: tuple[str, ...] = ()
    gold_true: GoldRecord | None = None
    gold_told: GoldRecord | None = None
    schema: Mapping[str, Any] | None = None
    generations: tuple[Generation, ...] = ()  # the last of each cell, in the order of `cells`
    attributions: tuple[str, ...] = ()
    concept_spaces: tuple[str, ...] = ()
    requests: tuple[Request, ...] = ()
    spans: tuple[tuple[Span, ...], ...] = ()
    attributed: tuple[Attribution, ...] = ()
    others: tuple[Generation, ...] = ()


@dataclass(frozen=True)
class Score:
    """One number a scorer gives; `value` is `None` where the metric is not applicable.

    `detail` is JSON kept beside the number (the claims and their verdicts, say).
    """

    metric: str
    value: float | None
    detail: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class StoredScore:
    """A score as it stands in the store: append-only, never without its version.

    `of` is a hash of the generations that it was made of: a group that was half answered is
    scored again when the rest has come.
    """

    subject_kind: SubjectKind
    subject: str
    metric: str
    scorer: str
    version: str
    value: float | None
    detail: Mapping[str, Any] | None = None
    of: str = ""
