"""The stage that scores: stored generations become subjects, subjects become scores.

Scores are append-only and carry a version that hashes the scorer's code, its settings, what it
embeds or judges with, and the gold; scoring again under the same version does nothing.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.asking import Models, answers_to
from harness.contracts import Prepares
from harness.gold import Gold
from harness.identity import digest, draw, sha256
from harness.manifest import Manifest
from harness.measure import blamed_scorer, check_scorer, group_id, measure
from harness.outcomes import cell_outcome
from harness.plan import check_backend
from harness.plugin_code import code_of
from harness.records import (
    OTHERS,
    UNSCORABLE,
    Attribution,
    Cell,
    Generation,
    HarnessError,
    Prediction,
    Request,
    Sample,
    Span,
    StoredScore,
    Subject,
)
from harness.store import Store
from harness.suite import PartSpec
from harness.watch import Watch

# Shared by all scorers, so no scorer's version depends on them: records without behaviour, and
# the stages around scoring.
_NOT_CODE = frozenset({"harness", "harness.records", "harness.contracts", "harness.plugins"})

# Of the answers to what a scorer asks: what the next scoring asks for again.
_ASK_AGAIN = ("transport", "server", "not_run")


@dataclass(frozen=True)
class Answered:
    """A cell with its final generation and outcome."""

    cell: Cell
    told: str | None
    key: str
    generation: Generation | None
    outcome: str


@dataclass(frozen=True)
class SpokenOf:
    """What a scorer's metrics speak of, and what its subjects carry of the store."""

    kinds: tuple[str, ...]
    axes: tuple[str, ...]
    reads: tuple[str, ...]

    @classmethod
    def by(cls, scorer: Any) -> SpokenOf:
        """Of a scorer, from what it declares."""
        axes = {m.axis for m in scorer.metrics if m.subject == "group" and m.axis}
        kinds = {metric.subject for metric in scorer.metrics}
        reads = tuple(getattr(scorer, "reads", ()))
        return cls(tuple(sorted(kinds)), tuple(sorted(axes)), reads)


