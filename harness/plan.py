"""A suite becomes cells, and cells become requests, before anything is sent.

Everything that can be wrong with prompts, labels and gold shows here: each first turn of the whole
plan is rendered, once for all models and repeats that share it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from harness import plugins, templates
from harness.contracts import AnswersSome, Bound, NamesSamples, Observant, RecordsAnswers
from harness.gold import gold_text
from harness.identity import digest, draw, request_key, request_seed
from harness.inputs import Inputs
from harness.joins import Partners
from harness.plugins import blamed, create, takes
from harness.prompts import Variant
from harness.records import (
    Arm,
    Capabilities,
    Cell,
    HarnessError,
    Message,
    Request,
    Sample,
    Sampling,
    Span,
)
from harness.resolve import reaches
from harness.results import NOT_RECORDED
from harness.served import PASSES_ON
from harness.suite import FamilySpec, ModelSpec, Suite
from harness.templates import Rendered

NO_GOLD = "it has no answer to give, as there is no gold or attribution for it"
"""Why cells of a control are not planned."""

# What an evidence summary says where no unit speaks for the label, and how it goes on to what
# speaks against it.
_NOTHING = "nothing in particular"
_AGAINST = " (against it: "


@dataclass(frozen=True)
class Told:
    """What an arm tells: the label and its probabilities (empty where the classifier has none)."""

    label: str | None
    probabilities: Mapping[str, float]


@dataclass(frozen=True)
class PlannedCell:
    """A cell with the label it is told, its first request, and what is asked after the answer."""

    cell: Cell
    told: str | None
    key: str
    request: Request
    spans: tuple[Span, ...]
    later: tuple[Rendered, ...] = ()
    entry: str = ""  # whose answers these are: the model's entry, or that it shares them with


@dataclass
class Plan:
    """All cells, the backends that answer them, and what is left out and why."""

    cells: list[PlannedCell]
    backends: dict[str, Any]
    not_planned: Counter[tuple[str, str]]
    labels_without_gold: dict[str, list[str]]
    gold_without_label: dict[str, list[str]]
    notes: list[str] = field(default_factory=list)  # recorded answers and samples without a partner

    @property
    def requests(self) -> dict[tuple[str, str], Request]:
        """The first-turn requests by entry and key."""
        return {(planned.entry, planned.key): planned.request for planned in self.cells}

    def tokens(self) -> tuple[int, int]:
        """Roughly the tokens in (four characters each) and at most out, of first turns.

        Controls and recordings are asked of no model, so they count nothing.
        """
        requests = [request for request in self.requests.values() if request.cell is None]
        characters = sum(len(m.text) for request in requests for m in request.messages)
        return characters // 4, sum(request.sampling.max_tokens for request in requests)

    def unasked(self, suite: Suite) -> dict[str, str]:
        """The listed models without a single cell, and why."""
        asked = {planned.cell.model for planned in self.cells}
        return {
            spec.name: "; ".join(sorted(why for name, why in self.not_planned if name == spec.name))
            for spec in suite.models
            if not spec.control and spec.name not in asked
        }

    def cost(self, spec: ModelSpec) -> tuple[float, float] | None:
        """Roughly what a model's first turns cost: their prompts, and at most their answers.

        `None` where the suite gives the model no price.
        """
        if spec.price is None:
            return None
        requests = {p.key: p.request for p in self.cells if p.cell.model == spec.name}.values()
        characters = sum(len(m.text) for request in requests for m in request.messages)
        tokens_out = sum(request.sampling.max_tokens for request in requests)
        return characters / 4 * spec.price[0] / 1e6, tokens_out * spec.price[1] / 1e6


def make_plan(suite: Suite, inputs: Inputs) -> Plan:
    """Every cell of the suite with its first request. Sends nothing.

    Raises `HarnessError` for a template that does not render and for a control or backend that
    cannot be made.
    """
    backends = {spec.name: _backend(suite, spec, inputs) for spec in suite.models}
    plan = Plan([], backends, Counter(), *_coverage_of_gold(suite, inputs))
    renderer = _Renderer(suite, inputs)
    for spec in suite.models:
        cells, left_out = _cells(suite, spec, inputs, backends[spec.name], renderer)
        plan.cells.extend(cells)
        for reason, count in left_out.items():
            plan.not_planned[spec.name, reason] += count
        plan.notes += _without_partner(spec, backends[spec.name], inputs, plan, left_out)
    return plan


def _without_partner(
    spec: ModelSpec, backend: Any, inputs: Inputs, plan: Plan, left_out: Counter[str]
) -> list[str]:
    """Cells of a model without a recorded answer, and recorded answers without a cell."""
    if not isinstance(backend, NamesSamples):
        return []
    found = []
    written = {sample.id: sample.id for sample in inputs.samples}
    if any(backend.named[name] != name for name in backend.named):  # known by their texts
        written = {sample.id: sample.text for sample in inputs.samples}
    partners = Partners(written, backend.named)
    if left_out[NOT_RECORDED]:
        text = f"{left_out[NOT_RECORDED]:,} cells have no answer in {backend.table}"
        if partners.alone:
            text += f", which lacks {partners.missing('it')}"
        found.append(f"Model {spec.name}: {text}.")
    beyond = Partners(dict.fromkeys(inputs.known, ""), backend.named)
    if beyond.strangers:
        found.append(
            f"Model {spec.name}: {beyond.unused()} samples with an answer in {backend.table} are "
            "none of the source's."
        )
    cells = [planned.cell for planned in plan.cells if planned.cell.model == spec.name]
    unused = backend.unused(cells) if isinstance(backend, RecordsAnswers) else []
    if unused:
        found.append(
            f"Model {spec.name}: {len(unused):,} answers in {backend.table} are of no cell "
            f"('{unused[0]}' the first)."
        )
    return found


def next_turn(
    suite: Suite, request: Request, answer: str, follow_up: Rendered, seeded: bool
) -> Request:
    """The request of the turn after `request` was answered."""
    messages = (*request.messages, Message.of("assistant", answer), *follow_up.messages)
    following = replace(request, messages=messages, sampling=replace(request.sampling, seed=None))
    return with_seed(following, suite.seed) if seeded else following


def told(suite: Suite, arm: Arm, sample: Sample, inputs: Inputs) -> Told | str:
    """What an arm tells of a sample, or the reason why there is nothing to tell."""
    if arm == "none":
        return Told(None, {})
    prediction = inputs.predictions.get(sample.id)
    if prediction is None or prediction.label is None:
        return "the classifier names no label"
    probabilities = dict(prediction.probabilities)
    if arm == "predicted":
        return Told(prediction.label, probabilities)
    if sample.label is None:
        return "the sample has no true label"
    if arm == "gold":
        label = sample.label
    else:
        others = sorted(name for name in inputs.classes if name != sample.label)
        if not others:
            return "there is no other label"
        start = int(draw(suite.seed, sample.id, "wrong") * len(others))
        others = others[start:] + others[:start]  # ties and missing probabilities: a seeded draw
        label = max(others, key=lambda name: probabilities.get(name, 0.0))
    if probabilities:
        top = max(probabilities, key=lambda name: probabilities[name])
        probabilities.setdefault(label, 0.0)
        probabilities[top], probabilities[label] = probabilities[label], probabilities[top]
    return Told(label, probabilities)


def _coverage_of_gold(
    suite: Suite, inputs: Inputs
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Labels without gold and gold without label, by family."""
    missing, unused = {}, {}
    for spec in suite.families:
        gold = inputs.gold[spec.family.name]
        if gold.records and not gold.labels:
            continue  # sample-level gold speaks of samples, not of labels
        missing[spec.family.name] = sorted(inputs.labels - set(gold.labels))
        unused[spec.family.name] = sorted(set(gold.labels) - inputs.labels)
    return missing, unused


