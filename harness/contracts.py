"""What each kind of part must offer, as protocols. Explainers are of three kinds, each beside its
engine: `harness.explainers.games.Perturbation`, `.gradients.Gradient` and `.inside.Inspection`.

A part of one's own needs no base class: any object with these attributes will do. Constructors
take the fields of the part's entry in the suite as keyword arguments. An ability that not all parts
of a kind have is a small protocol of its own, listed in `OPTIONAL` and looked up by `isinstance`;
`harness check` names a method whose name is nearly that of one. `harness.checks` holds what a part
gives against what is written here, and `tests/test_plugins.py` every registered part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from harness.records import (
    Attribution,
    Capabilities,
    Cell,
    Generation,
    GoldRecord,
    Media,
    Metric,
    Prediction,
    Request,
    Sample,
    Score,
    Served,
    Subject,
)
from harness.views.picture import Picture


@runtime_checkable
class Source(Protocol):
    """Where samples come from: entry point group `harness.sources`.

    Optional: `SourceWithGold`, `NamesClusters`, `Notes`.
    """

    def samples(self) -> Iterable[Sample]:
        """The samples, in an order that never changes, each with an id of its own."""
        ...


@runtime_checkable
class SourceWithGold(Source, Protocol):
    """A source that brings sample-level gold along."""

    def gold(self) -> Iterable[GoldRecord]:
        """Gold records that name their sample."""
        ...


@runtime_checkable
class NamesClusters(Protocol):
    """A source that says what its samples' clusters are called: `forest`, `patient`."""

    @property
    def cluster_name(self) -> str: ...


@runtime_checkable
class Notes(Protocol):
    """A source or classifier that says what a person should read about what it gave last, in
    sentences: rows left out, texts cut short."""

    @property
    def notes(self) -> Sequence[str]: ...


@runtime_checkable
class NamesSamples(Protocol):
    """A classifier or backend that reads a table with a row for each sample.

    What finds no partner on the other side is counted and said.
    """

    @property
    def table(self) -> str:
        """The table's path, as a sentence names it."""
        ...

    @property
    def named(self) -> Mapping[str, str]:
        """By the sample's id, how the table writes it: the id, or the text it was made from."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """What is being explained: entry point group `harness.classifiers`.

    `classes` are its class names in the order of its outputs (all there are, unless it is one of
    `OpenClasses`); `revision` is the hash of all that its predictions follow from: its weights or
    the table it reads, and every option that changes what it predicts.

    Optional: `OpenClasses`, `Notes`, `NamesSamples`, `Trainable`.
    """

    classes: Sequence[str]
    revision: str

    def predict(self, samples: Sequence[Sample]) -> Sequence[Prediction]:
        """One prediction a sample, in the same order. Pure: batching changes nothing."""
        ...


@runtime_checkable
class OpenClasses(Protocol):
    """A classifier that may not know all its classes: labels of samples and predictions that are
    not among `classes` then join them, unless `classes_known` is true."""

    @property
    def classes_known(self) -> bool: ...


@runtime_checkable
class Trainable(Protocol):
    """A classifier whose class can be trained by `harness train`; `train` is static.

    Its keyword arguments are the fields of the suite's `classifier` and `train` entries.
    """

    @staticmethod
    def train(samples: Sequence[Sample], **options: Any) -> str:
        """A sentence about what was made."""
        ...


@runtime_checkable
class Backend(Protocol):
    """An LLM, or what stands for one: entry point group `harness.backends`.

    The constructor takes `model: str` and the other fields of the model's entry as keywords.

    Optional: `HasRevision`, `HasModelId`, `Extras`, `Bound`, `AnswersSome`, `NamesSamples`,
    `RecordsAnswers`, `Starts`, `Stops`, `Health`, `Observant`, `KeepsLog`, `HasPlace`,
    `Likelihood`, `Batches`.
    """

    capabilities: Capabilities

    async def generate(self, request: Request) -> Generation:
        """The answer. A failure comes back as an outcome with an error, never as an exception."""
        ...


@runtime_checkable
class Observant(Protocol):
    """A backend that can say what it sees of the model before the model is asked anything."""

    async def observe(self) -> Served:
        """What the server shows of the model; an empty record where it says nothing."""
        ...


@runtime_checkable
class HasRevision(Protocol):
    """A backend that knows the hash of its weights or of the table it reads; part of requests."""

    @property
    def revision(self) -> str | None: ...


@runtime_checkable
class HasModelId(Protocol):
    """A backend that says what stands in requests in place of `model`, which may be a path."""

    @property
    def model_id(self) -> str: ...


@runtime_checkable
class Extras(Protocol):
    """A backend that wants more than the text of its model; part of requests."""

    @property
    def extras(self) -> Mapping[str, Any]: ...


@runtime_checkable
class Bound(Protocol):
    """A backend that is told of gold, labels and samples once, before planning."""

    def bind(self, context: BackendContext) -> None: ...


@runtime_checkable
class ReadsCell(Protocol):
    """A backend that answers from gold or a table: what it says follows from the cell alone."""

    @property
    def reads_cell(self) -> bool: ...

    def reads(self, cell: Cell) -> str:
        """The hash of all that the answer to a cell is made from, the prompt apart."""
        ...


@runtime_checkable
class AnswersSome(Protocol):
    """A backend that has an answer to some cells only; the others are not planned."""

    def answers(self, cell: Cell) -> bool: ...


@runtime_checkable
class RecordsAnswers(NamesSamples, Protocol):
    """A backend whose answers were recorded: those of no cell are counted and said."""

    def unused(self, cells: Iterable[Cell]) -> Sequence[str]:
        """The answers that belong to none of these cells, as a sentence names them; answers to
        samples that none of the cells is about are left out."""
        ...


@runtime_checkable
class Starts(Protocol):
    """A backend with work to do before the first request."""

    async def start(self) -> None: ...


@runtime_checkable
class Stops(Protocol):
    """A backend with work to do after the last request."""

    async def stop(self) -> None: ...


@runtime_checkable
class Health(Protocol):
    """A backend that can tell before anything is sent why its model cannot be reached."""

    async def health(self) -> str | None: ...


@runtime_checkable
class KeepsLog(Protocol):
    """A backend that keeps a log; `log_folder` is set to the run's folder before `start`."""

    log_folder: Any


