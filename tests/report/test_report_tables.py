"""How results are arranged into the report's tables."""

from __future__ import annotations

import dataclasses
import re

import pytest
import report_example

from harness.report import columns, tables
from harness.results import Estimate, GoldStatus, MetricSummary, Results


@pytest.fixture(scope="module")
def results() -> Results:
    return report_example.example()


def test_models_come_before_controls_and_the_best_first(results: Results) -> None:
    t = tables.Tables(results)
    rows = t.board(t.leading())
    kinds = [row.kind for row in rows]
    assert kinds == sorted(kinds, key=["model", "control"].index)
    for kind in ("model", "control"):
        values = [row.cells[0].estimate.value or 0.0 for row in rows if row.kind == kind]
        assert values == sorted(values, reverse=True)


def test_where_lower_is_better_the_lowest_comes_first(results: Results) -> None:
    first = results.metrics[0]
    lower = dataclasses.replace(first, metric=dataclasses.replace(first.metric, direction="lower"))
    t = tables.Tables(dataclasses.replace(results, metrics=(lower, *results.metrics[1:])))
    values = [r.cells[0].estimate.value for r in t.board(t.leading()) if r.kind == "model"]
    assert values == sorted(values, key=lambda v: v or 0.0)


def test_an_invalid_headline_metric_gives_way_to_a_valid_one_in_the_scatter(
    results: Results,
) -> None:
    first, second = results.metrics[:2]
    broken = dataclasses.replace(first, validity="invalid")
    also = dataclasses.replace(
        second, metric=dataclasses.replace(second.metric, headline="accuracy")
    )
    found = tables.Tables(
        dataclasses.replace(results, metrics=(broken, also, *results.metrics[2:]))
    ).scatter()
    assert found is not None
    assert found[1].id == second.id


def test_without_headline_metrics_the_leaderboard_takes_those_that_can_be_trusted(
    results: Results,
) -> None:
    plain: tuple[MetricSummary, ...] = tuple(
        dataclasses.replace(m, metric=dataclasses.replace(m.metric, headline=None))
        for m in results.metrics
    )
    leading = tables.Tables(dataclasses.replace(results, metrics=plain)).leading()
    assert leading
    assert not [c for c in leading if c.summary.validity in ("invalid", "baseline")]


@pytest.mark.parametrize(
    ("metric", "known", "twin"),
    [
        ("claims.recall_vs_true", {"claims.recall_vs_told"}, "claims.recall_vs_told"),
        ("claims.recall_true", {"claims.recall_told"}, "claims.recall_told"),
        ("claims.recall", {"claims.recall_vs_told"}, "claims.recall_vs_told"),
        ("claims.recall_vs_told", {"claims.recall_vs_told"}, None),
        ("claims.precision", {"claims.recall_vs_told"}, None),
    ],
)
def test_a_metric_finds_its_twin_against_the_told_label(
    metric: str, known: set[str], twin: str | None
) -> None:
    assert columns.told_twin(metric, known) == twin


def test_vs_true_and_vs_told_share_one_table_by_model_and_arm(results: Results) -> None:
    found = tables.Tables(results).arm_tables()
    first = found[0]
    assert first.against_told is not None
    assert (first.against_true.id, first.against_told.id) == report_example.IDS[:2]
    arms = [cell.arm for row in first.rows if row.name == "north-8b" for cell in row.cells]
    assert arms == ["predicted", "gold", "wrong", "none"]
    assert [t.against_true.id for t in found] == [report_example.IDS[0], report_example.IDS[2]]


def test_a_control_that_was_never_asked_is_no_row_of_the_leaderboard(results: Results) -> None:
    idle = [
        dataclasses.replace(m, planned=0, outcomes={}, estimates={}) if m.name == "echo" else m
        for m in results.models
    ]
    t = tables.Tables(dataclasses.replace(results, models=tuple(idle)))
    names = [row.name for row in t.board(t.leading())]
    assert "echo" not in names
    assert "empty" in names


def test_an_invalid_metric_where_lower_is_better_says_which_control_should_lie_above(
    results: Results,
) -> None:
    broken = dataclasses.replace(results.metrics[2], validity="invalid")
    assert broken.metric.direction == "lower"
    failed = dataclasses.replace(results.separations[2], better="gold", worse="negated",
                                 validity="invalid")  # fmt: skip
    found = columns.columns(dataclasses.replace(results, metrics=(broken,), separations=(failed,)))
    assert "control negated less gold is" in found[broken.id].reason


def test_coverage_counts_model_failures_as_scored_and_lost_cells_as_not(results: Results) -> None:
    model = dataclasses.replace(
        results.models[0],
        planned=10,
        outcomes={"ok": 5, "refusal": 1, "empty": 1, "server": 1, "too_long": 1, "not_run": 1},
    )
    assert tables.coverage(model) == 0.7
    assert tables.coverage(dataclasses.replace(model, planned=0, outcomes={})) is None


def test_shades_rise_with_worth_in_either_direction() -> None:
    values = [Estimate(i / 20) for i in range(21)]
    rising = [tables.shade(e, 0, 1, lower_is_better=False) for e in values]
    falling = [tables.shade(e, 0, 1, lower_is_better=True) for e in values]
    assert rising == sorted(rising, key=lambda s: s or 0)
    assert (rising[0], rising[-1]) == (0, tables.SHADES - 1)
    assert (falling[0], falling[-1]) == (tables.SHADES - 1, 0)
    assert tables.shade(Estimate(None), 0, 1, lower_is_better=False) is None


@pytest.mark.parametrize(
    ("by_status", "words"),
    [
        ({"draft": 4}, "draft gold"),
        ({"reviewed": 4}, "reviewed gold"),
        ({"constructed": 4}, "gold exact by construction"),
        ({"draft": 1, "reviewed": 3}, "gold: 1 draft, 3 reviewed"),
        ({"draft": 3, "disputed": 1}, "gold: 3 draft, 1 disputed"),
        ({"constructed": 3, "draft": 1}, "gold: 1 draft, 3 by construction"),
        ({"constructed": 3}, "gold: 1 draft, 3 by construction"),
        ({}, "draft gold"),
    ],
)
def test_the_gold_s_status_is_never_better_than_its_records(
    by_status: dict[str, int], words: str
) -> None:
    assert columns.gold_status(GoldStatus(4, 20, by_status, 4, 4)) == words


def test_a_single_level_is_not_shown_as_if_it_were_a_comparison(results: Results) -> None:
    first = results.breakdowns[0]
    level = first.rows[0][1]
    one = dataclasses.replace(first, rows=tuple(r for r in first.rows if r[1] == level))
    assert not tables.Tables(dataclasses.replace(results, breakdowns=(one,))).grids(None)
    assert tables.Tables(dataclasses.replace(results, breakdowns=(first,))).grids(None)


def test_differences_are_drawn_on_one_scale_in_which_the_largest_fits(results: Results) -> None:
    drawn = tables.Tables(results).effects()
    lengths = {}
    for effect, svg in drawn:
        found = re.search(r'class="bar[^>]*? width="([\d.]+)', svg)
        assert found
        lengths[round(effect.difference.value or 0.0, 3)] = float(found.group(1))
    assert len(lengths) > 2
    reach = max(effect.difference.high or 0.0 for effect, _ in drawn)
    for value, length in lengths.items():
        assert length == pytest.approx(55 * value / reach, abs=0.6)
