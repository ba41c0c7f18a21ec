"""Summaries of attributions in words: each name stands on one side, for the target or against it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.explainers.summary import summary

sys.path.append(str(Path(__file__).parent / "pictures"))

from drawings import of_patches, of_words


def sides(said: str) -> tuple[set[str], set[str]]:
    """What is named for the target, and against it."""
    before, _, behind = said.partition(" (against it: ")
    split = [re.split(r", | and ", part.rstrip(")")) for part in (before, behind)]
    return set(split[0]), {name for name in split[1] if name}


@pytest.mark.parametrize("seed", range(60))
def test_no_region_is_named_for_and_against_the_target(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=36)
    for_it, against = sides(summary(of_patches(values.tolist(), across=6, side=36)))
    assert not for_it & against


def test_a_region_stands_on_the_side_of_its_sum() -> None:
    values = np.zeros((6, 6))
    values[0, 0], values[0, 1], values[1, 0] = 1.0, -2.0, -0.5  # the upper left: -1.5
    values[5, 5], values[5, 4] = 0.6, -0.2  # the lower right: 0.4
    said = summary(of_patches(values.flatten().tolist(), across=6, side=36))
    assert said == "the lower right (against it: the upper left)"


def test_a_region_that_cancels_out_is_not_named() -> None:
    values = np.zeros((6, 6))
    values[0, 0], values[0, 1] = 1.0, -1.0
    assert summary(of_patches(values.flatten().tolist(), across=6, side=36)) == (
        "nothing in particular"
    )


def test_a_word_that_stands_twice_is_on_one_side() -> None:
    values = [0.5, 0.2, -0.1, -0.3, -0.6]
    said = summary(of_words("pain no pain fever fever", values))
    assert said == "“pain” and “no” (against it: “fever”)"
