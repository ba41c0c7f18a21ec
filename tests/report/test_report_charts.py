"""The report's charts, read back from their SVG."""

from __future__ import annotations

import itertools
import random
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.drawing.svg import nice_ticks
from harness.report import charts
from harness.results import Estimate

unit = st.floats(0, 1)
CLOSED = ((0.0, 1.0), (0.0, 1.0))


def elements(svg: str, name: str, class_: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(svg).iter(name) if class_ in e.get("class", "").split()]


def point(name: str, x: float, y: float, kind: charts.Kind = "model") -> charts.Point:
    return charts.Point(name, kind, Estimate(x, x - 0.05, x + 0.05), Estimate(y, y - 0.1, y + 0.1))


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_ticks_enclose_the_values_in_even_steps_of_one_two_or_five(low: float, size: float) -> None:
    ticks = nice_ticks(low, low + size)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= low + size - 1e-6 * step
    assert float(f"{step:.6e}".split("e")[0]) in (1, 2, 5)
    assert len(ticks) <= 8


@given(unit, unit)
def test_a_bar_is_as_long_as_its_value_and_its_whisker_as_its_interval(a: float, b: float) -> None:
    low, high = sorted((a, b))
    svg = charts.bar(Estimate((low + high) / 2, low, high), (0.0, 1.0))
    length = float(elements(svg, "rect", "bar")[0].get("width", ""))
    whisker = elements(svg, "line", "whisker")[0]
    drawn = float(whisker.get("x2", "")) - float(whisker.get("x1", ""))
    assert length == pytest.approx(110 * (low + high) / 2, abs=0.6)
    assert drawn == pytest.approx(110 * (high - low), abs=0.2)


def test_a_negative_difference_is_drawn_to_the_left_of_zero() -> None:
    svg = charts.bar(Estimate(-0.5, -0.7, -0.3), (-1.0, 1.0))
    rect, zero = elements(svg, "rect", "bar")[0], elements(svg, "line", "zero")[0]
    right = float(rect.get("x", "")) + float(rect.get("width", ""))
    assert right == pytest.approx(float(zero.get("x1", "")), abs=0.1)


def test_nothing_measured_draws_nothing() -> None:
    assert charts.bar(Estimate(None), (0.0, 1.0)) == ""


def test_stacked_parts_are_in_proportion_and_leave_the_rest_empty() -> None:
    svg = charts.stacked([("ok", 60), ("refusal", 20), ("server", 0)], 100, width=200)
    widths = [float(e.get("width", "")) for e in elements(svg, "rect", "outcome")]
    assert widths == [120, 40]


def test_the_scatter_puts_more_accurate_higher_and_more_stable_further_right() -> None:
    svg, _ = charts.scatter([point("a", 0.3, 0.2), point("b", 0.8, 0.9)], "x", "y", CLOSED)
    first, second = elements(svg, "circle", "dot")
    assert float(first.get("cx", "")) < float(second.get("cx", ""))
    assert float(first.get("cy", "")) > float(second.get("cy", ""))


def test_the_scatter_draws_both_intervals_and_tells_controls_by_shape() -> None:
    points = [point("a", 0.3, 0.2), point("gold", 0.8, 0.9, "control")]
    svg, _ = charts.scatter(points, "x", "y", CLOSED)
    assert len(elements(svg, "line", "whisker")) == 4
    assert len(elements(svg, "circle", "dot")) == 1
    assert len(elements(svg, "polygon", "dot")) == 1


def test_a_point_that_lacks_a_value_is_not_drawn() -> None:
    points = [point("a", 0.3, 0.2), charts.Point("b", "model", Estimate(0.4), Estimate(None))]
    svg, _ = charts.scatter(points, "x", "y", CLOSED)
    assert len(elements(svg, "circle", "dot")) == 1


@pytest.mark.parametrize("seed", range(8))
def test_labels_overlap_neither_one_another_nor_a_marker_even_in_a_crowd(seed: int) -> None:
    rng = random.Random(seed)
    centres = [(rng.gauss(300, 60), rng.gauss(200, 40)) for _ in range(14)]
    names = [f"model-{rng.randint(0, 10 ** rng.randint(1, 12))}" for _ in centres]
    boxes = charts.place_labels(centres, names, [], (50, 10, 800, 440))
    markers = [(x - 5, y - 5, x + 5, y + 5) for x, y in centres]
    placed = [box for box in boxes if box]
    assert len(placed) >= 12
    for a, b in [*itertools.combinations(placed, 2), *itertools.product(placed, markers)]:
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_a_point_without_room_for_its_label_is_named_instead() -> None:
    points = [point(f"a-model-with-a-long-name-{i}", 0.5, 0.5) for i in range(400)]
    svg, without = charts.scatter(points, "x", "y", CLOSED, (358, 400))
    assert len(without) == 400 - len(elements(svg, "text", "label"))
    assert without


def test_a_name_cannot_leave_the_text_it_stands_in() -> None:
    name = '</text></svg><script>alert(1)</script>"\x00\u202e'
    svg, _ = charts.scatter([point(name, 0.5, 0.5)], name, name, CLOSED)
    root = ET.fromstring(svg)
    assert {e.tag for e in root.iter()} <= {"svg", "line", "text", "circle", "title"}
    assert any("<script>" in (e.text or "") for e in root.iter("title"))


def test_charts_carry_no_style_and_no_handler_which_the_policy_would_block() -> None:
    svg, _ = charts.scatter([point("a", 0.5, 0.5)], "x", "y", CLOSED)
    for chart in (svg, charts.reliability([(0.5, 0.4, 3)]), charts.bar(Estimate(0.5), (0.0, 1.0))):
        names = {name for e in ET.fromstring(chart).iter() for name in e.attrib}
        assert not [name for name in names if name == "style" or name.startswith("on")]


def test_reliability_dots_lie_at_confidence_and_accuracy_and_empty_bins_are_left_out() -> None:
    svg = charts.reliability([(0.25, 0.75, 4), (0.5, 0.5, 0), (1.0, 0.0, 1)], size=300)
    dots = elements(svg, "circle", "dot")
    places = [(float(e.get("cx", "")), float(e.get("cy", ""))) for e in dots]
    assert places == [(44 + 75, 10 + 75), (44 + 300, 10 + 300)]