@runtime_checkable
class HasPlace(Protocol):
    """A backend of a server. Models of different places are asked at the same time; those of one
    place, and all without, one after another."""

    @property
    def place(self) -> str | None: ...


@runtime_checkable
class Likelihood(Protocol):
    """A backend that gives the log-probabilities of a request's `continuation` behind its messages.

    Whoever has batches is given such requests in them.
    """

    async def loglikelihood(self, request: Request) -> Generation: ...


@runtime_checkable
class Batches(Protocol):
    """A model in process. Batches are made from the plan, and a batch is always run whole."""

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]: ...

    def generate_batch(self, requests: Sequence[Request]) -> Sequence[Generation]: ...


class BackendContext(Protocol):
    """What a backend that answers without a model may look at."""

    @property
    def seed(self) -> int: ...

    def sample(self, cell: Cell) -> Sample: ...
    def told(self, cell: Cell) -> str | None: ...
    def gold_true(self, cell: Cell) -> GoldRecord | None: ...
    def gold_other(self, cell: Cell) -> GoldRecord | None: ...
    def gold_told(self, cell: Cell) -> GoldRecord | None: ...
    def evidence(self, cell: Cell) -> str | None: ...
    def evidence_other(self, cell: Cell) -> str | None: ...


@runtime_checkable
class Scorer(Protocol):
    """A family of measurement: entry point group `harness.scorers`.

    Both steps are pure. `requests` names what the scorer itself asks of an LLM (a judge); it may
    quote `subject.generations`, the last generation of each of `subject.cells`. All its requests go
    to the scorer's attribute `backend` together, through the same engine and store: they are seeded
    like a model's, and what is stored is not asked again. `score` is given the subject's own
    generations, then the answers to `requests`; a subject of which an answer failed stays unscored,
    and an answer `too_long` is final and is given to `score`.

    Optional: `HasSettings`, `HasFingerprint`, `Ready`, `Prepares`, `Judges`, `AsksModels`,
    `ReadsMore`.
    """

    metrics: Sequence[Metric]

    def requests(self, subject: Subject) -> Sequence[Request]: ...

    def score(self, subject: Subject, generations: Sequence[Generation]) -> Sequence[Score]: ...


@runtime_checkable
class HasSettings(Protocol):
    """A scorer or unit with settings: part of a scorer's version, of an attribution's key."""

    @property
    def settings(self) -> Mapping[str, Any]: ...


@runtime_checkable
class HasFingerprint(Protocol):
    """A scorer that embeds or judges with a model; what names it is part of the version."""

    @property
    def fingerprint(self) -> Mapping[str, Any]: ...


@runtime_checkable
class Ready(Protocol):
    """A scorer that raises `HarnessError` before anything is sent where it could not score."""

    def ready(self) -> None: ...


