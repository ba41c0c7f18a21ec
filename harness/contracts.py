"""What each kind of part must offer, as protocols. Explainers are of three kinds, each beside its
engine: `harness.explainers.games.Perturbation`, `.gradients.Gradient` and `.inside.Inspection`.

A part of one's own needs no base class: any object with these attributes will do. Constructors
take the fields of the part's entry in the suite as keyword arguments. `tests/test_plugins.py` holds
every registered part against what is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from harness.records import (
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

    May also offer `gold() -> Iterable[GoldRecord]`, the sample-level gold it brings along, and
    `cluster_name`, what its samples' clusters are called (`forest`, `patient`).
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
class Classifier(Protocol):
    """What is being explained: entry point group `harness.classifiers`.

    `classes` are its class names in the order of its outputs (all there are, unless an attribute
    `classes_known` is false); `revision` is the hash of its
    weights or of the table it reads. Optional: `notes`, sentences about the last predictions that a
    person should read (texts cut short, say), and a static `train(samples, **options) -> str`.
    """

    classes: Sequence[str]
    revision: str

    def predict(self, samples: Sequence[Sample]) -> Sequence[Prediction]:
        """One prediction a sample, in the same order. Pure: batching changes nothing."""
        ...


@runtime_checkable
class Backend(Protocol):
    """An LLM, or what stands for one: entry point group `harness.backends`.

    The constructor takes `model: str` and the other fields of the model's entry as keywords.
    Optional attributes and methods, looked for by name:

    - `revision: str | None`: hash of weights or of the table read; part of the request.
    - `model_id: str`: what stands in the request instead of `model` (which may be a path).
    - `bind(context: BackendContext)`: called once before planning, for backends that answer
      from gold or from a table; such a backend has `reads_cell = True`.
    - `answers(cell) -> bool`: False where there is no answer to be had, so the cell is not planned.
    - `start()` and `stop()` coroutines around generation; `health()`, a coroutine that says before
      anything is sent why the model cannot be reached, or `None`.
    - `log_folder: Path`: set to the run's folder before `start`, for whoever keeps a log.
    - `place: str`: the server that answers. Models of different places are asked at the same time,
      those of one place, and all without, one after another.
    - `observe() -> Served`, a coroutine (`Observant`): what the server shows of the model, before
      anything is sent; kept beside its answers, never in a key.
    - `extras: Mapping`: what is wanted beyond the text; part of the request.
    - `loglikelihood(request) -> Generation`, a coroutine: the log-probabilities of a request's
      `continuation` behind its messages. Whoever has batches is given such requests in them.
    - `batches(requests) -> list of lists` and `generate_batch(requests) -> generations`, for models
      in process: batches are made from the plan and a batch is always run whole.
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


class BackendContext(Protocol):
    """What a backend that answers without a model may look at."""

    seed: int

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
    generations, then the answers to `requests`; a subject of which an answer failed stays unscored.

    Optional: `settings: Mapping` (part of the version); `ready()`, which raises `HarnessError`
    before anything is sent where the scorer could not score; `prepare(subjects, generations)`,
    called once with everything that is to be scored, to do expensive work in bulk; and `backend`, a
    Backend for the scorer's own requests, made in its constructor (`plugins.create("backends",
    "openai", model=...)`). That is checked before anything is sent and started and stopped once
    around all requests; its class, model, revision and extras are part of the version, what else of
    a judge matters (its sampling) belongs into `settings`. An answer `too_long` is final and is
    given to `score`.

    With `asks_models = True` in place of a backend, its requests go to the model that answered the
    subject, within the run's limits; each has a `continuation`. `reads` names what its subjects are
    to carry of the store: `requests`, `attributions`, `others` (see `Subject`).
    """

    metrics: Sequence[Metric]

    def requests(self, subject: Subject) -> Sequence[Request]: ...

    def score(self, subject: Subject, generations: Sequence[Generation]) -> Sequence[Score]: ...


@runtime_checkable
class UnitKind(Protocol):
    """How a text or an array is divided into what an attribution speaks about: entry point group
    `harness.units`.

    `reads` is `text` or `array`; `within` names the larger kind that its units lie in (of words:
    sentences), or `None`. A kind with settings has them as `settings`, part of an attribution's
    key. `split` is given a text, and returns the characters [start, end) of units that together are
    the text; or an array, channels last, and returns a label map of `array.shape[:-1]`: the numbers
    of units from 0, -1 where a place is in none and is never removed. `sample` is the sample's id.
    """

    reads: str
    within: str | None

    def split(self, content: Any, sample: str = "") -> Any: ...


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

    Optional: `draw_attribution(media, data, attribution) -> Picture`, for media that are no images:
    the medium with its units' values on it. Without it the units are drawn as bars.
    """

    mimes: tuple[str, ...]

    def draw(self, media: Media, data: bytes) -> Picture:
        """A picture of a medium, whose bytes are `data`; bounded in size, free of metadata."""
        ...