class Run:
    """What a stored run holds, read once for scoring and statistics."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.manifest = Manifest.load(store)
        self.samples: dict[str, Sample] = {sample.id: sample for sample in store.samples()}
        self.predictions: dict[str, Prediction] = store.predictions()
        self.gold = {f.name: Gold.of(store.gold(f.name)) for f in self.manifest.families}
        generations = store.cell_generations()
        turns = store.turns()
        self._turns = turns
        self._hashes: dict[str, str] = {}
        self._inputs: dict[str, str] = {}
        self._made_of: dict[str, Mapping[tuple[str, str], str]] = {}
        # Whether answers of an older schema have no entry yet, and what scorers' keys were then.
        self.unowned = bool(store.answered(""))
        self.renamed: dict[str, str] = {}
        self.answered: dict[str, Answered] = {}
        self._entries = {model.name: model.entry for model in self.manifest.models}
        for cell, told, first in store.cells():
            keys = turns.get(cell.id, {})
            key = keys[max(keys)] if keys else first
            generation = generations.get((self._entries[cell.model], key))
            schema = self.manifest.variant(cell.family, cell.variant).schema
            outcome = cell_outcome(generation, schema)
            self.answered[cell.id] = Answered(cell, told, key, generation, outcome)

    def cluster(self, sample_id: str) -> str:
        """The independent unit that a sample belongs to."""
        sample = self.samples[sample_id]
        if self.manifest.cluster == "label":
            return sample.label or sample.id
        return sample.cluster or sample.id if self.manifest.cluster == "cluster" else sample.id

    def scorable(self) -> list[Answered]:
        """Cells with an answer, also one that is empty or refuses."""
        return [
            answered
            for answered in self.answered.values()
            if answered.generation is not None and answered.outcome not in (*UNSCORABLE, "not_run")
        ]

    def subject(self, answered: Answered, reads: Collection[str] = ()) -> Subject:
        """The subject that one cell is, with what of the store is to be read for it."""
        cell = answered.cell
        sample = self.samples[cell.sample]
        gold = self.gold[cell.family]
        subject = Subject(
            kind="cell",
            id=cell.id,
            cells=(cell,),
            sample=sample,
            prediction=self.predictions.get(cell.sample),
            told=answered.told,
            labels=self.manifest.classes,
            gold_true=gold.find(cell.aspect, sample=sample.id, label=sample.label),
            gold_told=gold.find(cell.aspect, sample=None, label=answered.told)
            if answered.told is not None
            else None,
            schema=self.manifest.variant(cell.family, cell.variant).schema,
            generations=(answered.generation,) if answered.generation is not None else (),
        )
        if "requests" in reads:
            request, spans = self._asked(answered)
            subject = replace(subject, requests=(request,), spans=(spans,))
        if "attributions" in reads:
            held = self._attributions.get(cell.sample, {})
            subject = replace(subject, attributions=tuple(held), attributed=tuple(held.values()))
        if "others" in reads:
            subject = replace(subject, others=self._others(answered))
        return subject

    def _asked(self, answered: Answered) -> tuple[Request, tuple[Span, ...]]:
        """A cell's last request, and where variables stand in all of its turns."""
        keys = self._turns.get(answered.cell.id, {1: answered.key})
        found = [self.store.request(keys[turn]) for turn in sorted(keys)]
        return found[-1][0], tuple(span for _, spans in found for span in spans)

    @cached_property
    def _attributions(self) -> dict[str, dict[str, Attribution]]:
        """By sample and key, in the order they came."""
        found: dict[str, dict[str, Attribution]] = {}
        # The run's own: `harness explain` may have laid others beside them.
        own = self.store.meta().get("explained_keys")
        for key, attribution in self.store.attributions(own).items():
            if self.explains(attribution):
                found.setdefault(attribution.sample, {})[key] = attribution
        return found

    def _others(self, answered: Answered) -> tuple[Generation, ...]:
        """What the same model said of other samples that were told the same: the next ones in an
        order drawn once for all."""
        peers = self._peers.get(_place(answered), [])
        own = next((i for i, peer in enumerate(peers) if peer.cell == answered.cell), len(peers))
        following = [*peers[own + 1 :], *peers[:own]][:OTHERS]
        return tuple(one for peer in following if (one := peer.generation) is not None)

    @cached_property
    def _peers(self) -> dict[Any, list[Answered]]:
        found: dict[Any, list[Answered]] = {}
        for answered in self.scorable():
            found.setdefault(_place(answered), []).append(answered)
        drawn = {sample: draw(self.manifest.seed, sample, "other") for sample in self.samples}
        return {
            place: sorted(peers, key=lambda peer: drawn[peer.cell.sample])
            for place, peers in found.items()
        }

    def made_of(self, subject: Subject) -> str:
        """A hash of all that a subject's scores are made of, gold apart.

        That is answers with their outcome, what was told, the schema asked for, the labels there
        are, the sample with its true label, its prediction, and what else was read for it.
        """
        cells = [
            (self._entries[c.model], a.key, a.told, a.outcome)
            for c in subject.cells
            if (a := self.answered[c.id])
        ]
        read = [list(part) for part in (subject.attributions, _texts(subject.others)) if part]
        sample = [self._sample_hash(c.sample) for c in subject.cells[:1]]
        return digest([cells, *sample, self._labels_hash, subject.schema, *read])[:12]

    @cached_property
    def _labels_hash(self) -> str:
        return digest(self.manifest.classes)

    def subjects(self, spoken_of: SpokenOf) -> list[Subject]:
        """The subjects, as they are now, that some scorer's metrics speak of."""
        found: list[Subject] = []
        if "cell" in spoken_of.kinds:
            found += [self.subject(answered, spoken_of.reads) for answered in self.scorable()]
        if "generation" in spoken_of.kinds:
            by_place = {self.place(answered): answered for answered in reversed(self.scorable())}
            for place, answered in sorted(by_place.items()):
                subject = self.subject(answered, spoken_of.reads)
                found.append(replace(subject, kind="generation", id=place))
        for axis in spoken_of.axes:
            found += self.group_subjects(axis, spoken_of.reads)
        return found

    def place(self, answered: Answered) -> str:
        """The id of a generation as a subject: `entry/request key`."""
        return f"{quote(self._entries[answered.cell.model], safe='')}/{answered.key}"

    def scores(self) -> Iterator[StoredScore]:
        """The scores that count, in a fixed order.

        They are of the versions that were scored last, and made of what the run holds now. A score
        of an answer, prompt, sample or attribution that was replaced stays in the store and is none
        of them.
        """
        meta = self.store.meta()
        for score in self.store.scores(meta.get("versions_scored", {})):
            if self._current(score.scorer).get((score.subject_kind, score.subject)) == score.of:
                yield score
            elif self.store.old_schema and score.subject_kind in ("cell", "group", "generation"):
                yield score  # it says otherwise what it was made of, and was scored with its run

    def _current(self, scorer: str) -> Mapping[tuple[str, str], str]:
        """What each subject of a scorer is made of now."""
        if scorer not in self._made_of:
            told = self.store.meta().get("spoken_of", {}).get(scorer)
            stale = told is None or told.pop("by", None) != self.scored_by(scorer)
            subjects = [] if stale else self.subjects(SpokenOf(**told))
            self.remember(scorer, {(s.kind, s.id): self.made_of(s) for s in subjects})
        return self._made_of[scorer]

    def scored_by(self, scorer: str) -> str:
        """A hash of how the suite describes a scorer, and of the gold that it is given."""
        spec = next((s for s in self.manifest.scorers if s.name == scorer), None)
        return digest([spec, self.manifest.gold_hash])[:12]

    @property
    def complete(self) -> bool:
        """Whether everything was asked and scored when the run last was."""
        meta = self.store.meta()
        return bool(meta.get("complete", meta.get("finished")))

    def remember(self, scorer: str, made_of: Mapping[tuple[str, str], str]) -> None:
        """Keeps what the subjects of a scorer are made of, which is long to find out."""
        self._made_of[scorer] = made_of

    def explains(self, attribution: Attribution) -> bool:
        """Whether an attribution is of the classifier and of a sample as they are now."""
        sample = self.samples.get(attribution.sample)
        revision = self.manifest.classifier_revision
        if sample is None or (revision and attribution.classifier not in ("", revision)):
            return False
        return attribution.input in ("", self._input_hash(sample.id))

    def attribution_records(self) -> dict[str, Attribution]:
        """The attributions that count, by key and without their numbers, in the order they came."""
        return {k: a for k, a in self.store.attribution_records() if self.explains(a)}

    def _input_hash(self, sample: str) -> str:
        if sample not in self._inputs:
            self._inputs[sample] = digest(self.samples[sample].input)
        return self._inputs[sample]

    def _sample_hash(self, sample: str) -> str:
        if sample not in self._hashes:
            prediction = self.predictions.get(sample)
            self._hashes[sample] = digest([self.samples[sample], prediction])
        return self._hashes[sample]

    def group_subjects(self, axis: str, reads: Collection[str] = ()) -> list[Subject]:
        """Cells that differ in this field alone, of variants that preserve meaning."""
        groups: dict[str, list[Answered]] = {}
        for answered in self.scorable():
            cell = answered.cell
            variant = self.manifest.variant(cell.family, cell.variant)
            # Of every axis: what repeats and arms share bounds what wordings can share, so it must
            # be of the same prompts.
            if variant.oracle or not variant.preserves_meaning:
                continue
            groups.setdefault(group_id(cell, axis), []).append(answered)
        found = []
        for name, members in groups.items():
            members.sort(key=lambda answered: answered.cell)
            first = self.subject(members[0], set(reads) - {"requests", "others"})
            subject = replace(
                first,
                kind="group",
                id=name,
                cells=tuple(answered.cell for answered in members),
                told=first.told if axis != "arm" else None,
                gold_told=first.gold_told if axis != "arm" else None,
                schema=first.schema if axis != "variant" else None,
                generations=tuple(g for a in members if (g := a.generation) is not None),
            )
            found.append(subject)
        return found


