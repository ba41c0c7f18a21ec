"""Why the classifier decided, for the report: the methods that were used, and what is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness import serial
from harness.explainers.concepts.suites import SCORER
from harness.explainers.metrics.evaluation import Evaluation
from harness.explainers.metrics.stored import SCORER as MEASURED
from harness.explainers.metrics.stored import evaluation_of
from harness.records import Attribution, ConceptSpace, StoredScore
from harness.results import ConceptSummary, ExplainerSummary
from harness.scoring import Run
from harness.store import Store

# A report is read by a person: beyond this many attributions a sample it says how many there are.
PER_SAMPLE = 6


def explainers(records: Iterable[Attribution]) -> tuple[ExplainerSummary, ...]:
    """A row for each method with its unit, output and removal, in the order they were run."""
    groups: dict[tuple[str, ...], list[Attribution]] = {}
    for a in records:
        groups.setdefault((a.method, a.unit, a.output, a.removal), []).append(a)
    return tuple(_summary(found) for found in groups.values())


def evaluation(run: Run) -> Evaluation | None:
    """What the methods are worth, where it was measured of the classifier as it is now."""
    marked = _evaluated(run)
    if marked is None:
        return None
    attributions = run.attribution_records().items()
    return evaluation_of(
        run.store.scores(), marked, attributions, list(run.samples.values()), run.manifest.seed
    )


def _evaluated(run: Run) -> dict[str, Any] | None:
    """What tells the last evaluation's scores from others, if it was of the classifier of now."""
    marked: dict[str, Any] | None = run.store.meta().get("evaluated")
    revision = run.manifest.classifier_revision
    if marked is None or (revision and marked.get("classifier", revision) != revision):
        return None
    return marked


def scores_of_attributions(run: Run) -> list[StoredScore]:
    """The scores of the last evaluation whose attributions count."""
    marked = _evaluated(run)
    if marked is None:
        return []
    versions, subjects = marked.get("versions", {}), set(marked.get("subjects", ()))
    held = run.attribution_records()
    return [
        score
        for score in run.store.scores()
        if score.scorer == MEASURED
        and versions.get(score.metric) == score.version
        and score.subject in subjects
        and (score.subject.startswith("reference/") or score.subject in held)
    ]


def scores_of_concepts(store: Store, revision: str = "") -> list[StoredScore]:
    """The scores of the spaces of concepts that were last found in the classifier of a revision."""
    ids = {space.id for space in _spaces(store, revision)}
    if not ids:
        return []
    version = store.meta()["concept_spaces"]["version"]
    return [score for score in store.scores({SCORER: version}) if score.subject in ids]


def _spaces(store: Store, revision: str) -> list[ConceptSpace]:
    held = store.meta().get("concept_spaces")
    spaces = [serial.loads(ConceptSpace, text) for text in held["spaces"]] if held else []
    return [s for s in spaces if not revision or s.classifier in ("", revision)]


def concepts(store: Store, revision: str = "") -> tuple[ConceptSummary, ...]:
    """The spaces of concepts that were last found in the classifier of a revision (of any, where
    none is given), with their scores."""
    spaces = _spaces(store, revision)
    worth: dict[str, dict[str, float | None]] = {space.id: {} for space in spaces}
    for score in scores_of_concepts(store, revision):
        worth[score.subject][score.metric] = score.value
    by_id = {sample.id: sample for sample in store.samples()}
    return tuple(
        ConceptSummary(
            space,
            worth[space.id],
            tuple(
                by_id[name]
                for name in dict.fromkeys(e.sample for top in space.examples for e in top)
                if name in by_id
            ),
        )
        for space in spaces
    )


def _summary(found: Sequence[Attribution]) -> ExplainerSummary:
    first = found[0]
    errors = [a.completeness_error for a in found if a.completeness_error is not None]
    by_sample = {a.sample: a.evaluations for a in found}
    return ExplainerSummary(
        method=first.method,
        unit=first.unit,
        output=first.output,
        removal=first.removal,
        samples=len(by_sample),
        attributions=len(found),
        targets=tuple(dict.fromkeys(a.target for a in found)),
        evaluations=sum(by_sample.values()) / len(by_sample),
        completeness_error=max(errors, default=None),
        notes=tuple(dict.fromkeys(note for a in found for note in a.notes)),
    )


def shown(
    store: Store, records: Mapping[str, Attribution], samples: Iterable[str]
) -> dict[str, tuple[tuple[Attribution, ...], int]]:
    """Of the attributions by key those of each of these samples that are shown, and how many are
    left off.

    Methods take turns, so that each is seen before one shows a second target.
    """
    wanted = set(samples)
    keys: dict[str, dict[str, list[str]]] = {}
    for key, a in records.items():
        if a.sample in wanted:
            keys.setdefault(a.sample, {}).setdefault(a.method, []).append(key)
    chosen = {sample: _in_turn(by_method) for sample, by_method in keys.items()}
    whole = store.attributions(key for mine in chosen.values() for key in mine)
    return {
        sample: (
            tuple(whole[key] for key in mine),
            sum(map(len, keys[sample].values())) - len(mine),
        )
        for sample, mine in chosen.items()
    }


def _in_turn(by_method: Mapping[str, list[str]]) -> list[str]:
    turns = max(map(len, by_method.values()))
    order = [keys[turn] for turn in range(turns) for keys in by_method.values() if turn < len(keys)]
    return order[:PER_SAMPLE]
