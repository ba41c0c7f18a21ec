"""What the report warns of, and which lines of the verdict each warning is about.

Servers that changed, what they refused of a request, answers that are none, cells that are missing
on some prompts more than on others, and a classifier that is worse than chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from harness.analysis import answer_sets
from harness.analysis.anomalies import ANOMALIES, ANSWERS, Answer
from harness.backends.replies import FILTERED
from harness.records import Generation
from harness.results import AnomalyCount, ClassifierPage, ModelSummary, RunWarning, Sentence
from harness.scoring import Answered, Run
from harness.stats.arrays import plural
from harness.stats.ranks import LEVEL

NOTES = 5  # more distinct notes of a model than this are counted, not quoted
NOTE_CHARACTERS = 160
LINES = 5  # warnings that a terminal shows; the report shows all
# Notes of backends by their words: which lines of the verdict they are about. Any other may make
# models incomparable.
_NOTE_TOPICS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (" sent instead", ()),
    ("logprobs refused", ()),
    ("token_ids refused", ()),
    ("seed refused", ("stability",)),
    (FILTERED, ("coverage",)),
    ("finish reason", ANSWERS),
    ("called a tool", ANSWERS),
    ("no text and left out", ANSWERS),
    ("cut the answer off", ANSWERS),
)
_NOTE_DEFAULT = ("accuracy", "stability")


def former_metrics(unknown: Mapping[str, Iterable[str]]) -> tuple[RunWarning, ...]:
    """Scores of metrics that a scorer no longer has: an older version of it scored the run."""
    return tuple(
        RunWarning(
            f"An older version of the scorer '{scorer}' scored this run; its figures "
            f"({', '.join(sorted(names))}) are not shown; `harness score` scores the answers anew.",
            ("accuracy", "stability"),
        )
        for scorer, names in sorted(unknown.items())
    )


def heeded(verdict: Sequence[Sentence], warned: Sequence[RunWarning]) -> tuple[Sentence, ...]:
    """The verdict with no line favourable that a warning is about."""
    counts = Counter(topic for warning in warned for topic in set(warning.topics))
    found = []
    for sentence in verdict:
        count = counts[sentence.topic]
        if count and sentence.tone == "good":
            says = "a warning is" if count == 1 else f"{count:,} warnings are"
            text = f"{sentence.text} But {says} about this."
            sentence = replace(sentence, text=text, tone="unsure")
        found.append(sentence)
    return tuple(found)


def lines(warnings: Sequence[str]) -> tuple[str, ...]:
    """The first few warnings as lines of a terminal, and how many more the report has."""
    left = len(warnings) - LINES
    shown = tuple(f"Warning: {text}" for text in warnings[:LINES])
    more = f"Warning: {left:,} more {plural('warning', left)} in the report"
    return (*shown, more) if left > 0 else shown


def served_versions(summaries: Sequence[ModelSummary]) -> list[RunWarning]:
    """A server that changed under a run."""
    return [
        RunWarning(
            f"Model {summary.name} was served by more than one version: "
            f"{', '.join(summary.served)}.",
            ("accuracy", "stability"),
        )
        for summary in summaries
        if len(summary.served) > 1
    ]


def answer_notes(run: Run) -> list[RunWarning]:
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
        notes = Counter(
            note for one in mine.values() for note in {_kind(note) for note in one.notes}
        )
        total = f"{len(mine):,} {plural('answer', len(mine))}"
        ordered = sorted(notes.items(), key=lambda item: (-item[1], item[0]))
        found += [
            RunWarning(f"Model {model}: {count:,} of {total}: '{_cut(note)}'.", _topics(note))
            for note, count in ordered[:NOTES]
        ]
        if len(ordered) > NOTES:
            left = len(ordered) - NOTES
            found.append(
                RunWarning(
                    f"Model {model}: {left:,} other {plural('note', left)} on its answers, "
                    "which harness show prints.",
                    _NOTE_DEFAULT,
                )
            )
    return found


def _kind(note: str) -> str:
    """A note without what differs from answer to answer in it."""
    return FILTERED if note.startswith(FILTERED) else note


def _topics(note: str) -> tuple[str, ...]:
    return next((topics for words, topics in _NOTE_TOPICS if words in note), _NOTE_DEFAULT)


def _cut(note: str) -> str:
    line = " ".join(note.split()).rstrip(".")
    return line if len(line) <= NOTE_CHARACTERS else line[: NOTE_CHARACTERS - 1] + "…"


# --- answers ------------------------------------------------------------------------------


def anomalies(run: Run) -> tuple[AnomalyCount, ...]:
    """Answers of models that stand for one and are none, or not all of one, by model and kind."""
    found = []
    for model, mine in _answers(run).items():
        for anomaly in ANOMALIES:
            shown = [
                (one.cell.id, excerpt)
                for one, answer in mine.values()
                if (excerpt := anomaly.find(answer)) is not None
            ]
            if shown:
                cell, excerpt = shown[0]
                line = " ".join(excerpt.split())[:NOTE_CHARACTERS]
                warned = len(shown) >= anomaly.least * len(mine)
                found.append(
                    AnomalyCount(model, anomaly.kind, len(shown), len(mine), (cell, line), warned)
                )
    return tuple(found)


def anomaly_warnings(found: Sequence[AnomalyCount]) -> list[RunWarning]:
    """A warning for each kind that is frequent enough."""
    by_kind = {anomaly.kind: anomaly for anomaly in ANOMALIES}
    return [
        RunWarning(
            f"Model {row.model}: {row.count:,} of {row.of:,} {plural('answer', row.of)} "
            f"{by_kind[row.kind].what}; {by_kind[row.kind].look} (such as {row.example[0]}).",
            by_kind[row.kind].topics,
        )
        for row in found
        if row.warned
    ]


def answer_set_warnings(run: Run) -> list[RunWarning]:
    """What all answers of a model show together, and what the server counted of its prompts."""
    infos = {info.name: info for info in run.manifest.models}
    found: list[RunWarning | None] = []
    for model, mine in _answers(run).items():
        asked = answer_sets.prompted(run, mine)
        temperature = asked[0].request.sampling.temperature if asked else None
        cells = [a for a in run.scorable() if a.cell.model == model]
        found += [
            answer_sets.identical_repeats(model, cells, temperature),
            answer_sets.constant_answers(model, cells),
            answer_sets.cut_prompts(model, asked),
            answer_sets.echoes(model, asked),
            answer_sets.missing_usage(
                model,
                [answer for _, answer in mine.values()],
                run.manifest.max_cost,
                bool(infos[model].price),
            ),
        ]
    return [warning for warning in found if warning is not None]


def _answers(run: Run) -> dict[str, dict[str, tuple[Answered, Answer]]]:
    """Every model's distinct answers by key, controls left out."""
    found: dict[str, dict[str, tuple[Answered, Answer]]] = {
        info.name: {} for info in run.manifest.models if not info.control
    }
    for one in run.scorable():
        if one.cell.model in found and one.generation is not None:
            schema = run.manifest.variant(one.cell.family, one.cell.variant).schema
            answer = Answer(one.generation, one.outcome, schema is not None)
            found[one.cell.model].setdefault(one.key, (one, answer))
    return found


