"""Outlines of regions, against their area and their number of edges."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from harness.explainers.pictures.outlines import outlines

regions = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans())


@given(regions)
def test_the_signed_area_of_all_outlines_is_the_number_of_pixels(region: np.ndarray) -> None:
    area = 0.0
    for loop in outlines(region):
        x, y = np.array(loop, dtype=float).T
        area += (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    assert area == region.sum()


@given(regions)
def test_outlines_are_as_long_as_the_edges_between_inside_and_outside(region: np.ndarray) -> None:
    padded = np.pad(region, 1).astype(int)
    edges = sum(int(np.abs(np.diff(padded, axis=axis)).sum()) for axis in (0, 1))
    length = sum(
        int(np.abs(np.array(loop) - np.roll(loop, -1, axis=0)).sum()) for loop in outlines(region)
    )
    assert length == edges


def test_a_rectangle_has_four_corners() -> None:
    region = np.zeros((6, 8), dtype=bool)
    region[1:4, 2:7] = True
    (loop,) = outlines(region)
    assert sorted(loop) == [(2, 1), (2, 4), (7, 1), (7, 4)]
