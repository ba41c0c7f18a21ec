"""What the report warns of: servers that changed, and what they refused of a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.records import Generation
from harness.results import ModelSummary
from harness.scoring import Run
from harness.stats.intervals import plural

NOTES = 5  # more distinct notes of a model than this are counted, not quoted
NOTE_CHARACTERS = 160


def served_versions(summaries: Sequence[ModelSummary]) -> list[str]:
    """A server that changed under a run."""
    return [
        f"Model {summary.name} was served by more than one version: {', '.join(summary.served)}."
        for summary in summaries
        if len(summary.served) > 1
    ]


def answer_notes(run: Run) -> list[str]:
    """What the backends noted on answers (a setting refused, a limit ignored), by model.

    The most frequent notes first, because each may make models incomparable.
    """
    generations: dict[str, dict[str, Generation]] = {}  # cells may share one
    for answered in run.answered.values():
        if answered.generation is not None:
            mine = generations.setdefault(answered.cell.model, {})
            mine[answered.key] = answered.generation
    found = []
    for model, mine in generations.items():
        notes = Counter(note for generation in mine.values() for note in set(generation.notes))
        total = f"{len(mine):,} {plural('answer', len(mine))}"
        ordered = sorted(notes.items(), key=lambda item: (-item[1], item[0]))
        found += [
            f"Model {model}: {count:,} of {total}: '{_cut(note)}'."
            for note, count in ordered[:NOTES]
        ]
        if len(ordered) > NOTES:
            left = len(ordered) - NOTES
            found.append(
                f"Model {model}: {left:,} other {plural('note', left)} on its answers, "
                "which harness show prints."
            )
    return found


def _cut(note: str) -> str:
    line = " ".join(note.split()).rstrip(".")
    return line if len(line) <= NOTE_CHARACTERS else line[: NOTE_CHARACTERS - 1] + "…"
