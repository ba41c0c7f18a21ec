"""Methods by metrics: the better the darker, and no colour for what random does as well."""

from __future__ import annotations

import re

import pytest
from drawings import having, read, words

from harness.explainers.pictures.heat_map import Column, Entry, Row, heat_map
from harness.records import HarnessError

COLUMNS = [Column("insertion_auc"), Column("deletion_auc", "lower")]
ROWS = [
    Row("random", {"insertion_auc": Entry(0.5), "deletion_auc": Entry(0.5)}, reference=True),
    Row("lime", {"insertion_auc": Entry(0.9, 0.8, 1.0, True), "deletion_auc": Entry(0.3)}),
    Row("saliency", {"insertion_auc": Entry(0.55, 0.4, 0.7, False), "deletion_auc": Entry(0.4)}),
    Row("sobol", {"insertion_auc": Entry(0.7), "deletion_auc": Entry(None)}),
]


def cells(html: str) -> dict[str, list[tuple[str, str]]]:
    """Class and content of each cell, by the row's name."""
    found = {}
    for row in re.findall(r'<tr class="\w+">(.*?)</tr>', html):
        name = re.search(r'<th scope="row">(.*?)</th>', row)
        assert name
        found[name.group(1)] = re.findall(r'<td class="(\w*)">(.*?)</td>', row)
    return found


def test_the_best_is_darkest_whichever_direction_is_better() -> None:
    found = cells(heat_map(ROWS, COLUMNS).page)
    assert [kind for kind, _ in found["lime"]] == ["t6", "t6"]
    assert found["saliency"][1][0] < found["lime"][1][0]
    assert found["sobol"][0][0] < found["lime"][0][0]


def test_what_is_no_better_than_random_is_struck_and_has_no_shade() -> None:
    figure = heat_map(ROWS, COLUMNS)
    kind, content = cells(figure.page)["saliency"][0]
    assert kind == "failed"
    assert "<s " in content
    root = read(figure.svg)
    assert len(having(root, "path", "hatch")) == 1
    assert len(having(root, "line", "struck")) == 1


def test_references_come_last_without_colour_and_missing_values_are_dashes() -> None:
    figure = heat_map(ROWS, COLUMNS)
    found = cells(figure.page)
    assert list(found) == ["lime", "saliency", "sobol", "random"]
    assert [kind for kind, _ in found["random"]] == ["", ""]
    assert "–" in found["sobol"][1][1]
    said = words(read(figure.svg))
    assert said.index("sobol") < said.index("random")


def test_directions_intervals_and_the_best_are_said_in_words() -> None:
    figure = heat_map(ROWS, COLUMNS, "Which <b>method</b>?")
    said = words(read(figure.svg))
    for expected in ("↑ higher", "↓ lower", "[.80, 1.0]", "Which <b>method</b>?"):
        assert expected in said
    assert "insertion_auc: best lime .90" in figure.alt
    assert "deletion_auc: best lime .30" in figure.alt
    assert "<b>method</b>" not in figure.page


def test_a_metric_that_no_method_does_better_than_random_says_so() -> None:
    rows = [Row("lime", {"insertion_auc": Entry(0.4, beats_random=False)})]
    figure = heat_map(rows, COLUMNS[:1])
    assert "no method better than random" in figure.alt
    assert having(read(figure.svg), "rect", "h6") == []


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(HarnessError, match="needs a method"):
        heat_map([], COLUMNS)