# --- cells --------------------------------------------------------------------------------


def _backend(suite: Suite, spec: ModelSpec, inputs: Inputs) -> Any:
    options = dict(spec.options)
    if not takes("backends", spec.backend, "revision", suite.folder):
        options.pop("revision", None)  # it stands in the request all the same
    backend = create("backends", spec.backend, suite.folder, model=spec.model, **options)
    who = f"model '{spec.name}': backend '{spec.backend}'"
    check_backend(who, backend)
    if isinstance(backend, Bound):
        with blamed(f"{who} failed in bind"):
            backend.bind(_Context(suite, inputs))
    return backend


def check_backend(who: str, backend: Any) -> None:
    """Raises `HarnessError` that begins with `who` for a backend that cannot be asked."""
    capabilities = getattr(backend, "capabilities", None)
    if not isinstance(capabilities, Capabilities):
        raise HarnessError(
            f"{who} has no attribute 'capabilities' that is a harness.records.Capabilities"
        )
    concurrency: Any = capabilities.concurrency
    if not isinstance(concurrency, int) or concurrency < 1:
        raise HarnessError(f"{who} allows {concurrency!r} requests at once; 1 is the least")
    if not any(callable(getattr(backend, name, None)) for name in ("generate", "generate_batch")):
        raise HarnessError(f"{who} has no method 'generate'")


