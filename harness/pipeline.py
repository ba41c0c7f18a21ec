"""The stages in order, each resumable: classify, plan, generate, score, report.

The same command continues a run; a finished run says so. Whatever ends a run, what was answered
is stored, and nothing stored is asked for again.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness import private, requirements, serial, terminal
from harness.asking import Models
from harness.contracts import Ready
from harness.drawing.words import short
from harness.ending import UNSCORED, Ending
from harness.generate import generate
from harness.identity import attribution_key, digest, file_hash
from harness.inputs import Inputs, current_samples_hash, limit, prepare, samples_hash, samples_of
from harness.manifest import Manifest, file_hashes
from harness.outcomes import cell_outcome
from harness.plan import Plan, PlannedCell, make_plan
from harness.plugins import blamed
from harness.records import (
    UNSCORABLE,
    Attribution,
    ConceptSpace,
    Generation,
    HarnessError,
    Request,
    StoredScore,
)
from harness.results import Failure
from harness.scoring import Run, make_scorers, score, version
from harness.server_gate import Patience
from harness.session import NotStopped, OnAnswer, Traffic, tasks
from harness.store import Store
from harness.store.database import disk
from harness.suite import EVIDENCE_CONTROLS, ExplainSpec, ModelSpec, PartSpec, Suite
from harness.watch import Watch, left_elsewhere

if TYPE_CHECKING:
    import pandas as pd

    from harness.explainers.explanation import Explanation
    from harness.explainers.metrics.evaluation import Evaluation
    from harness.results import Requirement, Results


class Progress(Protocol):
    """Hears how far a run is; the command line draws it."""

    def stage(self, name: str, total: int, done: int = 0) -> None: ...
    def answer(self, outcome: str) -> None: ...
    def advance(self, name: str, done: int, total: int) -> None: ...
    def note(self, text: str) -> None: ...


class Silent:
    """Progress for whoever does not look."""

    def stage(self, name: str, total: int, done: int = 0) -> None: ...
    def answer(self, outcome: str) -> None: ...
    def advance(self, name: str, done: int, total: int) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass(frozen=True, repr=False)
class RunResult:
    """A run as `harness.run` returns it."""

    folder: Path
    verdict: tuple[str, ...]  # the report's sentences, what it warns of last
    ending: Ending
    failures: tuple[Failure, ...] = ()
    max_unscored: float | None = None  # what the suite allows

    def __repr__(self) -> str:
        verdict = (f"  {short(sentence, 110)}" for sentence in self.verdict)
        return terminal.page([f"Run in {self.folder}", *verdict, f"report: {self.report}"])

    @property
    def unscorable(self) -> float:
        """Share of the models' cells that failed or were too long, controls left out."""
        return self.ending.unscorable / max(self.ending.cells, 1)

    @property
    def not_run(self) -> int:
        """How many of the models' cells are not asked yet, controls left out."""
        return self.ending.not_run

    @property
    def exit_code(self) -> int:
        """What `harness run` exits with: 0, or the first that holds of 1, 4, 6, 5 and 3."""
        return self.ending.code(self.max_unscored)

    @cached_property
    def results(self) -> Results:
        """Everything that the report shows, computed from the store."""
        from harness.analysis import analyse

        with Store.read(self.folder) as store:
            run = Run(store)
            scorers = _scorers_of(run.manifest)
            return analyse(run, scorers)

    @property
    def scores(self) -> pd.DataFrame:
        """One row a score: subject, metric, value, version, and the model, sample, family, variant,
        arm, aspect and repeat that the subject is of, empty where it has none."""
        from harness.export import scores_table

        with Store.read(self.folder) as store:
            return scores_table(store)

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"