def make_scorers(specs: Sequence[PartSpec], folder: Path) -> dict[str, Any]:
    """Scorers by name.

    `folder` is what `./file.py:Class` is relative to. Raises `HarnessError` for unknown ones.
    """
    made = {spec.name: spec.create("scorers", folder) for spec in specs}
    for name, scorer in made.items():
        check_scorer(name, scorer)
        if getattr(scorer, "backend", None) is not None:
            check_backend(f"scorer '{name}': its backend", scorer.backend)
    return made


def metric_titles(run: Run) -> dict[str, str]:
    """What each metric of a run measures in a few words, by id; empty where a scorer of the run's
    own can no longer be made, as its file may lie elsewhere."""
    try:
        made = make_scorers(run.manifest.scorers, Path(run.manifest.folder))
    except HarnessError:
        return {}
    return {
        f"{name}.{metric.name}": metric.title
        for name, scorer in made.items()
        for metric in scorer.metrics
    }


def version(scorer: Any, manifest: Manifest) -> str:
    """Hashes code, settings, embedder or judge, and gold."""
    return digest(
        {
            "code": code_hash(type(scorer).__module__),
            **({"plugin": code} if (code := code_of(scorer)) is not None else {}),
            "class": type(scorer).__qualname__,
            "settings": dict(getattr(scorer, "settings", {})),
            "fingerprint": dict(getattr(scorer, "fingerprint", {})),
            **_judge(scorer),
            "gold": manifest.gold_hash,
        }
    )[:16]


