"""Images as the report shows them."""

from __future__ import annotations

import base64
import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from harness.records import Media
from harness.views.image import ImageView
from harness.views.picture import Picture


def draw(data: bytes, mime: str = "image/png") -> Picture:
    return ImageView().draw(Media(hashlib.sha256(data).hexdigest(), mime, data), data)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(picture: Picture) -> Image.Image:
    assert picture.uri.startswith(("data:image/png;base64,", "data:image/jpeg;base64,"))
    return Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",", 1)[1])))


def test_a_small_picture_comes_back_pixel_for_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    shown = draw(saved(Image.fromarray(pixels)))
    assert (shown.width, shown.height) == (60, 40)
    assert np.array_equal(np.asarray(decoded(shown)), pixels)


def test_a_large_noisy_picture_becomes_a_small_jpeg() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), dtype=np.uint8)
    shown = draw(saved(Image.fromarray(pixels)))
    assert (shown.width, shown.height) == (512, 384)
    assert decoded(shown).format == "JPEG"
    assert len(shown.uri) < 300_000


def test_sixteen_bits_are_stretched_to_eight_so_that_something_can_be_seen() -> None:
    ramp = np.linspace(1000, 3000, 64 * 64).reshape(64, 64).astype(np.uint16)
    values = np.asarray(decoded(draw(saved(Image.fromarray(ramp)))))
    assert values.min() == 0
    assert values.max() == 255


def test_orientation_is_applied_and_other_metadata_dropped() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    exif[0x010E] = "a name that must not leave the clinic"
    data = saved(Image.new("RGB", (30, 20)), "JPEG", exif=exif)
    shown = draw(data, "image/jpeg")
    assert (shown.width, shown.height) == (20, 30)
    assert b"clinic" not in base64.b64decode(shown.uri.split(",", 1)[1])


@pytest.mark.parametrize("data", [b"", b"<svg onload=alert(1)>", b"\x89PNG\r\n\x1a\nbroken"])
def test_what_is_no_picture_becomes_a_note(data: bytes) -> None:
    shown = draw(data)
    assert not shown.uri
    assert "cannot be decoded" in shown.note


def test_a_truncated_picture_becomes_a_note() -> None:
    data = saved(Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99), np.uint8)))
    assert "cannot be decoded" in draw(data[: len(data) // 2]).note