@dataclass(frozen=True)
class _Context:
    """What a backend that answers from gold or a table may look at."""

    suite: Suite
    inputs: Inputs

    @property
    def seed(self) -> int:
        return self.suite.seed

    @cached_property
    def _samples(self) -> dict[str, Sample]:
        return {sample.id: sample for sample in self.inputs.samples}

    def sample(self, cell: Cell) -> Sample:
        return self._samples[cell.sample]

    def told(self, cell: Cell) -> str | None:
        arm: Any = cell.arm
        found = told(self.suite, arm, self.sample(cell), self.inputs)
        return None if isinstance(found, str) else found.label

    def gold_true(self, cell: Cell) -> Any:
        sample = self.sample(cell)
        gold = self.inputs.gold[cell.family]
        return gold.find(cell.aspect, sample=sample.id, label=sample.label)

    def gold_told(self, cell: Cell) -> Any:
        return self.inputs.gold[cell.family].find(cell.aspect, sample=None, label=self.told(cell))

    def gold_other(self, cell: Cell) -> Any:
        """Gold of another label (or sample), drawn by seed; the same for all of a cell's group."""
        true = self.gold_true(cell)
        if true is None:
            return None
        others = self.inputs.gold[cell.family].others(cell.aspect, true)
        label = self.sample(cell).label
        if true.sample is not None and label is not None:
            # Another sample of the same label may well say the same; another label's does not.
            labels = {name: sample.label for name, sample in self._samples.items()}
            others = [o for o in others if labels.get(o.sample or "", label) != label] or others
        if not others:
            return None
        return others[int(draw(self.seed, cell.sample, cell.aspect, "other") * len(others))]

    def evidence(self, cell: Cell) -> str | None:
        """What the sample's attribution says speaks for the label, where anything does."""
        return self._for_it.get(cell.sample)

    def evidence_other(self, cell: Cell) -> str | None:
        """The same of another sample that is told otherwise, drawn by seed."""
        own = self._for_it.get(cell.sample)
        others = sorted(set(self._for_it.values()) - {own})
        if own is None or not others:
            return None
        return others[int(draw(self.seed, cell.sample, "other evidence") * len(others))]

    @cached_property
    def _for_it(self) -> dict[str, str]:
        said = {name: text.partition(_AGAINST)[0] for name, text in self.inputs.evidence.items()}
        return {name: text for name, text in said.items() if text != _NOTHING}


