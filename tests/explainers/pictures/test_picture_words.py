"""Marked text: all of it is there, in order, within its lines, and harmless."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from drawings import having, number, of_words, read, words
from hypothesis import given
from hypothesis import strategies as st

from harness.drawing.svg import measured
from harness.explainers.pictures.draw import draw
from harness.explainers.pictures.words import CHARACTERS, SIZE, lay_out

HOSTILE = "</text></svg><script>alert(1)</script> \"' onload='x' ]]>--> <img src=x>\u202e\x00"
letters = st.text(st.sampled_from("abcW .,\n\t中é"), max_size=40)


@given(st.lists(letters, max_size=12), st.floats(40, 400))
def test_lines_hold_every_character_but_white_space_in_its_order(
    texts: list[str], width: float
) -> None:
    lines = lay_out(list(enumerate(texts)), width)
    drawn = [(run.unit, char) for line in lines for run in line for char in run.text.strip()]
    given_ = [(unit, char) for unit, text in enumerate(texts) for char in text]
    assert [p for p in drawn if not p[1].isspace()] == [p for p in given_ if not p[1].isspace()]


@given(st.lists(letters, max_size=12), st.floats(40, 400))
def test_no_run_lies_outside_its_line_or_over_another(texts: list[str], width: float) -> None:
    for line in lay_out(list(enumerate(texts)), width):
        at = 0.0
        for run in line:
            assert run.left >= at - 1e-6
            assert run.right <= width + 1e-6
            assert run.right - run.left == pytest.approx(measured(run.text, SIZE))
            at = run.right


def test_a_word_of_several_units_is_not_divided_at_a_line_s_end() -> None:
    pieces = [(0, "first "), (1, "gastro"), (2, "paresis"), (3, " last")]
    width = measured("first gastropar", SIZE)
    lines = [[run.text for run in line] for line in lay_out(pieces, width)]
    assert lines == [["first"], ["gastro", "paresis"], ["last"]]


def test_what_speaks_for_has_a_solid_line_and_what_speaks_against_a_broken_one() -> None:
    root = read(draw(of_words("gastroparesis meals rest now", [0.8, -0.5, 0.01, 0.2])).svg)
    legend = number(having(root, "rect", "frame")[-1], "width")
    lines = [
        (set(e.get("class", "").split()) - {"over"}, number(e, "x2") - number(e, "x1"))
        for e in having(root, "line", "over")
        if number(e, "x2") - number(e, "x1") != pytest.approx(legend / 9 - 8)
    ]
    assert lines == [
        ({"p", "w4"}, pytest.approx(measured("gastroparesis", SIZE), abs=0.2)),
        ({"n", "w3"}, pytest.approx(measured("meals", SIZE), abs=0.2)),
        ({"p", "w2"}, pytest.approx(measured("now", SIZE), abs=0.2)),
    ]


def test_a_marked_word_names_its_value() -> None:
    figure = draw(of_words("slow meals", [0.8, -0.5]))
    assert "slow: +.80" in figure.svg
    assert 'title="−.50"' in figure.html


def test_units_that_were_not_seen_are_struck_out_and_said() -> None:
    figure = draw(of_words("slow meals rest", [0.8, None, None]))
    root = read(figure.svg)
    assert [e.text for e in having(root, "text", "unseen")] == ["meals", "rest"]
    assert len(having(root, "line", "strike")) == 2
    assert "not seen by the classifier (2 of 3 units)" in words(root)
    assert figure.html.count('class="unseen"') == 2


class Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(str(html))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(sorted(name for name, _ in attrs))))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(max_size=30))
def test_no_text_changes_the_elements_of_the_page(payload: str) -> None:
    def page(more: str) -> Elements:
        found = of_words("slow meals rest", [0.8, -0.5, None], target=f"ill{more}")
        units = list(found.units)
        units[0] = type(units[0])("slow" + more, 0, 4 + len(more))
        return Elements(draw(type(found)(**{**vars(found), "units": tuple(units)})).page)

    assert page(payload).seen == page("").seen


def test_hostile_text_is_shown_and_runs_nothing() -> None:
    figure = draw(of_words(HOSTILE, [0.8] * len(HOSTILE.split()), target=HOSTILE))
    root = read(figure.svg)
    assert {e.tag.rpartition("}")[2] for e in root.iter()} <= {
        "svg", "title", "desc", "style", "g", "rect", "text", "line",
    }  # fmt: skip
    assert "<script>alert(1)</script>" in words(root)
    assert "⟨U+202E⟩" in words(root)
    assert "<script" not in figure.page
    assert "<script>alert(1)</script>" in Elements(figure.page).text


def test_the_page_holds_the_text_as_it_is() -> None:
    text = "Slow  emptying,\nseen at the scan. "
    figure = draw(of_words(text, [0.1 * i for i in range(6)]))
    paragraph = re.search(r'<p class="text".*?</p>', figure.page, re.DOTALL)
    assert paragraph
    assert Elements(paragraph.group()).text == text


def test_text_from_right_to_left_begins_at_the_right() -> None:
    root = read(draw(of_words("שלום עולם", [0.8, 0.4])).svg)
    first, second = having(root, "text", "word")
    assert first.text == "שלום"
    assert number(first, "x") > number(second, "x")


def test_a_very_long_text_is_cut_and_the_rest_counted() -> None:
    count = CHARACTERS // 5 + 300
    figure = draw(of_words("word " * count, [0.1] * count))
    assert f"Not shown: the last 300 of {count:,} units." in words(read(figure.svg))


def test_a_text_without_any_weight_has_no_legend() -> None:
    assert "speaks" not in draw(of_words("slow meals", [0.0, 0.0])).svg
