"""Why cells have no answer that can be scored: by model and kind, with one example each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from harness.records import UNSCORABLE
from harness.scoring import Answered, Run

_BY_LIMIT = "a limit of the run was reached"


@dataclass(frozen=True)
class FailureKind:
    """Cells of one model without an answer, all of one kind (`HTTP 503`, `too long`, `not run`).

    `outcome` is what they have in common, `example` the sentence of one of them, empty where nobody
    said anything.
    """

    model: str
    kind: str
    outcome: str
    cells: int
    example: str


def failure_kind(answered: Answered) -> str | None:
    """Why a cell has no answer, in a few words; `None` where it has one."""
    if answered.outcome not in (*UNSCORABLE, "not_run"):
        return None
    kind = answered.generation.failure if answered.generation is not None else None
    return kind or answered.outcome.replace("_", " ")


def failure_kinds(run: Run) -> tuple[FailureKind, ...]:
    """All kinds of a run, models in the suite's order, the most frequent kinds of each first."""
    meta = run.store.meta()
    stopped: Mapping[str, str] = meta.get("stopped", {})
    counts: Counter[tuple[str, str, str]] = Counter()
    examples: dict[tuple[str, str, str], str] = {}
    for answered in run.answered.values():
        kind = failure_kind(answered)
        if kind is None:
            continue
        place = (answered.cell.model, kind, answered.outcome)
        counts[place] += 1
        error = answered.generation.error if answered.generation is not None else None
        if place not in examples or (error and not examples[place]):
            why = stopped.get(f"model '{answered.cell.model}'")
            limit = _BY_LIMIT if meta.get("limited") else ""
            examples[place] = error or why or limit
    order = [model.name for model in run.manifest.models]
    return tuple(
        FailureKind(model, kind, outcome, count, examples[model, kind, outcome])
        for (model, kind, outcome), count in sorted(
            counts.items(), key=lambda item: (order.index(item[0][0]), -item[1], item[0][1])
        )
    )


def failure_lines(kinds: tuple[FailureKind, ...], most: int = 6) -> list[str]:
    """A few lines for the console, the most frequent kinds of all models."""
    shown = sorted(kinds, key=lambda kind: -kind.cells)[:most]
    lines = [
        f"{row.model}: {row.cells:,} {'cell' if row.cells == 1 else 'cells'} {row.kind}"
        + (f', such as "{row.example}"' if row.example else "")
        for row in kinds
        if row in shown
    ]
    left = len(kinds) - len(shown)
    return lines + ([f"and {left} more kinds of failures, which the report lists"] if left else [])