class _Renderer:
    """Renders each prompt once, for all models and repeats that share it."""

    def __init__(self, suite: Suite, inputs: Inputs) -> None:
        self._suite = suite
        self._gold = inputs.gold
        self._evidence = inputs.evidence
        self._kept: dict[tuple[str, ...], list[Rendered] | str] = {}
        self._told = {
            (sample.id, arm): told(suite, arm, sample, inputs)
            for sample in inputs.samples
            for arm in suite.arms
        }

    def told(self, sample: Sample, arm: Arm) -> Told | str:
        return self._told[sample.id, arm]

    def render(
        self, spec: FamilySpec, variant: Variant, arm: Arm, sample: Sample, aspect: str
    ) -> list[Rendered] | str:
        place = (spec.family.name, variant.name, arm, sample.id, aspect)
        if place not in self._kept:
            self._kept[place] = self._render(spec, variant, arm, sample, aspect)
        return self._kept[place]

    def _render(
        self, spec: FamilySpec, variant: Variant, arm: Arm, sample: Sample, aspect: str
    ) -> list[Rendered] | str:
        template = variant.for_arm(arm)
        if template is None:
            return f"variant '{variant.name}' has no template for the arm 'none'"
        tells = self._told[sample.id, arm]
        if isinstance(tells, str):
            return tells
        context = _prompt_context(self._suite, spec, sample, aspect, tells)
        if variant.oracle:
            gold = self._gold[spec.family.name].find(aspect, sample=sample.id, label=sample.label)
            if gold is None:
                return f"variant '{variant.name}' shows gold evidence, and there is none"
            context["gold_evidence"] = gold_text(gold)
        if sample.id in self._evidence:
            context["evidence_summary"] = self._evidence[sample.id]
        missing = template.variables - set(context)
        try:
            return templates.render(template, context, f"{spec.family.name}/{variant.name}")
        except HarnessError as error:
            if missing & {"probability", "probabilities"}:
                return (
                    f"variant '{variant.name}' shows probabilities, and the classifier gives none"
                )
            raise HarnessError(
                f"family '{spec.family.name}', variant '{variant.name}', "
                f"sample '{sample.id}': {error}"
            ) from error


def _prompt_context(
    suite: Suite, spec: FamilySpec, sample: Sample, aspect: str, tells: Told
) -> dict[str, Any]:
    """What every template may see. There is no true label and no gold evidence in here."""
    context: dict[str, Any] = {
        "id": digest([suite.seed, sample.id])[:10],
        "input": sample.input,
        "aspect": aspect,
        "question": spec.family.question,
        "language": spec.family.language,
    }
    if tells.label is not None:
        context["label"] = tells.label
        if tells.probabilities:
            ordered = sorted(tells.probabilities.items(), key=lambda item: (-item[1], item[0]))
            context["probability"] = tells.probabilities.get(tells.label, 0.0)
            context["probabilities"] = dict(ordered)
    return context


def _cells(
    suite: Suite, spec: ModelSpec, inputs: Inputs, backend: Any, renderer: _Renderer
) -> tuple[list[PlannedCell], Counter[str]]:
    planned: list[PlannedCell] = []
    left_out: Counter[str] = Counter()
    answers = backend.answers if isinstance(backend, AnswersSome) else None
    capabilities = backend.capabilities
    revision, code = _revision(suite, spec, backend), _code(suite, spec, backend)
    for family, variant, arm, sample, aspect in _places(suite, inputs):
        rendered = renderer.render(family, variant, arm, sample, aspect)
        if isinstance(rendered, str):
            left_out[rendered] += suite.repeats
            continue
        first = _as_taken(rendered[0], variant, backend)
        if isinstance(first, str):
            left_out[first] += suite.repeats
            continue
        tells = renderer.told(sample, arm)
        assert isinstance(tells, Told)
        for repeat in range(1, suite.repeats + 1):
            cell = Cell(spec.name, sample.id, family.family.name, variant.name, arm, aspect, repeat)
            if answers is not None and not answers(cell):
                left_out[_no_answer(spec, backend, cell)] += 1
                continue
            request = _request(spec, backend, first.messages, variant, cell)
            request = replace(request, revision=revision, code=code)
            if capabilities.seed and request.cell is None:
                request = with_seed(request, suite.seed)
            key = request_key(request)
            later = () if getattr(backend, "reads_cell", False) else tuple(rendered[1:])
            planned.append(
                PlannedCell(cell, tells.label, key, request, first.spans, later, spec.entry)
            )
    return planned, left_out


