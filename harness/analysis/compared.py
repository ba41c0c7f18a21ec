"""Pairs of a model's answers to one sample, statement by statement, as the report lists them.

A stability scorer stores codes, not texts; here the texts are read from the answers again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from harness.analysis.score_table import ScoreTable
from harness.results import ComparedAnswers, SampleView, StatementInPair
from harness.scorers.explanations import explanation_text
from harness.scorers.statements import statements

PAIRS = 60  # a sample
_STATES: Mapping[str, Literal["kept", "reversed", "only"]] = {
    "k": "kept", "r": "reversed", "o": "only"
}  # fmt: skip


def with_compared(table: ScoreTable, views: Sequence[SampleView]) -> tuple[SampleView, ...]:
    """The views with pairs of the models' answers, those with most reversals first, then those
    that keep least; at most `PAIRS` of each sample."""
    by_sample: dict[str, list[ComparedAnswers]] = {view.sample.id: [] for view in views}
    for pair in _pairs(table, by_sample):
        by_sample[pair.first_cell.sample].append(pair)
    found = []
    for view in views:
        own = sorted(by_sample[view.sample.id], key=_interest)
        found.append(
            replace(view, compared=tuple(own[:PAIRS]), compared_left=max(0, len(own) - PAIRS))
        )
    return tuple(found)


def _interest(pair: ComparedAnswers) -> tuple[Any, ...]:
    total = len(pair.first) + len(pair.second)
    return -pair.count("reversed"), pair.count("kept") / total, pair.first_cell, pair.second_cell


def _pairs(table: ScoreTable, samples: Mapping[str, Any]) -> Iterator[ComparedAnswers]:
    for metric, (_, spec) in table.metrics.items():
        if spec.axis is None:
            continue
        for model in table.models:
            for cell, score in table.scores(metric, model):
                detail = score.detail or {}
                if cell.sample in samples and {"cells", "pairs"} <= set(detail):
                    yield from _of_group(table, spec.axis, detail)


def _of_group(
    table: ScoreTable, axis: Literal["variant", "repeat", "arm"], detail: Mapping[str, Any]
) -> Iterator[ComparedAnswers]:
    said = [_statements(table, axis, cell) for cell in detail["cells"]]
    for first, second, *codes in detail["pairs"]:
        one, two = said[first], said[second]
        # A text that reads otherwise than when it was scored has no codes.
        if [len(one), len(two)] == [len(side) for side in codes]:
            cells = [table.run.answered[detail["cells"][place]].cell for place in (first, second)]
            yield ComparedAnswers(
                axis, cells[0], cells[1], _coded(codes[0], one, two), _coded(codes[1], two, one)
            )


def _statements(table: ScoreTable, axis: str, cell_id: str) -> tuple[str, ...]:
    answered = table.run.answered.get(cell_id)
    if answered is None or answered.generation is None:
        return ()
    cell = answered.cell
    schema = table.run.manifest.variant(cell.family, cell.variant).schema
    text = explanation_text(answered.generation, schema if axis != "variant" else None)
    return statements(text)


def _coded(
    codes: Sequence[str], own: Sequence[str], other: Sequence[str]
) -> tuple[StatementInPair, ...]:
    found = []
    for code, text in zip(codes, own, strict=True):
        place = code[1:]
        nearest = other[int(place)] if place and int(place) < len(other) else ""
        found.append(StatementInPair(text, _STATES[code[0]], nearest))
    return tuple(found)
