"""Units: they tile a text, number the regions of an array, and nest."""

from __future__ import annotations

import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from harness.explainers.units.images import Mask, Patch, Superpixel
from harness.explainers.units.text import Paragraph, Sentence, Spans, Word
from harness.explainers.units.time import TimeSegment
from harness.records import HarnessError
from harness.sentences import sentences

KINDS = {"word": Word(), "sentence": Sentence(), "paragraph": Paragraph()}

PIECES = (
    "word", "Dr. Smith", "ends. Next", "disease.What", "see (this)", "**Bold.** Then", "- item\n",
    "1. First\n", "## Head\n", "Causes include:\n", " ", "\r\n", "\n\n", "\r\n\r\n", "\u2029", "\t",
    "痛みがある。熱も「ある。」と", "ภาษาไทย", "ကြောင်", "ខ្មែរ", "ｶﾞ", "e\u0301", "\u0301", "葛\U000e0100",
    "👩🏽‍⚕️", "🇨🇭", "日本abc3", "...!?", "---\n", "[a page](http://x.org/See.Next).", "\ufeff", "\x1c", "\x00",
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


def parts(kind: object, text: str, sample: str = "") -> list[str]:
    return [text[start:end] for start, end in kind.split(text, sample)]


# --- texts ---------------------------------------------------------------------------------


@given(TEXTS)
@settings(max_examples=400)
def test_every_kind_tiles_any_text_and_begins_with_what_is_no_white_space(text: str) -> None:
    for kind in KINDS.values():
        found = parts(kind, text)
        assert "".join(found) == text
        assert all(found)
        assert not any(part[0].isspace() for part in found[1:])
        assert len(found) == 1 or all(part.strip() for part in found)


@given(TEXTS)
@settings(max_examples=400)
def test_a_unit_never_crosses_the_border_of_a_larger_one(text: str) -> None:
    for kind in KINDS.values():
        if kind.within:
            starts = {start for start, _ in kind.split(text)}
            assert {start for start, _ in KINDS[kind.within].split(text)} <= starts


@given(TEXTS)
@settings(max_examples=400)
def test_a_mark_stays_with_the_character_it_is_written_on(text: str) -> None:
    for kind in KINDS.values():
        for start, _ in kind.split(text)[1:]:
            clings = unicodedata.category(text[start])[0] == "M" or text[start] == "\u200d"
            assert not clings or text[start - 1].isspace()


@pytest.mark.parametrize("kind", KINDS.values())
def test_an_empty_text_has_no_unit_and_white_space_is_one(kind: Word) -> None:
    assert kind.split("") == ()
    assert kind.split(" \r\n\t\n ") == ((0, 6),)
    assert kind.split("x") == ((0, 1),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  It hurts,  badly.\n", ["  It ", "hurts,  ", "badly.\n"]),
        ("(see f(x)) don't", ["(see ", "f(x)) ", "don't"]),
        ("kidney disease.What now", ["kidney ", "disease.", "What ", "now"]),
        ("痛み、熱。彼は", ["痛", "み、", "熱。", "彼", "は"]),
        ("「熱」と（本)", ["「熱」", "と", "（本)"]),
        ("MRI検査3日 後", ["MRI", "検", "査", "3", "日 ", "後"]),
        ("葛\U000e0100が か\u3099", ["葛\U000e0100", "が ", "か\u3099"]),
        ("น้ำดี", ["น้", "ำ", "ดี"]),
        ("ខ្មែរ", ["ខ្មែ", "រ"]),
        ("ｶﾞｽ", ["ｶﾞ", "ｽ"]),
        ("한국어 문장", ["한국어 ", "문장"]),
        ("naïve e\u0301tude", ["naïve ", "e\u0301tude"]),
        ("ok 👩🏽‍⚕️👍 🇨🇭!", ["ok ", "👩🏽‍⚕️👍 ", "🇨🇭!"]),
        ("a\xa0b", ["a\xa0", "b"]),
    ],
)
def test_words_are_cut_where_a_reader_would_cut_them(text: str, expected: list[str]) -> None:
    assert parts(Word(), text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two!  Three?\n", ["One. ", "Two!  ", "Three?\n"]),
        ("Ask Dr. Smith, i.e. the doctor. Go.", ["Ask Dr. Smith, i.e. the doctor. ", "Go."]),
        ("It wraps\nhere. Next.", ["It wraps\nhere. ", "Next."]),
        ("It is so.\nNext", ["It is so.\n", "Next"]),
        ("Causes:\n  - rest\n  1. Wine. Beer.\n", ["Causes:\n  ", "- rest\n  ", "1. Wine. ", "Beer.\n"]),
        ("## Causes\nWine. ... Beer", ["## Causes\n", "Wine. ... ", "Beer"]),
        ("**Bold.** **Next** `one`.", ["**Bold.** ", "**Next** `one`."]),
        ("See [it](http://x.org/abc.Def). Go.", ["See [it](http://x.org/abc.Def). ", "Go."]),
        ("Kidney disease.What now", ["Kidney disease.", "What now"]),
        ("「熱がある。」と言う。痛い", ["「熱がある。」", "と言う。", "痛い"]),
        ("... Wait. Go", ["... Wait. ", "Go"]),
        ("One\n\n***\n\nTwo", ["One\n\n", "***\n\n", "Two"]),
    ],
)  # fmt: skip
def test_sentences_are_cut_where_a_reader_would_cut_them(text: str, expected: list[str]) -> None:
    assert parts(Sentence(), text) == expected