def run(
    suite: Suite,
    *,
    out: str | Path | None = None,
    samples: int | None = None,
    only_failed: bool = False,
    fresh: bool = False,
    reuse: Sequence[str | Path] = (),
    accept_change: bool = False,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> RunResult:
    """Runs a suite to its report, or continues it.

    `out` is the run's folder, `samples` the number of samples to take, `only_failed` asks again
    only for what failed or was too long, `fresh` takes nothing from an earlier run. `reuse` names
    runs whose answers to the same requests are taken over, whoever gave them; `accept_change`
    continues although another model answers than before. `patience` says how long servers that are
    away are waited for. Raises `HarnessError`, and `KeyboardInterrupt` with everything answered so
    far stored; a server that is away raises nothing, `exit_code` of the result says it.
    """
    progress = progress or Silent()
    folder = run_folder(suite, out)
    for other in reuse:
        Store.read(Path(other)).close()  # refuses what is no run
    if (folder / "run.sqlite").exists() and not fresh:
        finished = _finished(suite, folder, samples)
        too_long = only_failed and finished is not None and _too_long(finished)
        if finished is not None and not too_long:
            progress.note(f"{folder} is finished; nothing is asked again")
            if not _page_is_whole(folder):
                progress.note("its report was missing or not whole, and is written again")
                return report(folder)
            return finished
    inputs = _inputs(suite, samples, folder, fresh, progress)
    plan = make_plan(suite, inputs)
    if not plan.cells:
        raise NothingToAsk.of(suite, plan)
    scorers = make_scorers(suite.scorers, suite.folder)
    for warning in requirements.check(suite, inputs.samples, scorers):
        progress.note(warning)
    for name, scorer in scorers.items():
        if isinstance(scorer, Ready):
            with blamed(f"scorer '{name}' is not ready"):
                scorer.ready()
    manifest = Manifest.of(suite, inputs, plan)
    if fresh:
        _set_aside(folder)
    with Store.write(folder) as store:
        _refuse_other(store, suite)
        lost = _lay_down(store, suite, manifest, inputs, plan, samples)
        for warning in (*manifest.warnings, *lost):
            progress.note(warning)
        traffic = Traffic.within(suite.max_time, suite.max_cost, patience, progress.note)
        watch = Watch(
            store, progress.note, {spec.entry for spec in suite.models},
            tuple(map(Path, reuse)), fresh, accept_change,
        )  # fmt: skip
        asyncio.run(_generate_all(suite, plan, store, traffic, only_failed, watch, progress))
        return finish(store, progress, watch=watch, models=Models(plan.backends, traffic))


def run_folder(suite: Suite, out: str | Path | None = None) -> Path:
    """Where a suite's run lies: as the command says, else `reports/<suite>-<hash>`.

    A run that was begun before the hash left out what asks nothing keeps the folder that it has.
    """
    if out is not None:
        return Path(out)
    folder = suite.run_folder
    if folder.exists():
        return folder
    for path in sorted(folder.parent.glob(f"{glob.escape(suite.name)}-*/run.sqlite")):
        with contextlib.suppress(HarnessError), Store.read(path.parent) as store:
            if Manifest.load(store).hash in (suite.hash, suite.hash_before):
                return path.parent
    return folder


def explain(
    suite: Suite,
    spec: ExplainSpec,
    *,
    out: str | Path | None = None,
    samples: int | None = None,
    progress: Progress | None = None,
) -> tuple[Explanation, Path]:
    """Explains a suite's classifier on its samples; asks no language model.

    The attributions are kept in the run's folder, beside whatever it holds. Raises `HarnessError`
    as `harness.explain` does.
    """
    from harness.explainers.suites import explained

    progress = progress or Silent()
    folder = run_folder(suite, out)
    taken = samples_of(suite, samples)
    found = explained(suite, spec, taken, partial(progress.advance, "explain"))
    with Store.write(folder) as store:
        _refuse_other(store, suite)
        with store.transaction():
            store.put_attributions(found)
    return found, folder


def evaluate(
    suite: Suite,
    spec: ExplainSpec,
    metrics: Sequence[str],
    *,
    out: str | Path | None = None,
    samples: int | None = None,
    progress: Progress | None = None,
) -> tuple[Evaluation, Path]:
    """Measures what methods' attributions of a suite's classifier are worth.

    The attributions and their scores are kept in the run's folder, beside whatever it holds. Raises
    `HarnessError` as `harness.evaluate` does.
    """
    from harness.explainers.metrics.stored import marks, stored_scores
    from harness.explainers.suites import evaluated

    progress = progress or Silent()
    folder = run_folder(suite, out)
    taken = samples_of(suite, samples)
    advance = partial(progress.advance, "explain")
    found = evaluated(suite, spec, taken, metrics, advance)
    with Store.write(folder) as store:
        _refuse_other(store, suite)
        with store.transaction():
            store.put_attributions(found.explanation)
            scores = stored_scores(found)
            store.put_scores(scores)
            revision = next((a.classifier for a in found.explanation), "")
            store.set_meta({"evaluated": {**marks(scores), "classifier": revision}})
    return found, folder


def concepts(
    suite: Suite,
    layer: str,
    at: str,
    kinds: Sequence[str],
    count: int,
    *,
    target: str | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    samples: int | None = None,
    progress: Progress | None = None,
) -> tuple[list[tuple[ConceptSpace, list[StoredScore]]], Path]:
    """Fits spaces of concepts to what a layer of a suite's classifier says, and measures them.

    Activations and directions lie in the run's folder below `concepts/`; the spaces and their
    scores are kept beside whatever the run holds, in the place of earlier ones. Raises
    `HarnessError` as `harness.explainers.concepts.suites.found` does.
    """
    from harness.explainers.concepts.suites import found

    if suite.classifier is None:
        raise HarnessError("the suite has no classifier, so it has no concepts")
    progress = progress or Silent()
    folder = run_folder(suite, out)
    classifier = suite.classifier.create("classifiers", suite.folder)
    taken = samples_of(suite, samples)
    with disk():
        private.folder(private.folder(folder) / "concepts")
    made = found(
        classifier, taken, layer, at, kinds, count,
        folder / "concepts" / digest([layer, at, samples])[:10],
        target=target, seed=suite.seed if seed is None else seed, settings=settings,
        progress=partial(progress.advance, "concepts"),
    )  # fmt: skip
    with Store.write(folder) as store:
        _refuse_other(store, suite)
        with store.transaction():
            store.put_scores(score for _, scores in made for score in scores)
            spaces = [serial.dumps(space) for space, _ in made]
            version = next(score.version for _, scores in made for score in scores)
            store.set_meta({"concept_spaces": {"version": version, "spaces": spaces}})
    return made, folder


def _inputs(
    suite: Suite,
    samples: int | None,
    folder: Path,
    fresh: bool,
    progress: Progress,
    explaining: bool = True,
) -> Inputs:
    """What the plan is made from, attributions among it. The classifier is built once for all of
    it, and let go before any model is asked."""
    progress.stage("classify", 1)
    inputs = limit(prepare(suite), samples)
    progress.stage("classify", len(inputs.samples), len(inputs.samples))
    if suite.explain is not None and explaining:
        inputs = _explained(suite, suite.explain, inputs, folder, fresh, progress)
    return replace(inputs, classifier=None)


def _explained(
    suite: Suite,
    spec: ExplainSpec,
    inputs: Inputs,
    folder: Path,
    fresh: bool,
    progress: Progress,
) -> Inputs:
    """The inputs with their attributions: those that the folder holds where they are the same."""
    from harness.explainers.explanation import Explanation
    from harness.explainers.suites import explained, with_evidence

    held: tuple[Attribution, ...] = ()
    if (folder / "run.sqlite").exists() and not fresh:
        with Store.read(folder) as store:
            meta = store.meta()
            if meta.get("explained") == _explained_hash(suite, inputs):
                # others may lie beside them, of `harness explain` with methods of its own
                held = tuple(store.attributions(meta.get("explained_keys")).values())
    if held:
        return with_evidence(inputs, Explanation(held), spec)
    advance = partial(progress.advance, "explain")
    found = explained(suite, spec, inputs.samples, advance, inputs.classifier)
    return with_evidence(inputs, found, spec)


def _explained_hash(suite: Suite, inputs: Inputs) -> str:
    """Over all that the suite's attributions follow from."""
    return digest(
        {
            "explain": suite.identity.get("explain"),
            "classifier": suite.identity.get("classifier"),
            "label_map": suite.label_map,
            "files": {
                place: found
                for place, found in file_hashes(suite).items()
                if place.startswith(("classifier", "explain"))
            },
            "samples": samples_hash(inputs.samples),
            "seed": suite.seed,
        }
    )


def finish(
    store: Store,
    progress: Progress | None = None,
    scorers: Sequence[str] = (),
    *,
    watch: Watch | None = None,
    models: Models | None = None,
) -> RunResult:
    """Scores what is stored and writes the report; asks no model of the suite for new answers.

    `scorers` names those to run, the suite's unless given; one that the suite does not name joins
    the run's own, and the report shows the others as they stand. `watch` knows what other runs
    hold of what a scorer asks. `models` are those that a scorer may ask how likely their
    answers are; without them such a scorer has what is stored.
    """
    progress = progress or Silent()
    run = Run(store)
    run.manifest = run.manifest.with_scorers(scorers)
    made = _scorers_of(run.manifest)
    chosen = {spec.name: made[spec.name] for spec in map(PartSpec, scorers)} or made
    asyncio.run(score(run, chosen, progress.advance, watch=watch, models=models))
    run.manifest.save(store)
    if models is not None and models.traffic is not None:
        _keep_why(store, models.traffic)
    counts = Counter(answered.outcome for answered in run.answered.values())
    left = counts["not_run"] + counts["transport"] + counts["server"]
    unjudged = sum(n for name, n in store.meta()["unjudged"].items() if name in made)
    if unjudged:
        what = "a scorer's own model failed"
        if any(getattr(made[name], "asks_models", False) for name in chosen):
            what = "a model that a scorer asks did not answer (`harness run` with the suite asks)"
        progress.note(f"{unjudged} subjects are unscored, because {what}")
    store.set_meta({"finished": False, "complete": left + unjudged == 0})
    result = _result(run, made)
    _keep(store, result)
    return result


def so_far(folder: Path) -> RunResult:
    """The verdict of a run that was interrupted: scored by whoever asks no model, not finished.

    Raises `HarnessError` where the run was interrupted before it was planned.
    """
    Store.read(folder).close()
    with Store.write(folder) as store:
        run = Run(store)
        made = _scorers_of(run.manifest)
        quiet = {
            name: scorer
            for name, scorer in made.items()
            if getattr(scorer, "backend", None) is None
            and not getattr(scorer, "asks_models", False)
        }
        asyncio.run(score(run, quiet))
        return _result(run, made)


def _scorers_of(manifest: Manifest) -> dict[str, Any]:
    """The scorers of a run by name, as its suite described them."""
    return make_scorers(manifest.scorers, Path(manifest.folder))


def report(folder: Path, *, generalise_variants: bool = False) -> RunResult:
    """Writes the report of a run again, from its scores as they stand."""
    with Store.read(folder) as store:
        run = Run(store)
        scorers = _scorers_of(run.manifest)
        result = _result(run, scorers, generalise_variants=generalise_variants)
        old = store.old_schema
    if not old:  # a run that an older version made is completed when it is continued, not here
        with Store.write(folder) as store:
            _keep(store, result)
    return result


def gate(
    folder: Path, lowest: Mapping[str, float], highest: Mapping[str, float]
) -> tuple[Requirement, ...]:
    """A run's scores against bars: at least `lowest`, at most `highest`, by a metric's name as in
    a suite's `require`. Without any, against the run's own `require`.

    Raises `HarnessError` for a bar that names what the run has not, or faces the wrong way.
    """
    from harness.analysis.controls import metric_summaries, separations
    from harness.analysis.requirements import checked
    from harness.analysis.requirements import requirements as judged
    from harness.analysis.score_table import ScoreTable

    with Store.read(folder) as store:
        run = Run(store)
        scorers = _scorers_of(run.manifest)
        table = ScoreTable(run, scorers)
        for given, option, wrong in ((lowest, "--min", "lower"), (highest, "--max", "higher")):
            for bar in checked(table, given, option):
                if table.metrics[bar.metric][1].direction == wrong:
                    raise HarnessError(
                        f"{option} {bar.metric}: {wrong} is better by this metric; use "
                        f"{'--max' if option == '--min' else '--min'}"
                    )
        require = {**lowest, **highest} or run.manifest.require
        if not require:
            raise HarnessError(
                "there is no bar: give --min METRIC=BAR or --max METRIC=BAR, or name bars under "
                "'require' in the suite and run it again"
            )
        return judged(table, metric_summaries(table, separations(table)), require)


def _result(
    run: Run, scorers: Mapping[str, Any], *, generalise_variants: bool = False
) -> RunResult:
    from harness.analysis import analyse
    from harness.analysis.warnings import lines
    from harness.report.page import write

    folder = run.store.folder
    results = analyse(run, scorers, generalise_variants=generalise_variants)
    write(results, folder / "report.html", folder / "blobs")
    verdict = tuple(f"{s.topic.capitalize()}: {s.text}" for s in results.verdict)
    verdict += lines(results.warnings)
    allowed = run.manifest.max_unscored
    unmet = tuple(f"{one.asked} is not kept: {one.found}" for one in results.unmet)
    result = RunResult(folder, verdict, Ending.of(run, unmet), results.failures, allowed)
    vars(result)["results"] = results  # what is computed already
    return result


def _keep(store: Store, result: RunResult) -> None:
    """Says that the run is finished, once its page is there; a run that is finished is not computed
    again to print its verdict."""
    kept = {
        "verdict": result.verdict,
        "ending": serial.dumps(result.ending),
        "failures": [serial.dumps(kind) for kind in result.failures],
        "page": file_hash(result.report),
    }
    store.set_meta({"finished": bool(store.meta().get("complete")), "result": kept})


def _page_is_whole(folder: Path) -> bool:
    """Whether the run's page is the one that was written when the run was finished."""
    page = folder / "report.html"
    with Store.read(folder) as store:
        kept = store.meta()["result"]
    return page.is_file() and file_hash(page) == kept["page"]


def _keep_why(store: Store, traffic: Traffic) -> None:
    """Keeps why models were asked nothing more, and whether a limit kept something from them."""
    store.set_meta({"stopped": dict(traffic.stopped), "limited": traffic.budget.reached})


def _too_long(result: RunResult) -> bool:
    """Whether a finished run has cells that `--only-failed` asks again."""
    return any(failure.outcome == "too_long" for failure in result.failures)


class NothingToAsk(HarnessError):
    """A plan without a single cell; with a listed model that is what exit code 5 says."""

    @classmethod
    def of(cls, suite: Suite, plan: Plan) -> NothingToAsk:
        reasons = "; ".join(sorted({reason for _, reason in plan.not_planned}))
        error = cls(" ".join([f"there is nothing to ask: {reasons}", *plan.notes]))
        if any(not spec.control for spec in suite.models):
            error.exit_code = UNSCORED
        return error


def _finished(suite: Suite, folder: Path, samples: int | None) -> RunResult | None:
    """The result of a run that has nothing left to do, as it was kept."""
    with Store.read(folder) as store:
        meta = store.meta()
        kept, taken = meta.get("result"), meta.get("samples")
        if not meta.get("finished") or not kept or "ending" not in kept or store.old_schema:
            return None
        manifest = Manifest.load(store)
        # The scorers' own code and what they embed or judge with may have changed since.
        same = (
            manifest.describes(suite)
            and (taken is None or (samples is not None and samples <= taken))
            and file_hashes(suite).items() <= manifest.files.items()
            and current_samples_hash(suite, taken) in (None, manifest.samples_hash)
        )
        if not same:
            return None
        scorers = _scorers_of(manifest)
        now = {name: version(scorer, manifest) for name, scorer in scorers.items()}
        stored = meta.get("versions_scored", {})
        if any(stored.get(name) != v for name, v in now.items()):
            return None
    ending = serial.loads(Ending, kept["ending"])
    failures = tuple(serial.loads(Failure, text) for text in kept["failures"])
    return RunResult(folder, tuple(kept["verdict"]), ending, failures, suite.max_unscored)


def _refuse_other(store: Store, suite: Suite) -> None:
    """One folder holds the runs of one suite, edited or not."""
    if "manifest" in store.meta() and (held := Manifest.load(store).suite) != suite.name:
        raise HarnessError(
            f"{store.folder} holds a run of suite '{held}'; name another folder with --out, or "
            "set it aside with --fresh"
        )


def _lay_down(
    store: Store,
    suite: Suite,
    manifest: Manifest,
    inputs: Inputs,
    plan: Plan,
    samples: int | None,
) -> list[str]:
    """Lays down what the run is; returns sentences on what of an older run cannot be used."""
    created = store.meta().get("created", manifest.created)
    with store.transaction():
        shared = store.adopt({spec.name: spec.entry for spec in suite.models})
        _hand_on(store, suite)
        store.put_samples(inputs.samples)
        store.put_predictions("classifier", inputs.predictions.values())
        for name, predictions in inputs.baselines.items():
            store.put_predictions(f"baseline:{name}", predictions.values())
        for family, gold in inputs.gold.items():
            store.put_gold(family, gold.records)
        store.put_requests((p.key, p.request, p.spans) for p in plan.cells)
        store.put_cells((p.cell, p.told, p.key) for p in plan.cells)
        store.put_turns((p.cell.id, 1, p.key) for p in plan.cells)
        store.put_attributions(inputs.attributions)
        store.set_meta(
            {
                "explained": _explained_hash(suite, inputs) if suite.explain else None,
                "explained_keys": [attribution_key(a) for a in inputs.attributions],
            }
        )
        replace(manifest, created=created).save(store)
        store.set_meta(
            {"finished": False, "complete": False, "samples": samples, "created": created}
        )
    return [
        f"{count:,} answers were shared by the models {', '.join(models)}, which are at other "
        "addresses or have other settings: nobody knows who gave them, so all are asked"
        for models, count in shared.items()
    ]


def _hand_on(store: Store, suite: Suite) -> None:
    """Answers of entries that shared them stay theirs when the suite's order or names change."""
    if "manifest" not in store.meta():
        return
    before = {model.name: model.entry for model in Manifest.load(store).models}
    for spec in suite.models:
        old = before.get(spec.name, "")
        if old and old != spec.entry:
            store.hand_on(old, spec.entry, [spec.name])


def _set_aside(folder: Path) -> None:
    """Keeps the store of an earlier run beside the new one: nothing that was answered is lost."""
    path = folder / "run.sqlite"
    if path.exists():
        with Store.write(folder):
            pass  # refuses while another process writes, and folds the log into the file
        path.rename(folder / time.strftime("run-%Y%m%d-%H%M%S.sqlite"))


async def _generate_all(
    suite: Suite,
    plan: Plan,
    store: Store,
    traffic: Traffic,
    only_failed: bool,
    watch: Watch,
    progress: Progress,
) -> None:
    cells = plan.cells
    again: set[tuple[str, str]] = set()
    if only_failed:
        cells, again = _failed(store, cells)
        if not cells:
            progress.note("nothing failed before, so --only-failed has nothing to ask")
    by_model: dict[str, list[PlannedCell]] = {}
    for planned in cells:
        by_model.setdefault(planned.cell.model, []).append(planned)
    wanted = _by_entry(cells)
    for entry, requests in wanted.items():
        watch.take_proven(entry, requests)
    places = {(entry, key) for entry, requests in wanted.items() for key in requests}
    answered = {(entry, key) for entry in wanted for key in store.answered(entry)} - again
    hears = _by_stage(suite, plan, by_model, answered, progress)
    if places - answered:
        for sentence in left_elsewhere(store.folder, wanted, answered) if not watch.fresh else ():
            progress.note(sentence)

    not_stopped: list[NotStopped] = []

    async def ask_in_turn(specs: Sequence[ModelSpec]) -> None:
        for spec in specs:
            mine = by_model[spec.name]
            try:
                await generate(
                    suite, plan, store, spec, mine, traffic, hears[spec.name], watch,
                    {key for entry, key in again if entry == spec.entry},
                )  # fmt: skip
            except NotStopped as error:  # the others go on
                not_stopped.append(error)

    async with tasks() as group:
        for specs in _in_turn([s for s in suite.models if s.name in by_model], plan):
            group.create_task(ask_in_turn(specs))
    _keep_why(store, traffic)
    if not_stopped:
        raise not_stopped[0]
    if traffic.budget.reached:
        progress.note("the limit of time or cost is reached; the same command continues")


def _in_turn(specs: Sequence[ModelSpec], plan: Plan) -> list[list[ModelSpec]]:
    """Models that are asked one after another: of one place, or with answers in common."""
    groups: list[tuple[set[Any], list[ModelSpec]]] = []
    for spec in specs:
        marks = {("place", getattr(plan.backends[spec.name], "place", None)), ("entry", spec.entry)}
        mine = [group for group in groups if group[0] & marks]
        groups = [group for group in groups if not group[0] & marks]
        groups.append(
            (
                marks.union(*(group[0] for group in mine)),
                [one for group in mine for one in group[1]] + [spec],
            )
        )
    return [models for _, models in groups]


def _by_stage(
    suite: Suite,
    plan: Plan,
    by_model: Mapping[str, Sequence[PlannedCell]],
    answered: Collection[tuple[str, str]],
    progress: Progress,
) -> dict[str, OnAnswer]:
    """What hears the answers of each model: only those of models that are asked say how long the
    rest will take; controls and recordings are looked up."""
    stages = {}
    for spec in suite.models:
        looked_up = getattr(plan.backends[spec.name], "reads_cell", False)
        name = ("controls" if spec.control else "recorded") if looked_up else "generate"
        if spec.name in by_model:
            stages[spec.name] = name
    keys: dict[str, set[tuple[str, str]]] = {
        name: set() for name in ("generate", "recorded", "controls")
    }
    for model, name in stages.items():
        keys[name] |= {(planned.entry, planned.key) for planned in by_model[model]}
    done = {name: len(mine.intersection(answered)) for name, mine in keys.items()}
    for name, mine in keys.items():
        if mine:
            progress.stage(name, len(mine), done[name])

    def hearing(stage: str) -> OnAnswer:
        def on_answer(_: str, generation: Generation) -> None:
            if stage == "generate":
                progress.answer(cell_outcome(generation, None))
            else:
                done[stage] += 1
                progress.advance(stage, done[stage], len(keys[stage]))

        return on_answer

    return {model: hearing(name) for model, name in stages.items()}


def _failed(
    store: Store, cells: Sequence[PlannedCell]
) -> tuple[list[PlannedCell], set[tuple[str, str]]]:
    """The cells of which a turn failed or was too long, and the places (entry, key) of what was
    too long."""
    outcomes = {place: g.outcome for place, g in store.cell_generations().items()}
    failed = {place for place, outcome in outcomes.items() if outcome in UNSCORABLE}
    turns = store.turns()
    found = [
        planned
        for planned in cells
        if any(
            (planned.entry, key) in failed
            for key in (planned.key, *turns.get(planned.cell.id, {}).values())
        )
    ]
    return found, {place for place in failed if outcomes[place] == "too_long"}


def _needs_evidence(suite: Suite) -> bool:
    """Whether a variant of the suite, or a control, shows an evidence summary."""
    if any(spec.control and spec.model in EVIDENCE_CONTROLS for spec in suite.models):
        return True
    return any(
        "evidence_summary" in spec.family.variant(name).template.variables
        for spec in suite.families
        for name in spec.variants
    )


def _by_entry(cells: Sequence[PlannedCell]) -> dict[str, dict[str, Request]]:
    """The first requests of cells, by entry and key."""
    found: dict[str, dict[str, Request]] = {}
    for planned in cells:
        found.setdefault(planned.entry, {})[planned.key] = planned.request
    return found


def elsewhere(suite: Suite, plan: Plan, out: str | Path | None = None) -> list[str]:
    """What runs beside a suite's run were answered to what it still has to ask, in sentences."""
    folder = run_folder(suite, out)
    held: set[tuple[str, str]] = set()
    if (folder / "run.sqlite").exists():
        with Store.read(folder) as store:
            held = {
                (spec.entry, key) for spec in suite.models for key in store.answered(spec.entry)
            }
    return left_elsewhere(folder, _by_entry(plan.cells), held)


def plan_only(suite: Suite, samples: int | None = None) -> tuple[Any, Inputs]:
    """The plan and its inputs, with nothing stored and nothing sent."""
    needed = _needs_evidence(suite)
    inputs = _inputs(suite, samples, run_folder(suite), False, Silent(), explaining=needed)
    if not inputs.samples:
        raise HarnessError("there are no samples")
    return make_plan(suite, inputs), inputs
