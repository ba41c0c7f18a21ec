"""Why the classifier decided, for the report: the methods that were used, and what is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness import serial
from harness.explainers.concepts.suites import SCORER
from harness.explainers.metrics.evaluation import Evaluation
from harness.explainers.metrics.stored import evaluation_of
from harness.records import Attribution, ConceptSpace
from harness.results import ConceptSummary, ExplainerSummary
from harness.store import Store

# A report is read by a person: beyond this many attributions a sample it says how many there are.
PER_SAMPLE = 6


def explainers(store: Store) -> tuple[ExplainerSummary, ...]:
    """A row for each method with its unit, output and removal, in the order they were run."""
    groups: dict[tuple[str, ...], list[Attribution]] = {}
    for _, a in store.attribution_records():
        groups.setdefault((a.method, a.unit, a.output, a.removal), []).append(a)
    return tuple(_summary(found) for found in groups.values())


def evaluation(store: Store, seed: int) -> Evaluation | None:
    """What the methods are worth, where it was measured."""
    marked = store.meta().get("evaluated")
    if marked is None:
        return None
    attributions = store.attribution_records()
    return evaluation_of(store.scores(), marked, attributions, store.samples(), seed)


def concepts(store: Store) -> tuple[ConceptSummary, ...]:
    """The spaces of concepts that were last found, with their scores."""
    held = store.meta().get("concept_spaces")
    if not held:
        return ()
    spaces = [serial.loads(ConceptSpace, text) for text in held["spaces"]]
    worth: dict[str, dict[str, float | None]] = {space.id: {} for space in spaces}
    for score in store.scores({SCORER: held["version"]}):
        if score.subject in worth:
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


def shown(store: Store, samples: Iterable[str]) -> dict[str, tuple[tuple[Attribution, ...], int]]:
    """The attributions of each of these samples that are shown, and how many are left off.

    Methods take turns, so that each is seen before one shows a second target.
    """
    wanted = set(samples)
    keys: dict[str, dict[str, list[str]]] = {}
    for key, a in store.attribution_records():
        if a.sample in wanted:
            keys.setdefault(a.sample, {}).setdefault(a.method, []).append(key)
    chosen = {sample: _in_turn(by_method) for sample, by_method in keys.items()}
    records = store.attributions(key for mine in chosen.values() for key in mine)
    return {
        sample: (
            tuple(records[key] for key in mine),
            sum(map(len, keys[sample].values())) - len(mine),
        )
        for sample, mine in chosen.items()
    }


def _in_turn(by_method: Mapping[str, list[str]]) -> list[str]:
    turns = max(map(len, by_method.values()))
    order = [keys[turn] for turn in range(turns) for keys in by_method.values() if turn < len(keys)]
    return order[:PER_SAMPLE]
