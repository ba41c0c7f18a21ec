"""The stage that scores: stored generations become subjects, subjects become scores.

Scores are append-only and carry a version that hashes the scorer's code, its settings, what it
embeds or judges with, and the gold; scoring again under the same version does nothing.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from harness.gold import Gold
from harness.identity import digest, sha256
from harness.manifest import Manifest
from harness.outcomes import cell_outcome
from harness.records import (
    UNSCORABLE,
    Cell,
    Generation,
    HarnessError,
    Prediction,
    Sample,
    StoredScore,
    Subject,
)
from harness.store import Store
from harness.suite import PartSpec

# Shared by all scorers, so no scorer's version depends on them: records without behaviour, and
# the stages around scoring.
_NOT_CODE = frozenset({"harness", "harness.records", "harness.contracts", "harness.plugins"})


@dataclass(frozen=True)
class Answered:
    """A cell with its final generation and outcome."""

    cell: Cell
    told: str | None
    key: str
    generation: Generation | None
    outcome: str


class Run:
    """What a stored run holds, read once for scoring and statistics."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.manifest = Manifest.load(store)
        self.samples: dict[str, Sample] = {sample.id: sample for sample in store.samples()}
        self.predictions: dict[str, Prediction] = store.predictions()
        self.gold = {f.name: Gold.of(store.gold(f.name)) for f in self.manifest.families}
        generations = store.generations()
        turns = store.turns()
        self.answered: dict[str, Answered] = {}
        for cell, told, first in store.cells():
            keys = turns.get(cell.id, {})
            key = keys[max(keys)] if keys else first
            generation = generations.get(key)
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

    def subject(self, answered: Answered) -> Subject:
        """The subject that one cell is."""
        cell = answered.cell
        sample = self.samples[cell.sample]
        gold = self.gold[cell.family]
        return Subject(
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
        )

    def made_of(self, subject: Subject) -> str:
        """A hash of the generations that a subject's scores are made of."""
        return digest([self.answered[cell.id].key for cell in subject.cells])[:12]

    def group_subjects(self, axis: str) -> list[tuple[Subject, list[Generation]]]:
        """Cells that differ in this field alone; variants only where they preserve meaning."""
        groups: dict[str, list[Answered]] = {}
        for answered in self.scorable():
            cell = answered.cell
            variant = self.manifest.variant(cell.family, cell.variant)
            if axis == "variant" and (variant.oracle or not variant.preserves_meaning):
                continue
            groups.setdefault(group_id(cell, axis), []).append(answered)
        found = []
        for name, members in groups.items():
            members.sort(key=lambda answered: answered.cell)
            first = self.subject(members[0])
            subject = replace(
                first,
                kind="group",
                id=name,
                cells=tuple(answered.cell for answered in members),
                told=first.told if axis != "arm" else None,
                gold_told=first.gold_told if axis != "arm" else None,
                schema=first.schema if axis != "variant" else None,
            )
            found.append((subject, [g for a in members if (g := a.generation) is not None]))
        return found


def group_id(cell: Cell, axis: str) -> str:
    """A cell's id with `*` in place of the field along which a group varies."""
    parts = cell.id.split("/")
    place = {"variant": 3, "arm": 4, "repeat": 6}[axis]
    parts[place] = "*"
    return "/".join(parts)


def make_scorers(
    specs: Sequence[PartSpec], folder: Path, names: Sequence[str] = ()
) -> dict[str, Any]:
    """Scorers by name: those of a suite, or only those named, which may be others.

    `folder` is what `./file.py:Class` is relative to. Raises `HarnessError` for unknown ones.
    """
    known = {spec.name: spec for spec in specs}
    asked = [PartSpec(name) for name in names]
    for spec in asked:
        known.setdefault(spec.name, spec)
    chosen = [spec.name for spec in asked] or list(known)
    return {name: known[name].create("scorers", folder) for name in chosen}


