"""Pairs of units as a heat map beneath words, images and tables."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from drawings import having, of_features, of_patches, of_words, read, words

from harness.explainers.explanation import Explanation
from harness.explainers.pictures.draw import draw
from harness.explainers.pictures.pairs import UNITS
from harness.records import Attribution, Pair


def with_pairs(
    attribution: Attribution, strong: dict[tuple[int, int], float], error: float | None = None
) -> Attribution:
    """All pairs of units, those named with a value and the others with 0."""
    places = combinations(range(len(attribution.units)), 2)
    return replace(
        attribution, pairs=tuple(Pair(a, b, strong.get((a, b), 0.0), error) for a, b in places)
    )


NOTE = with_pairs(
    of_words("food was not good and slow", [0.1, 0, 0, 0, 0, 0.2]),
    {(2, 3): 0.6, (0, 5): -0.3},
    0.02,
)


def test_the_strongest_pairs_are_named_with_their_words_and_errors() -> None:
    figure = draw(NOTE)
    for said in (words(read(figure.svg)), figure.html, Explanation((NOTE,))._repr_html_()):
        assert "“not” with “good” +.60 ± .020, “food” with “slow” −.30 ± .020" in said
    assert "“not” with “good”" in figure.alt


def test_a_cell_stands_for_each_two_of_the_units_of_strong_pairs() -> None:
    root = read(draw(NOTE).svg)
    titles = ["".join(e.itertext()) for e in having(root, "rect") if "".join(e.itertext())]
    cells = [title for title in titles if " with " in title]
    assert len(cells) == 6  # of food, not, good and slow
    (strong,) = [e for e in having(root, "rect", "p4") if "“not” with" in "".join(e.itertext())]
    assert strong.get("width") == strong.get("height")
    (against,) = [e for e in having(root, "rect", "n3") if "slow" in "".join(e.itertext())]
    assert against.get("x") != strong.get("x")


def test_a_pair_and_a_word_of_one_value_have_one_colour() -> None:
    found = with_pairs(of_words("a b c", [0.5, 0, 0]), {(1, 2): 0.5})
    marks = [e for e in having(read(draw(found).svg), "rect", "p4") if "".join(e.itertext())]
    assert len(marks) == 2


@pytest.mark.parametrize(
    "attribution",
    [
        of_patches([0.0] * 15 + [1.0]),
        of_features({"age": 0.5, "weight": -1.0, "smoker": 0.0}),
        of_words("a b c", [0, 1, 0]),
    ],
)
def test_images_tables_and_texts_have_the_table_of_pairs_and_others_have_none(
    attribution: Attribution,
) -> None:
    assert "Strongest pairs" not in words(read(draw(attribution).svg))
    said = words(read(draw(with_pairs(attribution, {(0, 2): 2.0})).svg))
    assert "Strongest pairs" in said
    assert "what pairs of units add together" in said
    nothing = with_pairs(attribution, {})
    assert "No pair of units has a value other than 0." in words(read(draw(nothing).svg))


def test_pictures_over_images_still_have_a_file_of_pixels_that_names_the_pairs() -> None:
    figure = draw(with_pairs(of_patches([0.0] * 15 + [1.0]), {(0, 15): 2.0}))
    assert figure.paint is not None
    assert figure.paint().startswith(b"\x89PNG")
    assert "the upper left with the lower right" in figure.alt


def test_units_beyond_the_table_are_counted_and_long_names_are_cut() -> None:
    names = " ".join(f"word{'x' * 60}{i}" for i in range(30))
    strong = {(i, i + 1): 30.0 - i for i in range(29)}
    root = read(draw(with_pairs(of_words(names, [0.0] * 30), strong)).svg)
    said = words(root)
    assert f"Pairs not in the table: {29 - (UNITS - 1)} weaker ones." in said
    width = float(root.get("width", "0"))
    assert all(float(e.get("x", "0")) < width for e in having(root, "rect"))


def test_words_with_markup_are_text_in_the_table_of_pairs() -> None:
    found = with_pairs(of_words("<b>not</b> \u202egood", [0, 0]), {(0, 1): 1.0})
    html = draw(found).html
    assert "<b>" not in html
    assert "\u202e" not in html
