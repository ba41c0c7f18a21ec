"""Values over an image: every part where it lies, in the colour of its sign."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io

import numpy as np
import pytest
from drawings import having, number, of_patches, read, words
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from harness.explainers.pictures.draw import draw
from harness.explainers.pictures.painting import inside
from harness.images import png_medium
from harness.records import Attribution, Media, Part, Sample, Segmentation

VALUES = [0.0] * 16
VALUES[1], VALUES[6], VALUES[15] = 1.0, -0.8, 0.3


def sample(image: Image.Image | None = None) -> Sample:
    shown = image or Image.new("RGB", (64, 64), (128, 128, 128))
    return Sample("eye-1", (Part(media=png_medium(shown)),))


def picture(root, class_: str | None = None) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The first embedded image with this class, or without one, as red, green, blue, opacity."""
    found = next(e for e in root.iter() if e.tag.endswith("image") and e.get("class") == class_)
    data = base64.b64decode(found.get("href").partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(int)


def test_each_part_has_the_colour_of_its_sign_and_no_other_place_has_one() -> None:
    heat = picture(read(draw(of_patches(VALUES), sample()).svg), "pixels")
    assert heat.shape == (32, 32, 4)
    for place, value in enumerate(VALUES):
        row, column = divmod(place, 4)
        block = heat[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        assert (block == block[0, 0]).all()
        red, _, blue, opacity = block[0, 0]
        assert (opacity > 0) == (value != 0)
        assert opacity == 0 or (red > blue) == (value > 0)
    assert heat[0, 8, 3] > heat[31, 31, 3]


def test_outlines_lie_around_their_parts_at_the_size_of_the_picture() -> None:
    root = read(draw(of_patches(VALUES), sample()).svg)
    frame = having(root, "rect", "frame")[0]
    side = number(frame, "width")
    solid, broken, weaker = having(root, "path", "outline")
    assert [e.get("class") for e in (solid, broken, weaker)] == [
        "outline p", "outline n", "outline p",
    ]  # fmt: skip
    for path, place in ((solid, 1), (broken, 6), (weaker, 15)):
        corners = path.get("d", "").strip("MZ").split("L")
        x, y = np.array([corner.split() for corner in corners], dtype=float).T
        row, column = divmod(place, 4)
        ends = (x.min(), x.max(), y.min(), y.max())
        expected = np.array([column, column + 1, row, row + 1]) * side / 4
        assert ends == pytest.approx(expected, abs=0.1)


def test_the_outlined_parts_are_listed_with_their_values() -> None:
    figure = draw(of_patches(VALUES), sample())
    said = words(read(figure.svg))
    for expected in ("+1.0", "−.80", "+.30", "the lower right"):
        assert expected in said
    assert "against it: the" in figure.alt


def test_the_image_is_upright_as_its_orientation_says() -> None:
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    data = buffer.getvalue()
    media = Media(hashlib.sha256(data).hexdigest(), "image/png", data)
    shown = picture(read(draw(of_patches(VALUES), Sample("eye-1", (Part(media=media),))).svg), "")
    assert shown.shape[:2] == (40, 20)
    assert shown[:18, :, 0].min() > shown[22:, :, 0].max() + 100


@pytest.mark.parametrize(
    ("extent", "corner"),
    [((0.25, 0.0, 0.75, 1.0), (0.25, 0.25)), ((0.0, 0.25, 1.0, 0.75), (0.0, 0.375)),
     ((-0.5, 0.0, 1.5, 1.0), (-0.5, 0.25)), (None, (0.0, 0.25))],
)  # fmt: skip
def test_parts_lie_on_what_of_the_image_the_classifier_was_shown(
    extent: tuple[float, ...] | None, corner: tuple[float, float]
) -> None:
    found = of_patches(VALUES)
    seen = dataclasses.replace(found.segmentation[0], extent=extent)
    heat = picture(read(draw(replaced(found, seen), sample()).svg), "pixels")
    rows, columns = heat.shape[:2]
    top, bottom = (0.0, 1.0) if extent is None else (extent[0], extent[2])
    warm = np.argwhere((heat[..., 3] == heat[..., 3].max()) & (heat[..., 0] > heat[..., 2]))
    if not len(warm) or corner[0] + (bottom - top) / 4 <= 0:
        assert top < 0  # the strongest part lies wholly on the border that was added
        return
    assert warm.min(axis=0) == pytest.approx([corner[0] * rows, corner[1] * columns], abs=1)


def replaced(found: Attribution, seen: Segmentation) -> Attribution:
    return dataclasses.replace(found, segmentation=(seen,))


@pytest.mark.parametrize("values", [VALUES, [0.0] * 16])
def test_without_an_image_the_parts_are_shown_alone(values: list[float]) -> None:
    root = read(draw(of_patches(values)).svg)
    assert len([e for e in root.iter() if e.tag.endswith("image")]) == 1


def test_an_image_whose_bytes_are_gone_costs_a_sentence_not_the_picture() -> None:
    gone = Sample("eye-1", (Part(media=Media("0" * 64, "image/png", path="/nowhere/x.png")),))
    assert "cannot be read here" in words(read(draw(of_patches(VALUES), gone).svg))


def test_parts_that_were_not_seen_have_no_colour_and_are_counted() -> None:
    values: list[float | None] = [None, *VALUES[1:]]
    root = read(draw(of_patches(values), sample()).svg)
    assert picture(root, "pixels")[0, 0, 3] == 0
    assert "not seen by the classifier (1 of 16 parts)" in words(root)


def painted(attribution: Attribution) -> Image.Image:
    figure = draw(attribution, sample())
    assert figure.paint is not None
    image = Image.open(io.BytesIO(figure.paint()))
    image.load()
    return image


def test_the_png_has_the_same_colours_and_its_words_in_the_file() -> None:
    image = painted(of_patches(VALUES))
    assert image.format == "PNG"
    assert "why ill" in image.text["Title"]  # type: ignore[attr-defined]
    assert "What weighs most" in image.text["Description"]  # type: ignore[attr-defined]
    plain = np.asarray(painted(of_patches([0.0] * 15 + [1e-9])).convert("RGB")).astype(int)
    marked = np.asarray(image.convert("RGB")).astype(int)
    side = 960 / 4  # twice 480 pixels, from the corner (20, 70)
    for place, warm in ((1, True), (6, False)):
        row, column = divmod(place, 4)
        y, x = int(70 + side * (row + 0.25)), int(20 + side * (column + 0.25))
        red, _, blue = marked[y, x]
        assert bool(red > blue) is warm
        assert abs(plain[y, x][0] - plain[y, x][2]) <= 1


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans()))
def test_a_part_s_number_stands_inside_of_it(region: np.ndarray) -> None:
    region[0, 0] = True
    assert region[inside(region)]