def _no_answer(spec: ModelSpec, backend: Any, cell: Cell) -> str:
    """Why a backend that answers some cells only has no answer to this one."""
    if not spec.control:
        return NOT_RECORDED
    lacks = getattr(backend, "lacks", None)
    return (lacks(cell) if lacks is not None else None) or NO_GOLD


def _places(suite: Suite, inputs: Inputs) -> Iterator[tuple[FamilySpec, Variant, Arm, Sample, str]]:
    for spec in suite.families:
        for name in spec.variants:
            variant = spec.family.variant(name)
            for arm in suite.arms:
                for sample in inputs.samples:
                    for aspect in spec.aspects:
                        yield spec, variant, arm, sample, aspect


def _as_taken(rendered: Rendered, variant: Variant, backend: Any) -> Rendered | str:
    """The first turn as this backend takes it, or why it cannot."""
    shows_media = any(part.media for message in rendered.messages for part in message.parts)
    if not shows_media or backend.capabilities.images or getattr(backend, "reads_cell", False):
        return rendered
    if variant.media == "required":
        return "it takes no images, and the variant shows one"
    return _text_alone(rendered)


def _text_alone(first: Rendered) -> Rendered:
    """A first turn without its media; spans of what is left stand where it stands now."""
    kept = [[i for i, part in enumerate(m.parts) if part.media is None] for m in first.messages]
    messages = tuple(
        replace(message, parts=tuple(message.parts[i] for i in places))
        for message, places in zip(first.messages, kept, strict=True)
    )
    spans = tuple(
        replace(span, part=kept[span.message].index(span.part))
        for span in first.spans
        if span.part in kept[span.message]
    )
    return Rendered(messages, spans)


# Options of a plug-in that most likely say where something is, as those of built-in ones do.
_ADDRESSES = frozenset({"url", "host", "port", "address", "endpoint", "uri", "socket"})
_PLACES = _ADDRESSES | {"device"}


def _revision(suite: Suite, spec: ModelSpec, backend: Any) -> str | None:
    """What the backend knows of the model, else what the suite states."""
    own = getattr(backend, "revision", None)
    if own is None or not takes("backends", spec.backend, "revision", suite.folder):
        return spec.revision or own
    return str(own)


def _code(suite: Suite, spec: ModelSpec, backend: Any) -> str | None:
    """What answers, where that is a plug-in of which the suite states no revision.

    Its options are part of it, since what they change is known to the plug-in alone. What reaches
    a server, as a subclass of a built-in backend does, is not the model that answers there.
    """
    if spec.revision is not None:
        return None
    code = plugins.code("backends", spec.backend, suite.folder)
    if code is None:
        return None
    options = {k: v for k, v in spec.options.items() if not reaches(k) and k not in _PLACES}
    code = digest([code, options]) if options else code
    elsewhere = isinstance(backend, Observant) or spec.options.keys() & {*_ADDRESSES, "base_url"}
    return PASSES_ON + code if elsewhere else code


def _request(
    spec: ModelSpec,
    backend: Any,
    messages: tuple[Message, ...],
    variant: Variant,
    cell: Cell,
) -> Request:
    if getattr(backend, "reads_cell", False):
        # The answer follows from the cell and from what is read; sampling plays no part in it.
        return Request(
            backend=spec.backend,
            model=spec.model,
            messages=messages,
            sampling=Sampling(),
            schema=variant.schema,
            repeat=cell.repeat,
            cell=cell.id,
            reads=backend.reads(cell),
        )
    capabilities = backend.capabilities
    return Request(
        backend=spec.backend.rpartition(":")[2],
        model=getattr(backend, "model_id", spec.model),
        messages=messages,
        sampling=spec.sampling,
        schema=variant.schema if capabilities.schema else None,
        extras=getattr(backend, "extras", {}),
        repeat=cell.repeat,
    )


def with_seed(request: Request, run_seed: int) -> Request:
    """The request with the seed that follows from the run's and from the request itself."""
    seed = request_seed(run_seed, request)
    return replace(request, sampling=replace(request.sampling, seed=seed))