@given(st.lists(st.sampled_from(["Alcohol harms (a lot).", "Rest 0.5 h!", "Why?", "See Dr. No."]), min_size=1, max_size=8), st.sampled_from([" ", "\n", "\n\n", "\r\n"]))  # fmt: skip
def test_sentences_of_prose_are_those_that_the_scorers_see(prose: list[str], between: str) -> None:
    text = between.join(prose)
    assert [part.strip() for part in parts(Sentence(), text)] == list(sentences(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One\ntwo\n\nThree", ["One\ntwo\n\n", "Three"]),
        ("\n\n One\r\n \t\r\n  Three\r\n", ["\n\n One\r\n \t\r\n  ", "Three\r\n"]),
        ("- a\n- b", ["- a\n- b"]),
    ],
)
def test_paragraphs_are_parted_by_blank_lines(text: str, expected: list[str]) -> None:
    assert parts(Paragraph(), text) == expected


def test_a_long_text_is_divided_like_a_short_one() -> None:
    text = "Wine harms. See Dr. Smith.Then rest:\n- a list (item)\n\n日本。Go!\n\n"
    for kind in KINDS.values():
        assert parts(kind, text * 2000) == parts(kind, text) * 2000


def test_given_spans_are_units_and_so_is_what_lies_between_them() -> None:
    text = "Label: gastritis. Note: pain"
    assert parts(Spans([[18, 22], [7, 16]]), text) == [
        "Label: ",
        "gastritis",
        ". ",
        "Note",
        ": pain",
    ]
    assert parts(Spans([[0, 6], [7, 16]]), text) == ["Label: ", "gastritis", ". Note: pain"]


def test_spans_are_looked_up_by_sample() -> None:
    kind = Spans({"a": [[0, 2]], "b": []})
    assert parts(kind, "abcd", "a") == ["ab", "cd"]
    assert parts(kind, "abcd", "b") == ["abcd"]
    assert parts(kind, "", "b") == []
    with pytest.raises(HarnessError, match="no spans for sample 'c'"):
        kind.split("abcd", "c")


@given(TEXTS.filter(lambda text: not any(map(str.isspace, text))), st.data())
def test_given_spans_tile_any_text_and_are_kept_to_the_character(text: str, data) -> None:
    edges = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    found = Spans(spans).split(text)
    assert "".join(text[start:end] for start, end in found) == text
    assert set(spans) <= set(found)


@pytest.mark.parametrize(
    ("spans", "told"),
    [
        ([[0, 3], [2, 5]], r"span \[2, 5\] overlaps \[0, 3\]"),
        ([[3, 1]], r"span \[3, 1\] is not 0 <= start < end"),
        ([[2, 2]], "is not 0 <= start < end"),
        ([[-1, 2]], "is not 0 <= start < end"),
        ({"s": [[0, 9]]}, r"span \[0, 9\] of sample 's' ends behind the text's 6 characters"),
        ([[2, 4]], "holds only white space"),
        ([[0, 1, 2]], "is \\[start, end\\]"),
        ([[0, 1.5]], "is \\[start, end\\]"),
        ([3], "is \\[start, end\\]"),
        ("ab", "is a list of"),
        ({"s": 5}, "of sample 's' is a list of"),
    ],
)
def test_spans_that_cannot_be_right_are_refused(spans: object, told: str) -> None:
    with pytest.raises(HarnessError, match=told):
        Spans(spans).split("ab  cd", "s")


