"""Bars of features and of segments of time."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from drawings import (
    SVG,
    having,
    number,
    of_features,
    of_patches,
    of_segments,
    of_words,
    read,
    words,
)

from harness.explainers.pictures.bars import MOST, SEGMENTS
from harness.explainers.pictures.draw import draw


def titled(root: ET.Element) -> list[ET.Element]:
    """The bars, which are the rectangles that name what they stand for."""
    return [e for e in having(root, "rect") if e.find(f"{SVG}title") is not None]


def test_bars_are_as_long_as_their_values_from_the_strongest_on() -> None:
    root = read(draw(of_features({"age": 0.5, "weight": -1.0, "smoker": 0.25})).svg)
    bars = [
        e for e in having(root, "rect") if e.find("{http://www.w3.org/2000/svg}title") is not None
    ]
    sizes = [number(bar, "width") for bar in bars]
    assert sizes == pytest.approx([sizes[0], sizes[0] / 2, sizes[0] / 4], abs=0.2)
    zero = number(having(root, "line", "zero")[0], "x1")
    assert number(bars[0], "x") + sizes[0] == pytest.approx(zero, abs=0.2)
    assert number(bars[1], "x") == pytest.approx(zero, abs=0.2)
    said = words(root)
    assert said.index("weight") < said.index("age") < said.index("smoker")


def test_whiskers_are_one_standard_error_to_either_side() -> None:
    root = read(draw(of_features({"age": 1.0, "weight": -1.0}, [0.5, 0.25])).svg)
    bar = next(e for e in having(root, "rect") if e.get("class") in ("p4", "n4"))
    whiskers = [e for e in having(root, "line", "whisker") if e.get("y1") == e.get("y2")]
    lengths = [number(e, "x2") - number(e, "x1") for e in whiskers]
    assert lengths == pytest.approx([number(bar, "width"), number(bar, "width") / 2], abs=0.3)


def test_what_is_left_off_is_counted_with_its_sum() -> None:
    values = {f"f{i}": 1.0 + i for i in range(MOST)} | {f"g{i}": 0.1 for i in range(7)}
    said = words(read(draw(of_features(values)).svg))
    assert f"Not shown: 7 weaker of {MOST + 7} units; their values sum to +.70." in said


def test_segments_of_time_stand_where_they_lie() -> None:
    root = read(draw(of_segments([0.5, -1.0, None, 0.25])).svg)
    bars = [
        e for e in having(root, "rect") if e.find("{http://www.w3.org/2000/svg}title") is not None
    ]
    lefts = [number(bar, "x") for bar in bars]
    step = lefts[1] - lefts[0]
    assert lefts[2] - lefts[0] == pytest.approx(3 * step, abs=0.2)
    heights = [number(bar, "height") for bar in bars]
    assert heights == pytest.approx([heights[1] / 2, heights[1], heights[1] / 4], abs=0.2)
    zero = number(having(root, "line", "zero")[0], "y1")
    assert number(bars[1], "y") == pytest.approx(zero, abs=0.1)
    assert number(bars[0], "y") + heights[0] == pytest.approx(zero, abs=0.1)
    assert len(having(root, "path", "hatch")) == 1
    assert "not seen by the classifier (1 of 4 segments)" in words(root)


def test_features_without_any_weight_are_said_to_have_none() -> None:
    assert "no unit has a value other than 0" in draw(of_features({"age": 0.0})).svg


def test_of_very_many_segments_the_strongest_are_shown_and_counted() -> None:
    root = read(draw(of_segments([float(i) for i in range(SEGMENTS + 5)])).svg)
    assert len(titled(root)) == SEGMENTS
    assert f"Shown: the {SEGMENTS} strongest of {SEGMENTS + 5} segments." in words(root)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_never_drawn_as_one(value: float) -> None:
    for attribution in (
        of_segments([0.5, value, -0.2]),
        of_features({"age": 0.5, "weight": value}),
        of_words("slow meals", [0.5, value]),
        of_patches([0.5, value] * 8),
    ):
        svg = draw(attribution).svg.partition("</style>")[2]
        assert "nan" not in svg
        assert "inf" not in svg
