"""Pictures of an explanation: which view draws what, in notebooks and as files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from drawings import of_features, of_patches, of_segments, of_words, read, words
from PIL import Image

import harness
from harness import plugins
from harness.drawing.figure import style_sheet
from harness.explainers.explanation import SHOWN, Explanation
from harness.explainers.pictures.draw import draw
from harness.images import png_medium
from harness.records import Attribution, HarnessError, Media, Part, Sample, Unit
from harness.views.picture import Picture

IMAGE = Sample("eye-1", (Part(media=png_medium(Image.new("RGB", (32, 32), "grey"))),))
EACH = [
    of_words("slow meals", [0.8, -0.5]),
    of_patches([float(i - 8) for i in range(16)]),
    of_segments([0.5, -1.0]),
    of_features({"age": 0.5}),
    Attribution("g", "lime", "edge", "ill", "logit", "mask", (Unit("a to b"),), (0.3,)),
]


@pytest.mark.parametrize("attribution", EACH, ids=[a.unit for a in EACH])
@pytest.mark.parametrize("width", [330.0, 640.0])
def test_every_kind_of_unit_has_a_picture_with_its_words(
    attribution: Attribution, width: float
) -> None:
    figure = draw(attribution, None, width)
    root = read(figure.svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == figure.alt
    assert [child.tag.rpartition("}")[2] for child in root][:2] == ["title", "desc"]
    assert "why ill" in words(root)
    assert attribution.sample in figure.alt


def test_several_parts_of_an_input_are_drawn_on_one_scale() -> None:
    image = of_patches([0.0] * 15 + [-2.0])
    text = of_words("slow meals", [1.0, 0.1])
    units = tuple(dataclasses.replace(unit, part=1) for unit in text.units)
    both = dataclasses.replace(
        image, units=image.units + units, values=image.values + text.values, unit="patch+word"
    )
    root = read(draw(both, IMAGE).svg)
    assert "patches and words" in words(root)
    assert "slow" in words(root)
    assert words(root).count("speaks against") == 1
    assert "−2.0" in words(root)


class Radar:
    """A view that draws attributions."""

    mimes = ("application/x-radar",)
    uri = "data:image/png;base64,AAAA"

    def draw(self, media: Media, data: bytes) -> Picture:
        return Picture(note="not here")

    def draw_attribution(self, media: Media, data: bytes, attribution: Attribution) -> Picture:
        assert data == b"echo"
        return Picture(self.uri, 200, 100, alt=f"echoes of {len(attribution.units)} units")


def with_view(monkeypatch: pytest.MonkeyPatch, view: object) -> Sample:
    monkeypatch.setattr(plugins, "registered", lambda _: {"radar": None})
    monkeypatch.setattr(plugins, "create", lambda *_: view)
    media = Media("ab" * 32, "application/x-radar", b"echo")
    return Sample("ecg-1", (Part(media=media),))


def test_a_medium_of_another_modality_is_drawn_by_its_view(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = with_view(monkeypatch, Radar())
    root = read(draw(of_segments([0.5, -1.0]), sample).svg)
    image = next(e for e in root.iter() if e.tag.endswith("image"))
    assert image.get("href") == Radar.uri
    assert "Echoes of 2 units" in words(root) or "echoes of 2 units" in words(root)


@pytest.mark.parametrize("uri", ["https://evil.example/x.png", "javascript:alert(1)"])
def test_a_view_that_would_load_something_costs_a_sentence(
    monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    view = Radar()
    view.uri = uri
    figure = draw(of_segments([0.5, -1.0]), with_view(monkeypatch, view))
    assert uri not in figure.svg
    assert "View 'radar' failed" in words(read(figure.svg))


def test_an_svg_file_stands_alone() -> None:
    svg = draw(EACH[0]).svg
    assert "var(" not in svg
    assert "url(" not in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert "fill: #1a1e23" in svg


def test_the_style_sheet_speaks_of_drawings_alone() -> None:
    for rule in filter(None, style_sheet().splitlines()):
        for selector in (s for part in rule.split("}")[:-1] for s in part.split("{")[0].split(",")):
            assert selector.strip().split(".")[0] in ("svg", "div"), selector
            assert ".drawn" in selector, selector


def test_pictures_are_saved_as_what_their_name_ends_in(tmp_path: Path) -> None:
    figure = draw(EACH[1], IMAGE)
    for name in ("a.svg", "deep/b.html", "c.png"):
        assert figure.save(tmp_path / name).is_file()
    assert read((tmp_path / "a.svg").read_text("utf-8")).tag.endswith("svg")
    assert "<svg" in (tmp_path / "deep/b.html").read_text("utf-8")
    assert Image.open(tmp_path / "c.png").format == "PNG"


def test_a_png_that_cannot_be_had_and_an_unknown_ending_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"save this one as \.svg"):
        draw(EACH[0]).save(tmp_path / "a.png")
    with pytest.raises(HarnessError, match=r"\.svg, \.html or \.png"):
        draw(EACH[0]).save(tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def judge(images: list[object]) -> list[list[float]]:
    """The brightness of an image's left upper corner is the probability of the second class."""
    shares = [float(image[:16, :16].mean()) / 255 for image in images]  # type: ignore[index]
    return [[1 - share, share] for share in shares]


def test_an_explanation_draws_over_the_samples_it_was_given() -> None:
    image = Image.new("RGB", (32, 32))
    image.paste("white", (0, 0, 16, 16))
    found = harness.explain(judge, [image], "leave_one_out", "patch")
    figure = found.draw(0)
    assert figure.paint is not None
    assert figure.svg.count("<image ") == 2
    assert found[:1].draw(0).svg.count("<image ") == 2
    alone = Explanation(found.attributions)
    assert alone == found
    assert alone.draw(0).svg.count("<image ") == 1
    assert alone.with_samples(found.samples).draw(0).svg == figure.svg


def test_samples_are_not_saved_with_an_explanation(tmp_path: Path) -> None:
    found = Explanation((EACH[1],), (IMAGE,))
    found.save(tmp_path / "x.safetensors")
    loaded = Explanation.load(tmp_path / "x.safetensors")
    assert loaded == found
    assert loaded.samples == ()


def test_a_notebook_shows_a_bounded_number_and_says_how_many_more() -> None:
    found = Explanation((EACH[0],) * (SHOWN + 3))
    html = found._repr_html_()
    assert html.count('class="heading"') == SHOWN
    assert html.count("<style>") == 1
    assert "3 more attributions are not shown" in html
    assert "more" not in Explanation((EACH[0],))._repr_html_().split("</style>")[1]
    assert "No attributions" in Explanation(())._repr_html_()


def test_pictures_of_a_whole_explanation_have_names_of_their_own(tmp_path: Path) -> None:
    strange = dataclasses.replace(EACH[0], sample="../../etc/passwd", target="a b/c")
    paths = Explanation((strange, strange, EACH[2])).save_pictures(tmp_path / "pictures")
    assert len(set(paths)) == 3
    for path in paths:
        assert path.parent == tmp_path / "pictures"
        read(path.read_text("utf-8"))