# --- arrays --------------------------------------------------------------------------------


def assert_numbered(labels: np.ndarray, shape: tuple[int, ...]) -> None:
    assert labels.shape == shape
    assert labels.dtype == np.int32
    numbers = np.unique(labels)
    assert (numbers[numbers >= 0] == np.arange(labels.max(initial=-1) + 1)).all()


@given(array_shapes(min_dims=2, max_dims=4, max_side=9), st.integers(1, 5), st.integers(1, 11))
def test_patches_are_boxes_of_the_given_size_or_what_is_left(
    shape: tuple[int, ...], height: int, width: int
) -> None:
    labels = Patch((height, width)).split(np.zeros((*shape, 3)))
    assert_numbered(labels, shape)
    steps = np.prod(shape[:-2], dtype=int)
    assert labels.max() + 1 == steps * -(-shape[-2] // height) * -(-shape[-1] // width)
    for label in np.unique(labels):
        places = np.nonzero(labels == label)
        box = [axis.max() - axis.min() + 1 for axis in places]
        assert np.prod(box) == len(places[0])
        assert box[-2] <= height
        assert box[-1] <= width
        assert all(side == 1 for side in box[:-2])


def test_patches_are_numbered_row_by_row() -> None:
    labels = Patch(2).split(np.zeros((3, 5, 1)))
    np.testing.assert_array_equal(labels, [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]])


def test_a_patch_may_span_frames_where_it_has_a_size_for_them() -> None:
    labels = Patch((2, 4, 4)).split(np.zeros((4, 4, 8, 3)))
    assert_numbered(labels, (4, 4, 8))
    assert (labels[:2] == labels[0]).all()
    assert labels.max() == 3


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_superpixels_follow_the_edges_of_what_is_drawn(channels: int) -> None:
    image = np.full((40, 60, channels), 100.0)
    image[8:30, 20:45] = 180.0
    kind = Superpixel(count=20, compactness=0.1)
    labels = kind.split(image)
    assert_numbered(labels, (40, 60))
    for label in np.unique(labels):
        assert len(np.unique(image[labels == label])) == 1
    assert (labels == kind.split(image)).all()
    assert (labels == kind.split(image / 1000 - 7)).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 3, 1), (16, 16, 3)])
def test_superpixels_of_a_plain_or_tiny_image_are_numbered_too(shape: tuple[int, ...]) -> None:
    labels = Superpixel().split(np.ones(shape))
    assert_numbered(labels, shape[:-1])


