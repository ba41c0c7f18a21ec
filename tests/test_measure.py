"""What a scorer gives is checked before it is stored, and the scorer is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.measure import check_scorer, group_id, measure
from harness.records import Cell, HarnessError, Metric, Score, Subject

CELL = Cell("m", "s", "f", "base", "gold", "causes", 1)
SUBJECT = Subject("cell", CELL.id, (CELL,))


class Given:
    """A scorer that gives what it is told to."""

    metrics: Any = (Metric("share"), Metric("words", range=(0.0, None)))

    def __init__(self, given: Any) -> None:
        self.given = given

    def requests(self, subject: Subject) -> Any:
        return ()

    def score(self, subject: Subject, generations: Any) -> Any:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


@pytest.mark.parametrize(
    ("value", "stored"),
    [(np.float32(0.5), 0.5), (np.int64(1), 1.0), (True, 1.0), (None, None), (1 + 1e-12, 1.0)],
)
def test_numbers_of_all_kinds_become_plain_ones(value: Any, stored: float | None) -> None:
    (score,) = measure("mine", Given([Score("share", value)]), SUBJECT, ())
    assert score.value == stored
    assert type(score.value) in (float, type(None))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([Score("share", "0.5")], "metric 'share' of m/s/f/base/gold/causes/1: '0.5' is no number"),
        ([Score("share", float("nan"))], "nan is no number"),
        ([Score("words", float("inf"))], "inf is no number"),
        ([Score("share", 1.5)], "1.5 is more than 1, the highest there is"),
        ([Score("share", 1.0001)], "1.0001 is more than 1, the highest there is"),
        ([Score("share", -0.0001)], "-0.0001 is less than 0, the lowest there is"),
        ([Score("words", -1)], "-1 is less than 0, the lowest there is"),
        ([Score("share", 0.5, {"x": object()})], "its detail is no JSON"),
        ([Score("share", 0.5, {"x": float("nan")})], "its detail is no JSON (NaN is no number"),
        ([Score("share", 0.5, [1])], "its detail is [1], no mapping"),  # type: ignore[arg-type]
        ([Score("share", 0.5), Score("share", 0.6)], "a second score"),
        ([Score("other", 0.5)], "a score for 'other', which it does not declare"),
        (None, "gave None of m/s/f/base/gold/causes/1, no list of scores"),
        ([0.5], "no list of scores"),
        (KeyError("x"), "failed on m/s/f/base/gold/causes/1: KeyError: 'x'"),
    ],
)
def test_what_is_no_score_is_refused_with_the_scorers_name(given: Any, said: str) -> None:
    with pytest.raises(HarnessError, match="scorer 'mine'") as error:
        measure("mine", Given(given), SUBJECT, ())
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ((), "declares no metrics"),
        (("share",), "is no harness.records.Metric"),
        ((Metric("a"), Metric("a")), "declares the metric 'a' twice"),
        ((Metric("a", subject="group"),), "the metric 'a' of a group names no axis"),
        ((Metric("a", axis="arm"),), "the metric 'a' of a cell names an axis"),
        ((Metric("a", subject="prediction"),), "is of a 'prediction'; scores are of a cell, gen"),
        ((Metric("a", range=(1.0, 0.0)),), "whose lowest is above its highest"),
        ((Metric("a", range=None),), "has the range None"),  # type: ignore[arg-type]
    ],
)
def test_metrics_that_are_not_declared_as_they_must_be_are_refused(metrics: Any, said: str) -> None:
    scorer = Given([])
    scorer.metrics = metrics
    with pytest.raises(HarnessError, match=said):
        check_scorer("mine", scorer)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": None}, "has no method 'score'"),
        ({"requests": None}, "has no method 'requests'"),
        ({"settings": {"words": {"a", "b"}}}, "has settings that are no JSON"),
    ],
)
def test_a_scorer_that_could_not_score_is_refused(change: Any, said: str) -> None:
    scorer = Given([])
    check_scorer("mine", scorer)
    for name, value in change.items():
        setattr(scorer, name, value)
    with pytest.raises(HarnessError, match=f"scorer 'mine' {said}"):
        check_scorer("mine", scorer)


def test_only_the_metrics_that_speak_of_a_subject_are_scored() -> None:
    groups = [
        Metric(axis, subject="group", axis=axis)  # type: ignore[arg-type]
        for axis in ("variant", "arm", "repeat")
    ]
    scorer = Given([Score(m.name, 0.5) for m in (*groups, Metric("share"), Metric("said"))])
    scorer.metrics = (*groups, Metric("share"), Metric("said", subject="generation"))

    def scored(subject: Subject) -> list[str]:
        return [score.metric for score in measure("mine", scorer, subject, ())]

    assert scored(SUBJECT) == ["share"]
    assert scored(replace(SUBJECT, kind="generation", id="k")) == ["said"]
    for axis in ("variant", "arm", "repeat"):
        assert scored(replace(SUBJECT, kind="group", id=group_id(CELL, axis))) == [axis]


def test_a_word_in_a_detail_is_not_taken_for_a_number() -> None:
    detail = {"claim": "Infinity is not NaN."}
    (score,) = measure("mine", Given([Score("share", 0.5, detail)]), SUBJECT, ())
    assert score.detail == detail


def test_a_scorer_that_exits_is_named_and_exits_nothing() -> None:
    class Exits(Given):
        def score(self, subject: Subject, generations: Any) -> Any:
            raise SystemExit(3)

    with pytest.raises(RuntimeError, match=r"scorer 'mine' failed on .*: it called sys.exit\(3\)"):
        measure("mine", Exits([]), SUBJECT, ())


@pytest.mark.parametrize("title", [3, "two\nlines", None, ("a",)])
def test_a_title_that_is_no_line_of_text_is_refused(title: Any) -> None:
    scorer = Given([])
    scorer.metrics = (Metric("share"),)
    object.__setattr__(scorer.metrics[0], "title", title)
    with pytest.raises(HarnessError, match="metric 'share' has the title"):
        check_scorer("mine", scorer)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("recall_vs_true", "recall vs true"),
        ("recallVsTrue", "recall vs true"),
        ("F1", "F1"),
        ("top-5.accuracy", "top 5 accuracy"),
        ("words", "words"),
        ("__", "__"),
    ],
)
def test_a_metric_without_a_title_is_called_by_its_name_in_words(name: str, title: str) -> None:
    assert Metric(name).title == title
    assert Metric(name, title="what it is").title == "what it is"
