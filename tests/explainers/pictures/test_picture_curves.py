"""Deletion and insertion curves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from drawings import having, number, read, words
from hypothesis import given
from hypothesis import strategies as st

from harness.explainers.pictures.curves import Curve, deletion_and_insertion, spread
from harness.records import HarnessError

SHARES = (0.0, 0.25, 0.5, 1.0)
FALLING = Curve("lime", SHARES, (0.9, 0.4, 0.2, 0.1), (0.8, 0.3, 0.1, 0.0), (1.0, 0.5, 0.3, 0.2))
RANDOM = Curve("random", SHARES, (0.9, 0.7, 0.5, 0.1), reference=True)
RISING = Curve("lime", SHARES, (0.1, 0.6, 0.8, 0.9))


@given(st.lists(st.floats(0, 300), max_size=9).map(sorted))
def test_labels_are_kept_apart_in_their_order_and_those_that_fit_are_not_moved(
    places: list[float],
) -> None:
    found = spread(places, 15, 300)
    for a, b in itertools.pairwise(found):
        assert b - a >= 15 - 1e-6
    assert all(-1e-6 <= place <= 300 + 1e-6 for place in found)
    if all(b - a >= 15 for a, b in itertools.pairwise(places)):
        assert found == pytest.approx(places)


def test_the_area_is_the_mean_height_by_trapezoids() -> None:
    assert FALLING.area == pytest.approx(np.trapezoid(FALLING.values, SHARES))
    half = Curve("x", (0.0, 0.5), (1.0, 0.0))
    assert half.area == 0.5


def test_points_lie_where_their_numbers_say() -> None:
    root = read(deletion_and_insertion([FALLING, RANDOM], [], "probability").svg)
    lines = having(root, "polyline", "curve")
    by_kind = {("reference" in (e.get("class") or "")): e for e in lines}
    for reference, curve in ((False, FALLING), (True, RANDOM)):
        text = by_kind[reference].get("points", "").split()
        x, y = np.array([point.split(",") for point in text], dtype=float).T
        assert np.corrcoef(x, curve.shares)[0, 1] == pytest.approx(1, abs=1e-4)
        assert np.corrcoef(y, curve.values)[0, 1] == pytest.approx(-1, abs=1e-4)
    ends = np.array([e.get("points", "").split()[0].split(",")[1] for e in lines], dtype=float)
    assert ends[0] == ends[1]  # both begin at .9, on one axis


def test_the_band_goes_around_the_interval() -> None:
    root = read(deletion_and_insertion([FALLING], []).svg)
    band = having(root, "polygon", "band")[0].get("points", "").split()
    curve = having(root, "polyline", "curve")[0].get("points", "").split()
    y = [float(point.split(",")[1]) for point in band]
    middle = [float(point.split(",")[1]) for point in curve]
    assert len(band) == 2 * len(SHARES)
    for place in range(len(SHARES)):
        assert y[place] < middle[place] < y[-1 - place]


def test_methods_are_named_at_their_ends_alike_in_both_panels() -> None:
    figure = deletion_and_insertion([FALLING, RANDOM], [RISING])
    root = read(figure.svg)
    styles = [e.get("class") for e in having(root, "polyline", "curve")]
    assert styles == ["curve reference", "curve c0", "curve c0"]
    said = words(root)
    assert said.count("lime") >= 3
    assert "share removed" in said
    assert "share given back" in said
    assert "Deletion: mean output lime .31" in figure.alt
    for label in having(root, "text", "name"):
        assert number(label, "x") < 640


def test_a_curve_without_a_value_for_each_share_is_refused() -> None:
    with pytest.raises(HarnessError, match="'x' needs"):
        Curve("x", (0.0, 1.0), (1.0,))
    with pytest.raises(HarnessError, match="both ends"):
        Curve("x", (0.0, 1.0), (1.0, 0.0), low=(0.9, 0.0))
    with pytest.raises(HarnessError, match="no curve"):
        deletion_and_insertion([], [])