@pytest.mark.parametrize(
    "array", [np.full((4, 4, 3), np.nan), np.zeros((9, 3)), np.zeros((0, 2, 3))]
)
def test_superpixels_of_what_is_no_image_are_refused(array: np.ndarray) -> None:
    with pytest.raises(HarnessError, match="sample 's' has no finite array"):
        Superpixel().split(array, "s")


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 12))
def test_segments_are_equally_long_but_for_the_last(steps: int, beside: int, size: int) -> None:
    labels = TimeSegment(size).split(np.zeros((steps, beside, 2)))
    assert_numbered(labels, (steps, beside))
    assert (labels == (np.arange(steps) // size)[:, None]).all()


@pytest.mark.parametrize(
    ("size", "rate", "lengths"),
    [(0.5, 8, [4, 4, 2]), (0.1, 30, [3, 3, 3, 1]), (0.25, 10, [3, 2, 3, 2]), (60, 100, [10])],
)
def test_segments_in_seconds_begin_at_the_nearest_step(
    size: float, rate: float, lengths: list[int]
) -> None:
    labels = TimeSegment(size, rate).split(np.zeros((10, 1)))
    assert np.bincount(labels).tolist() == lengths


@given(st.floats(0.01, 3), st.floats(0.5, 500), st.integers(0, 300))
def test_segments_in_seconds_leave_no_number_out(size: float, rate: float, steps: int) -> None:
    if size * rate >= 1:
        assert_numbered(TimeSegment(size, rate).split(np.zeros((steps, 1))), (steps,))


def test_a_mask_is_numbered_anew_and_negative_places_belong_to_nobody() -> None:
    given_map = [[7, 7, -3], [2, -1, 7]]
    labels = Mask(given_map).split(np.zeros((2, 3, 3)))
    assert_numbered(labels, (2, 3))
    np.testing.assert_array_equal(labels, [[1, 1, -1], [0, -1, 1]])
    np.testing.assert_array_equal(Mask([[True, False]]).split(np.zeros((1, 2, 1))), [[1, 0]])


def test_a_mask_is_read_from_files_and_looked_up_by_sample(tmp_path: Path) -> None:
    from PIL import Image

    drawn = np.array([[0, 255, 9], [0, 0, 9]])
    Image.fromarray(drawn.astype(np.uint8)).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", drawn - 5)
    kind = Mask({"a": str(tmp_path / "a.png"), "b": tmp_path / "b.npy", "c": drawn})
    array = np.zeros((2, 3, 1))
    np.testing.assert_array_equal(kind.split(array, "a"), [[0, 2, 1], [0, 0, 1]])
    np.testing.assert_array_equal(kind.split(array, "b"), [[-1, 1, 0], [-1, -1, 0]])
    np.testing.assert_array_equal(kind.split(array, "c"), kind.split(array, "a"))
    with pytest.raises(HarnessError, match="no mask for sample 'd'"):
        kind.split(array, "d")


def test_another_mask_has_other_settings_also_under_the_same_path(tmp_path: Path) -> None:
    path = tmp_path / "m.npy"
    np.save(path, np.zeros((2, 2)))
    before = Mask(path).settings
    np.save(path, np.eye(2))
    assert Mask(path).settings != before
    assert Mask([[0, 1]]).settings != Mask([[0], [1]]).settings
    assert Mask([[0, 1]]).settings == Mask(np.array([[0.0, 1.0]])).settings


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        ([[0, 1]], "mask for sample 's' is 1 x 2, but its array is 2 x 2; resize the mask"),
        ([[0.5, 1], [0, 1]], "no whole number"),
        ([[0, 1], [0]], "rows of the mask differ in length"),
        ([["a"]], "no whole number"),
        ("nowhere.png", "'nowhere.png' is no PNG or NPY file"),
        (Path(__file__), "is no PNG or NPY file"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask: object, told: str) -> None:
    with pytest.raises(HarnessError, match=told):
        Mask(mask).split(np.zeros((2, 2, 3)), "s")


def test_a_file_that_only_claims_to_be_a_mask_is_refused(tmp_path: Path) -> None:
    for name in ("a.png", "b.npy"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(HarnessError, match=f"{name}' cannot be read"):
            Mask(tmp_path / name).split(np.zeros((2, 2, 3)))
    np.save(tmp_path / "c.npy", np.array([{}]))
    with pytest.raises(HarnessError, match="cannot be read"):
        Mask(tmp_path / "c.npy").split(np.zeros((1, 1)))


@pytest.mark.parametrize(
    ("kind", "given_settings", "told"),
    [
        (Patch, {"size": 0}, "size is a whole number of at least 1"),
        (Patch, {"size": "big"}, "size is a number of pixels"),
        (Patch, {"size": []}, "size is a number of pixels"),
        (Superpixel, {"count": 0}, "count is a whole number"),
        (Superpixel, {"compactness": -1}, "compactness is a number above 0"),
        (TimeSegment, {"size": 0.5}, "size is a whole number"),
        (TimeSegment, {"size": 0.5, "rate": 0}, "rate is a number above 0"),
        (TimeSegment, {"size": 0.01, "rate": 50}, "make size at least 0.02"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(kind, given_settings: dict, told: str) -> None:
    with pytest.raises(HarnessError, match=told):
        kind(**given_settings)


def test_a_patch_with_more_sides_than_the_array_is_refused() -> None:
    with pytest.raises(HarnessError, match="have 2 sides, but the array of sample 's' has 1 dim"):
        Patch(4).split(np.zeros((9, 2)), "s")


@pytest.mark.parametrize(
    "kind",
    [Spans([[0, 2]]), Patch(), Superpixel(), TimeSegment(3), Mask([[0, 1]]), *KINDS.values()],
)
def test_kinds_can_be_sent_to_another_process(kind: Word) -> None:
    again = pickle.loads(pickle.dumps(kind))
    assert getattr(again, "settings", None) == getattr(kind, "settings", None)
    assert (again.reads, again.within) == (kind.reads, kind.within)