# --- the classifier -----------------------------------------------------------------------


def classifier_warnings(page: ClassifierPage | None) -> list[RunWarning]:
    """A classifier that is worse than chance, or that seems to exchange two classes."""
    if page is None:
        return []
    if page.p_below_chance is not None and page.p_below_chance < LEVEL:
        return [
            RunWarning(
                f"The classifier {page.name} agrees with the true labels less than chance would "
                f"(permutation test, p {page.p_below_chance:.3g}): are `classes` in the order of "
                "the outputs, and does label_map say what they mean?",
                ("classifier", "accuracy"),
            )
        ]
    return [
        RunWarning(
            f"The classifier {page.name} mostly predicts {a} for {b} and {b} for {a} (exact test, "
            f"p {p:.3g}): are `classes` in the order of the outputs?",
            ("classifier", "accuracy"),
        )
        for a, b, p in page.exchanged
    ]


# What sources, classifiers and gold noted, by their words; anything else is about what was asked.
_INPUT_TOPICS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("report.group_by", ()),
    ("old of family", ("gold",)),
    ("has no gold", ("gold",)),
    ("prediction", ("classifier", "coverage")),
    ("label_map", ("classifier",)),
)


def planned(texts: Sequence[str], topics: Mapping[str, tuple[str, ...]]) -> list[RunWarning]:
    """What was to be warned of before anything was asked, with the `topics` that are stated."""
    return [
        RunWarning(
            text,
            topics[text]
            if text in topics
            else next((about for words, about in _INPUT_TOPICS if words in text), ("coverage",)),
        )
        for text in texts
    ]