@runtime_checkable
class Prepares(Protocol):
    """A scorer that does expensive work in bulk: called once with all that is to be scored."""

    def prepare(
        self, subjects: Sequence[Subject], generations: Sequence[Sequence[Generation]]
    ) -> None: ...


@runtime_checkable
class Judges(Protocol):
    """A scorer with a backend for its own requests, made in its constructor
    (`plugins.create("backends", "openai", model=...)`).

    That is checked before anything is sent, and started and stopped once around all requests. Its
    class, model, revision and extras are part of the version; what else of a judge matters (its
    sampling) belongs into `settings`.
    """

    @property
    def backend(self) -> Any: ...


@runtime_checkable
class AsksModels(Protocol):
    """A scorer whose requests go to the model that answered the subject, within the run's limits;
    each has a `continuation`."""

    @property
    def asks_models(self) -> bool: ...


@runtime_checkable
class ReadsMore(Protocol):
    """A scorer that names what its subjects are to carry of the store: `requests`,
    `attributions`, `others` (see `Subject`)."""

    @property
    def reads(self) -> Sequence[str]: ...


@runtime_checkable
class UnitKind(Protocol):
    """How a text or an array is divided into what an attribution speaks about: entry point group
    `harness.units`.

    `reads` is `text`, `array` or `tokens` (then nothing is split); `within` names the larger kind
    that its units lie in (of words: sentences), or `None`. `split` is given a text, and returns the
    characters [start, end) of units, in order, that together are the text; or an array, channels
    last, and returns a label map of `array.shape[:-1]`: the numbers of units from 0 without a gap,
    -1 where a place is in none and is never removed. `sample` is the sample's id.

    Optional: `HasSettings`, `LeavesGaps`.
    """

    reads: str
    within: str | None

    def split(self, content: Any, sample: str = "") -> Any: ...


@runtime_checkable
class LeavesGaps(Protocol):
    """A unit of texts whose units are not all of the text; what lies between is never removed."""

    @property
    def gaps(self) -> bool: ...


@runtime_checkable
class EntailmentModel(Protocol):
    """Scores pairs of premise and hypothesis; the one interface behind claim coverage.

    `fingerprint` names code, weights and settings, and is part of a scorer's version.
    """

    fingerprint: Mapping[str, str]

    def entailment(self, pairs: Sequence[tuple[str, str]]) -> Sequence[PairScore]: ...


class PairScore(Protocol):
    """How far a premise supports, and how far it contradicts, a hypothesis; both in [0, 1]."""

    @property
    def support(self) -> float: ...

    @property
    def contradiction(self) -> float: ...


@runtime_checkable
class View(Protocol):
    """How media of one modality are drawn: entry point group `harness.views`.

    `mimes` are beginnings of media types (`audio/`, `image/svg+xml`); of several views that fit,
    the one with the longest beginning draws. The constructor takes nothing.

    Optional: `DrawsAttributions`.
    """

    mimes: tuple[str, ...]

    def draw(self, media: Media, data: bytes) -> Picture:
        """A picture of a medium, whose bytes are `data`; bounded in size, free of metadata."""
        ...


@runtime_checkable
class DrawsAttributions(Protocol):
    """A view of media that are no images: draws the medium with its units' values on it. Without it
    the units are drawn as bars."""

    def draw_attribution(self, media: Media, data: bytes, attribution: Attribution) -> Picture: ...


REQUIRED: Mapping[str, type] = {
    "sources": Source, "classifiers": Classifier, "backends": Backend, "scorers": Scorer,
    "units": UnitKind, "views": View,
}  # fmt: skip
"""What every part of a kind has."""

OPTIONAL: Mapping[str, tuple[type, ...]] = {
    "sources": (SourceWithGold, NamesClusters, Notes),
    "classifiers": (OpenClasses, Notes, NamesSamples, Trainable),
    "backends": (
        HasRevision, HasModelId, Extras, Bound, ReadsCell, AnswersSome, NamesSamples,
        RecordsAnswers, Starts, Stops, Health, Observant, KeepsLog, HasPlace, Likelihood, Batches,
    ),
    "scorers": (HasSettings, HasFingerprint, Ready, Prepares, Judges, AsksModels, ReadsMore),
    "units": (HasSettings, LeavesGaps),
    "views": (DrawsAttributions,),
}  # fmt: skip
"""What a part of a kind may have besides."""


def attributes(protocol: type) -> frozenset[str]:
    """The attributes and methods that a protocol itself names."""
    named = {*vars(protocol), *vars(protocol).get("__annotations__", {})}
    return frozenset(name for name in named if not name.startswith("_"))