def version(scorer: Any, manifest: Manifest) -> str:
    """Hashes code, settings, embedder or judge, and gold."""
    return digest(
        {
            "code": code_hash(type(scorer).__module__),
            "class": type(scorer).__qualname__,
            "settings": dict(getattr(scorer, "settings", {})),
            "fingerprint": dict(getattr(scorer, "fingerprint", {})),
            "gold": manifest.gold_hash,
        }
    )[:16]


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


def _imports(text: str) -> Iterable[str]:
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.startswith("harness.") and importlib.util.find_spec(name.rpartition(".")[0]):
                try:
                    found = importlib.util.find_spec(name)
                except ModuleNotFoundError:
                    continue
                if found is not None:
                    yield name


async def score(run: Run, scorers: Mapping[str, Any], progress: Any = None) -> dict[str, str]:
    """Scores everything that is not scored under the scorers' versions; returns the versions."""
    versions = {name: version(scorer, run.manifest) for name, scorer in scorers.items()}
    for name, scorer in scorers.items():
        done = run.store.scored(name, versions[name])
        work = [
            item
            for item in _subjects(run, scorer)
            if (item[0].kind, item[0].id, run.made_of(item[0])) not in done
        ]
        if hasattr(scorer, "prepare") and work:
            scorer.prepare([subject for subject, _ in work], [own for _, own in work])
        for start in range(0, len(work), 500):
            rows: list[StoredScore] = []
            for subject, own in work[start : start + 500]:
                rows.extend(await _score_one(run, name, scorer, versions[name], subject, own))
            with run.store.transaction():
                run.store.put_scores(rows)
            if progress is not None:
                progress(name, min(start + 500, len(work)), len(work))
    run.store.set_meta({"versions_scored": versions | _kept(run, versions)})
    return versions


def _kept(run: Run, versions: Mapping[str, str]) -> dict[str, str]:
    before: dict[str, str] = run.store.meta().get("versions_scored", {})
    return {name: v for name, v in before.items() if name not in versions}


def _subjects(run: Run, scorer: Any) -> list[tuple[Subject, list[Generation]]]:
    """The subjects that a scorer's metrics speak of, each with its own generations."""
    kinds = {metric.subject for metric in scorer.metrics}
    found: list[tuple[Subject, list[Generation]]] = []
    if "cell" in kinds:
        found += [(run.subject(a), [a.generation]) for a in run.scorable() if a.generation]
    if "generation" in kinds:
        by_key = {a.key: a for a in reversed(run.scorable())}
        for key, answered in sorted(by_key.items()):
            subject = replace(run.subject(answered), kind="generation", id=key)
            found.append((subject, [answered.generation] if answered.generation else []))
    if "group" in kinds:
        axes = sorted({m.axis for m in scorer.metrics if m.subject == "group" and m.axis})
        for axis in axes:
            found += run.group_subjects(axis)
    return found


async def _score_one(
    run: Run, name: str, scorer: Any, version: str, subject: Subject, own: list[Generation]
) -> list[StoredScore]:
    known = {metric.name: metric for metric in scorer.metrics}
    asked = list(scorer.requests(subject))
    answers = []
    of = run.made_of(subject)
    if asked:
        from harness.generate import ask

        answers = await ask(run.store, scorer.backend, asked)
    rows = []
    for found in scorer.score(subject, [*own, *answers]):
        if found.metric not in known:
            raise HarnessError(
                f"scorer '{name}' gave a score for '{found.metric}', which it does not declare"
            )
        metric = known[found.metric]
        if metric.subject != subject.kind or (metric.axis and not _varies(subject, metric.axis)):
            continue
        rows.append(
            StoredScore(
                subject.kind, subject.id, metric.name, name, version, found.value, found.detail, of
            )
        )
    return rows


def _varies(subject: Subject, axis: str) -> bool:
    return group_id(subject.cells[0], axis) == subject.id