def _judge(scorer: Any) -> dict[str, Any]:
    """What a scorer's own model is, where it has one: another judge makes another version."""
    backend = getattr(scorer, "backend", None)
    if backend is None:
        return {}
    model = getattr(backend, "model_id", getattr(backend, "model", None))
    return {
        "judge": {
            "class": type(backend).__qualname__,
            **({"code": code} if (code := code_of(backend)) is not None else {}),
            "model": model if isinstance(model, str) else None,
            "revision": getattr(backend, "revision", None),
            "extras": dict(getattr(backend, "extras", {})),
        }
    }


@cache
def code_hash(module: str) -> str:
    """SHA-256 over a module's source and that of the harness modules it imports, transitively."""
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in sources or name in _NOT_CODE:
            continue
        path = _source_file(name)
        if path is None:
            continue
        text = path.read_text("utf-8")
        sources[name] = sha256(text.encode())
        waiting.extend(_imports(text))
    own = sources.pop(module, "")
    return digest([own, sources])


def _source_file(module: str) -> Path | None:
    if module in sys.modules:
        path = inspect.getsourcefile(sys.modules[module])
        return Path(path) if path else None
    spec = importlib.util.find_spec(module)
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(harness[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#;]+)"
    r"|import[ \t]+(harness[^\n#;]*))",
    re.MULTILINE,
)
_NAME = re.compile(r"([\w.]+)(?:[ \t]+as[ \t]+\w+)?")


def _imports(text: str) -> Iterable[str]:
    """The harness modules that a source imports. Not parsed: it is asked of a hundred files, also
    of a run that has nothing to do."""
    for module, names, plain in _IMPORT.findall(text):
        found = _NAME.findall(re.sub(r"#[^\n]*", "", names or plain))
        for name in [module, *(f"{module}.{one}" for one in found)] if module else found:
            if name.startswith("harness.") and _is_module(name):
                yield name


@cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of something in a module, which is no package
        return False


def _place(answered: Answered) -> tuple[str | int | None, ...]:
    """What two cells share that differ in their sample alone, the label told included."""
    c = answered.cell
    return (c.model, c.family, c.variant, c.arm, c.aspect, c.repeat, answered.told)


def _texts(generations: Sequence[Generation]) -> list[str]:
    return [generation.text for generation in generations]


async def score(
    run: Run,
    scorers: Mapping[str, Any],
    progress: Any = None,
    *,
    watch: Watch | None = None,
    models: Models | None = None,
) -> dict[str, str]:
    """Scores everything that is not scored under the scorers' versions; returns the versions.

    The store's `unjudged` counts, by scorer, the subjects left unscored because a model that it
    asks did not answer; scoring again asks for them again. `watch` knows what other runs hold.
    `models` are the suite's; without them, scorers that ask these have only what is stored.
    """
    models, watch = models or Models(), watch or Watch(run.store)
    versions = {}
    for name, scorer in scorers.items():
        with blamed_scorer(name):
            versions[name] = version(scorer, run.manifest)
    unjudged, spoken_of = {}, {}
    for name, scorer in scorers.items():
        done = run.store.scored(name, versions[name])
        spoken_of[name] = SpokenOf.by(scorer)
        subjects = run.subjects(spoken_of[name])
        made_of = {(s.kind, s.id): run.made_of(s) for s in subjects}
        run.remember(name, {(str(kind), subject): of for (kind, subject), of in made_of.items()})
        work = [s for s in subjects if (s.kind, s.id, made_of[s.kind, s.id]) not in done]
        if isinstance(scorer, Prepares) and work:
            with blamed_scorer(name):
                scorer.prepare(work, [list(subject.generations) for subject in work])
        judged = await answers_to(run, name, scorer, work, watch, models, progress)
        failed = {
            place
            for place, answers in judged.items()
            if any(answer.outcome in _ASK_AGAIN for answer in answers)
        }
        unjudged[name] = len(failed)
        for start in range(0, len(work), 500):
            rows: list[StoredScore] = []
            for subject in work[start : start + 500]:
                place = (subject.kind, subject.id)
                if place in failed:
                    continue
                given = [*subject.generations, *judged.get(place, [])]
                rows.extend(
                    StoredScore(
                        subject.kind, subject.id, one.metric, name, versions[name], one.value,
                        one.detail, made_of[place],
                    )
                    for one in measure(name, scorer, subject, given)
                )  # fmt: skip
            with run.store.transaction():
                run.store.put_scores(rows)
            if progress is not None:
                progress(f"score {name}", min(start + 500, len(work)), len(work))
    before = run.store.meta()
    run.store.set_meta(
        {
            "versions_scored": before.get("versions_scored", {}) | versions,
            "unjudged": before.get("unjudged", {}) | unjudged,
            "spoken_of": before.get("spoken_of", {})
            | {n: {**vars(s), "by": run.scored_by(n)} for n, s in spoken_of.items()},
        }
    )
    return versions
