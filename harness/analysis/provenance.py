"""Where a run's answers come from: who was seen to give them, and which other runs they were taken
over from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.records import Served
from harness.results import Sentence
from harness.scoring import Run
from harness.served import known, several
from harness.stats.arrays import plural


@dataclass(frozen=True)
class Origins:
    """By model: who was seen to answer, and how many answers came from which run."""

    served: Mapping[str, Sequence[Served]]
    taken: Mapping[str, Mapping[str, int]]


def origins(run: Run) -> Origins:
    """Of the suite's models, controls left out."""
    by_entry, counts = run.store.who_answered(), run.store.taken()
    models = {m.name: m.entry for m in run.manifest.models if not m.control}
    served = {name: by_entry.get(entry, []) for name, entry in models.items()}
    taken = {
        name: {source: count for (other, source), count in counts.items() if other == entry}
        for name, entry in models.items()
    }
    return Origins(served, {name: found for name, found in taken.items() if found})


def with_taken(verdict: Sequence[Sentence], found: Origins) -> tuple[Sentence, ...]:
    """The verdict, whose sentence on coverage says what was taken over from other runs."""
    said = "; ".join(
        f"{count:,} {plural('answer', count)} of {model} {'was' if count == 1 else 'were'} taken "
        f"over from run {source}"
        for model, sources in found.taken.items()
        for source, count in sources.items()
    )
    if not said:
        return tuple(verdict)
    return tuple(
        replace(s, text=f"{s.text} {said[0].upper()}{said[1:]}.") if s.topic == "coverage" else s
        for s in verdict
    )


def origin_warnings(found: Origins) -> list[str]:
    """Models whose answers come from several models, or from nobody knows whom."""
    warnings = []
    for model, served in found.served.items():
        other = several(served)
        if other is not None:
            warnings.append(f"Answers of {model} come from more than one model: {other}.")
    return warnings


def who_answered(found: Origins) -> dict[str, Any]:
    """For the report's provenance: by model, what was seen of who answered."""
    return {
        model: [
            {"proof": one.proof, **one.signs} if known(one) else {**one.signs, "known": False}
            for one in served
        ]
        for model, served in found.served.items()
        if served
    }
