"""What scorers ask of language models: a judge of their own, or the model that answered.

All requests go through the run's store, so nothing is asked twice. A model of the suite is asked
only how likely a given answer is, never for a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.contracts import Likelihood, Observant
from harness.identity import request_key
from harness.measure import blamed_scorer
from harness.plan import with_seed
from harness.plugin_code import code_of
from harness.records import Generation, HarnessError, Request, Subject
from harness.served import PASSES_ON

if TYPE_CHECKING:
    from harness.scoring import Run
    from harness.session import Traffic
    from harness.watch import Watch

_Told = Callable[[int, int], None] | None  # hears how many of the requests are answered


@dataclass(frozen=True)
class Models:
    """The suite's own models by name, for scorers that ask the model which answered a subject.

    They are had only while the suite runs: how a model is reached is never stored. `traffic` holds
    the run's limits and what it knows of its servers, which judges share.
    """

    backends: Mapping[str, Any] = field(default_factory=dict)
    traffic: Traffic | None = None


async def answers_to(
    run: Run,
    name: str,
    scorer: Any,
    work: Sequence[Subject],
    watch: Watch,
    models: Models,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[tuple[str, str], list[Generation]]:
    """What was answered to what a scorer asks about each subject: by its own model, or by the model
    that answered the subject.

    All that one model is asked, it is asked in one go, so that it is under way together.
    """
    asked: dict[str | None, dict[tuple[str, str], list[Request]]] = {}
    for subject in work:
        with blamed_scorer(name, subject):
            wanted = _requests(run, name, scorer, subject)
        if wanted:
            model = subject.cells[0].model if _asks_models(scorer) else None
            asked.setdefault(model, {})[subject.kind, subject.id] = wanted
    found: dict[tuple[str, str], list[Generation]] = {}
    for model, mine in asked.items():
        requests = [request for wanted in mine.values() for request in wanted]
        told = None if progress is None else partial(progress, f"ask {model or name}")
        if model is None:
            judge = await _ask_judge(run, name, scorer, requests, watch, models, told)
            answers = iter(judge)
        else:
            answers = iter(await _ask_model(run, model, requests, watch, models, told))
        found |= {place: [next(answers) for _ in wanted] for place, wanted in mine.items()}
    return found


def judge_entry(name: str) -> str:
    """Under which entry the answers to a scorer's own model are kept."""
    return f"scorer:{name}"


async def _ask_judge(
    run: Run,
    name: str,
    scorer: Any,
    requests: Sequence[Request],
    watch: Watch,
    models: Models,
    told: _Told,
) -> list[Generation]:
    from harness.generate import ask

    who, entry = f"scorer '{name}'", judge_entry(name)
    _adopt(run, entry, requests)
    return await ask(
        run.store,
        entry,
        scorer.backend,
        requests,
        who,
        watch,
        traffic=models.traffic,
        progress=told,
    )


def _adopt(run: Run, entry: str, requests: Sequence[Request]) -> None:
    """What a scorer asked when answers were kept by key alone."""
    if run.unowned:
        keys = {request_key(request) for request in requests}
        with run.store.transaction():
            run.store.adopt_asked(keys, entry)
            run.store.adopt_as(entry, {old: new for old, new in run.renamed.items() if new in keys})


async def _ask_model(
    run: Run, model: str, requests: Sequence[Request], watch: Watch, models: Models, told: _Told
) -> list[Generation]:
    """What a model of the suite answers, or has answered where it cannot be asked now."""
    from harness.generate import ask

    backend, entry = models.backends.get(model), run.manifest.entry(model)
    _adopt(run, entry, requests)
    if backend is None:
        stored = [run.store.generation(entry, request_key(request)) for request in requests]
        return [answer or Generation(outcome="not_run") for answer in stored]
    if not isinstance(backend, Likelihood):
        kind = type(backend).__name__
        why = f"the backend {kind} does not say how likely a given answer is"
        return [Generation(notes=(why,))] * len(requests)
    price = next((m.price for m in run.manifest.models if m.name == model), ())
    return await ask(
        run.store,
        entry,
        backend,
        requests,
        f"model '{model}'",
        watch,
        traffic=models.traffic,
        price=(price[0], price[1]) if price else None,
        progress=told,
    )


def _asks_models(scorer: Any) -> bool:
    return bool(getattr(scorer, "asks_models", False))


def _requests(run: Run, name: str, scorer: Any, subject: Subject) -> list[Request]:
    """What a scorer asks about a subject, seeded as a model's requests are.

    Raises where the scorer has no model to ask, and where it asks what is no request.
    """
    wanted = list(scorer.requests(subject))
    if not wanted:
        return []
    backend = getattr(scorer, "backend", None)
    if backend is None and not _asks_models(scorer):
        raise HarnessError(f"scorer '{name}' asks a model, but has no attribute 'backend' to ask")
    for i, request in enumerate(wanted):
        if not isinstance(request, Request):
            raise HarnessError(
                f"scorer '{name}' asks {request!r:.60} of {subject.id}, no harness.records.Request"
            )
        before = request
        if backend is not None:
            request = wanted[i] = _as_of(backend, request)
        if backend is not None and backend.capabilities.seed and request.sampling.seed is None:
            wanted[i] = with_seed(request, run.manifest.seed)
        elif backend is None and request.continuation is None:
            raise HarnessError(
                f"scorer '{name}' asks the models of the suite for new answers; it may ask them "
                "only how likely a given one is (a request with a continuation)"
            )
        code = code_of(backend) if backend is not None else None
        if code is not None and wanted[i].code is None and wanted[i].revision is None:
            code = PASSES_ON + code if isinstance(backend, Observant) else code
            wanted[i] = replace(wanted[i], code=code)
        key = request_key(wanted[i])  # raises for what no key can be made of
        if run.unowned:  # answers of an older schema, which are kept by the key that it gave
            seeded = wanted[i].sampling.seed is not None and before.sampling.seed is None
            before = with_seed(before, run.manifest.seed) if seeded else before
            run.renamed[request_key(before)] = key
    return wanted


def _as_of(backend: Any, request: Request) -> Request:
    """A request with what its judge is, which answers by its own model whatever the request says:
    another judge's answer is not this one's."""
    model = getattr(backend, "model_id", getattr(backend, "model", None))
    return replace(
        request,
        model=model if isinstance(model, str) else request.model,
        revision=request.revision or getattr(backend, "revision", None),
        extras={**getattr(backend, "extras", {}), **request.extras},
    )
