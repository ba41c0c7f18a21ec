"""Who draws the media of a report, and what stands where no picture can be had."""

from __future__ import annotations

import base64
import hashlib
import io
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from PIL import Image
from report_example import example, with_input

from harness import plugins
from harness.contracts import View
from harness.records import Media
from harness.report import media
from harness.report.page import render
from harness.views.picture import Picture

WAVE = "data:image/svg+xml;base64,PHN2Zy8+"


class Waveform:
    """A view of sound as a third party would write it."""

    mimes = ("audio/wav",)

    def draw(self, medium: Media, data: bytes) -> Picture:
        return Picture(WAVE, 120, 30, alt=f"waveform of {len(data)} bytes")


class Broken:
    mimes = ("audio/wav",)

    def draw(self, medium: Media, data: bytes) -> Picture:
        raise RuntimeError("the decoder <b>burst</b>")


class Spectrum:
    """Draws some of what `Loud` would draw too."""

    mimes = ("audio/wav", "video/")

    def draw(self, medium: Media, data: bytes) -> Picture:
        return Picture(note="spectrum")


class Loud:
    mimes = ("audio/",)

    def draw(self, medium: Media, data: bytes) -> Picture:
        return Picture(note="loud")


class Linked:
    mimes = ("audio/",)

    def draw(self, medium: Media, data: bytes) -> Picture:
        return Picture("https://example.org/beacon.png", 1, 1)


class Paged:
    """Returns what is a data URI, and a page with a script of its own."""

    mimes = ("audio/",)
    uri = "data:text/html,<script>alert(1)</script>"

    def draw(self, medium: Media, data: bytes) -> Picture:
        return Picture(self.uri, 1, 1)


class Scripted(Paged):
    uri = "javascript:alert(1)"


class Spaced(Paged):
    uri = " data:image/png;base64,AAAA"


class Empty(Paged):
    uri = ""


class Endless:
    mimes = ("audio/",)

    def draw(self, medium: Media, data: bytes) -> Picture:
        return Picture("data:image/png;base64," + "A" * 3_000_000, 1, 1)


class Silent:
    mimes = ("audio/",)

    def draw(self, medium: Media, data: bytes) -> Picture:
        return None


class NoView:
    """Registered as a view, but it draws nothing."""


class OneString(Waveform):
    mimes = "audio/wav"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch):
    """Registers classes of this file as a third party's views, beside the built-in ones."""

    def register(*classes: type | str) -> None:
        points = dict(plugins.registered("views"))
        for part in classes:
            name = part if isinstance(part, str) else part.__name__.lower()
            value = part if isinstance(part, str) else f"{__name__}:{part.__name__}"
            points[name] = EntryPoint(name, value, "harness.views")
        monkeypatch.setattr(plugins, "registered", lambda _: points)

    return register


def medium(data: bytes, mime: str = "image/png") -> Media:
    return Media(hashlib.sha256(data).hexdigest(), mime, data)


def png(value: int = 77) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), value).save(buffer, "PNG")
    return buffer.getvalue()


def test_every_registered_view_has_what_its_contract_asks() -> None:
    points = plugins.registered("views")
    assert "image" in points
    for name in points:
        view = plugins.create("views", name)
        assert isinstance(view, View)
        assert isinstance(view.mimes, tuple)


def test_a_view_of_a_third_party_is_drawn_in_the_report(registered) -> None:
    results = with_input(example(), medium(b"RIFF1234", "audio/wav"))
    assert WAVE not in render(results)
    registered(Waveform)
    page = render(results)
    assert f'<img src="{WAVE}" width="120" height="30" alt="waveform of 8 bytes">' in page


def test_a_view_that_raises_costs_a_note_and_not_the_report(registered) -> None:
    registered(Broken)
    page = render(with_input(example(), medium(b"RIFF", "audio/wav")))
    assert "view &#39;broken&#39; failed: the decoder &lt;b&gt;burst&lt;/b&gt;" in page
    assert "</html>" in page


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (Linked, "no data URI of an image"),
        (Paged, "no data URI of an image"),
        (Scripted, "no data URI of an image"),
        (Spaced, "no data URI of an image"),
        (Empty, "neither a picture nor a note"),
        (Endless, "more than 2,000,000 characters"),
        (Silent, "NoneType, no Picture"),
    ],
)
def test_what_a_view_may_not_return_becomes_a_note(registered, view: type, reason: str) -> None:
    registered(view)
    shown = media.picture(medium(b"RIFF", "audio/wav"))
    assert not shown.uri
    assert reason in shown.note


def test_a_view_that_cannot_be_used_is_named_and_leaves_the_others_alone(registered) -> None:
    registered("no_such_module:Gone", NoView, OneString)
    assert media.picture(medium(png())).uri
    note = media.picture(medium(b"RIFF", "audio/wav")).note
    assert "view 'no_such_module:Gone' cannot be used" in note
    assert "view 'noview' cannot be used: it has no 'mimes' or no 'draw'" in note
    assert "view 'onestring' cannot be used: its 'mimes' must be a tuple" in note


def test_the_longest_beginning_of_the_media_type_decides_who_draws(registered) -> None:
    registered(Loud, Spectrum)
    assert media.picture(medium(b"RIFF", "audio/wav")).note == "spectrum"
    assert media.picture(medium(b"ID3", "audio/mpeg")).note == "loud"


def test_bytes_are_found_in_the_blobs_of_the_run(tmp_path: Path) -> None:
    data = png(77)
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / digest).write_bytes(data)
    shown = media.picture(Media(digest, "image/png", path="/gone/elsewhere.png"), tmp_path)
    pixels = base64.b64decode(shown.uri.split(",", 1)[1])
    assert Image.open(io.BytesIO(pixels)).getpixel((0, 0)) == 77


def test_bytes_that_a_record_holds_are_shown_whatever_lies_in_the_blobs(tmp_path: Path) -> None:
    one = medium(png(77))
    (tmp_path / one.sha256).write_bytes(png(200))
    shown = media.picture(one, tmp_path)
    pixels = base64.b64decode(shown.uri.split(",", 1)[1])
    assert Image.open(io.BytesIO(pixels)).getpixel((0, 0)) == 77


def test_a_picture_that_is_gone_becomes_a_note() -> None:
    shown = media.picture(Media("ab" * 32, "image/png", path="/gone/elsewhere.png"))
    assert "not stored" in shown.note


def test_a_medium_that_no_view_draws_is_named_but_not_embedded() -> None:
    shown = media.picture(medium(b"RIFF", "audio/wav"))
    assert not shown.uri
    assert "audio/wav" in shown.note
    assert "no view draws it" in shown.note
