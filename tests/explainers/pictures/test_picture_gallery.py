"""Concepts with their strongest inputs."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from drawings import having, number, read, words
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.explainers.pictures.gallery import Concept, Crop, Excerpt, excerpt, gallery
from harness.images import png_medium
from harness.records import HarnessError, Media

TEXT = "The patient reports slow emptying of the stomach at the scan. " * 4


@given(st.text(st.sampled_from("ab \n<é"), min_size=1, max_size=300), st.data())
def test_an_excerpt_holds_its_unit_between_what_stands_beside_it(text: str, data: object) -> None:
    draw = data.draw  # type: ignore[attr-defined]
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 100)))
    before, unit, after = excerpt(Excerpt(text, start, end))
    assert unit.strip() == " ".join(text[start:end].split())
    assert len(before) <= 62
    assert len(after) <= 62
    whole = " ".join(text.split())
    assert " ".join(before.lstrip("…").split()) in whole
    assert " ".join(after.rstrip("…").split()) in whole


def test_the_unit_is_marked_in_both_forms_and_the_score_is_named() -> None:
    start = TEXT.index("slow")
    figure = gallery([Concept("delay <i>", [Excerpt(TEXT, start, start + 13, 3.2)], ("AUC", 0.91))])
    assert re.search(r'<mark title="3\.2">slow emptying</mark>', figure.page)
    root = read(figure.svg)
    marked = " ".join(e.text or "" for e in having(root, "text", "marked"))
    assert marked == "slow emptying"
    assert len(having(root, "rect", "mark")) == 1
    for said in (words(root), figure.alt):
        assert "AUC .91" in said
        assert "delay <i>" in said
    assert "<i>" not in figure.page


def test_a_patch_is_cut_out_where_it_lies_and_outlined() -> None:
    array = np.zeros((120, 160, 3), dtype=np.uint8)
    array[60:80, 80:100] = 255
    media = png_medium(Image.fromarray(array))
    # The same patch in the array of a classifier that is given 60 x 80.
    root = read(gallery([Concept("bright", [Crop(media, (30, 40, 10, 10), (60, 80))])]).svg)
    outline = having(root, "rect", "outline")[0]
    image = next(e for e in root.iter() if e.tag.endswith("image"))
    data = base64.b64decode((image.get("href") or "").partition(",")[2])
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(float)
    scale = shown.shape[1] / number(image, "width")
    x = (number(outline, "x") - number(image, "x")) * scale
    y = (number(outline, "y") - number(image, "y")) * scale
    size = number(outline, "width") * scale
    inside = shown[round(y) + 3 : round(y + size) - 3, round(x) + 3 : round(x + size) - 3]
    assert inside.min() > 200
    assert (shown > 128).sum() == pytest.approx(size * size, rel=0.05)


def test_an_image_that_cannot_be_read_costs_a_note() -> None:
    gone = Media("ab" * 32, "image/png", path="/nowhere/x.png")
    figure = gallery([Concept("lost", [Crop(gone, (0, 0, 4, 4))])])
    for said in (words(read(figure.svg)), figure.page):
        assert "cannot be read here" in said


def test_no_more_inputs_are_shown_than_asked_and_cards_do_not_overlap() -> None:
    many = [Concept(f"c{i}", [Excerpt(TEXT, 4, 11)] * (1 + i)) for i in range(5)]
    root = read(gallery(many, most=3).svg)
    assert len(having(root, "rect", "mark")) == 1 + 2 + 3 + 3 + 3
    frames = []
    for group in root.iter():
        found = [e for e in group if e.get("class") == "frame"]
        if found:
            x, y = re.findall(r"[\d.]+", group.get("transform", ""))
            right, bottom = number(found[0], "width"), number(found[0], "height")
            frames.append((float(x), float(y), float(x) + right, float(y) + bottom))
    assert len(frames) == 5
    for i, a in enumerate(frames):
        for b in frames[:i]:
            assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]


def test_no_concepts_are_refused() -> None:
    with pytest.raises(HarnessError, match="no concept"):
        gallery([])
