"""Which parts of an input a text cites, by tables of texts and by pictures with one bright place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.explainers.division import run_lengths
from harness.explainers.summary import summary
from harness.explainers.units.text import Sentence, Word
from harness.identity import sha256
from harness.images import to_png
from harness.octa.geometry import FIELD_MM, SECTORS, sector_index
from harness.records import Attribution, Evidence, Media, Part, Sample, Unit
from harness.scorers.citations import NINTHS, Item, cited, counts, items_of

SAMPLE = Sample("s", (Part("text"),))


def of_text(text: str, values: Any, unit: Any = Word, kind: str = "word") -> Attribution:
    spans = unit().split(text)
    units = tuple(Unit(text[a:b], a, b) for a, b in spans)
    return Attribution("s", "m", kind, "gastritis", "probability", "mask", units, tuple(values))


def named(attribution: Attribution, *labels: str) -> dict[str, float]:
    return {i.name: i.value for i in items_of(attribution, SAMPLE, labels, "ninths")}


def cites(items: tuple[Item, ...], text: str) -> set[str]:
    return {
        i.name
        for i, share in zip(items, cited(items, text, "ninths"), strict=True)
        if counts(share)
    }


# --- words -------------------------------------------------------------------------------------


def test_words_of_content_are_items_and_those_that_say_the_same_are_one() -> None:
    text = "Pain after meals, severe pain of gastritis."
    found = named(of_text(text, [1.0, 9.0, 0.5, 0.25, 2.0, 9.0, 9.0]), "gastritis")
    assert found == {"Pain": 3.0, "meals,": 0.5, "severe": 0.25}


def test_tokens_of_one_word_are_put_together_and_what_is_not_seen_is_left_out() -> None:
    pieces = [("Pain", 1.0), ("killers ", 2.0), ("burn", 0.25), (" ", None), ("red", None)]
    units, start = [], 0
    for piece, _ in pieces:
        units.append(Unit(piece, start, start + len(piece)))
        start += len(piece)
    values = tuple(value for _, value in pieces)
    found = Attribution("s", "m", "token", "g", "logit", "mask", tuple(units), values)
    assert named(found) == {"Painkillers": 3.0, "burn": 0.25}


NOTE = "Burning pain after painkillers. He drinks three cups of black coffee every morning before work."


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The painkillers are to blame.", {"painkillers."}),
        ("Painkiller use explains it.", {"painkillers."}),
        ("It burns, and COFFEE is bad.", {"Burning", "coffee"}),
        ("Nothing of that.", set()),
        ("", set()),
    ],
)  # fmt: skip
def test_a_word_is_cited_whatever_its_form(text: str, wanted: set[str]) -> None:
    items = items_of(of_text(NOTE, [1.0] * 15), SAMPLE, (), "ninths")
    assert cites(items, text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Painkillers cause pain that is burning.", {0}),
        ("The note says “three cups of black coffee”.", {1}),
        ('It quotes "black coffee" only.', {1}),
        ("He likes black coffee.", set()),  # two of six words of content, and no quotation
        ("Every morning he drinks cups of coffee before work.", {1}),
        ("It speaks of “three wishes”.", set()),
    ],
)
def test_a_sentence_is_cited_by_a_quotation_or_by_half_of_its_words(
    text: str, wanted: set[int]
) -> None:
    items = items_of(of_text(NOTE, [1.0, 2.0], Sentence, "sentence"), SAMPLE, (), "ninths")
    assert {i for i, share in enumerate(cited(items, text, "ninths")) if counts(share)} == wanted


def test_a_feature_is_cited_by_its_name() -> None:
    units = tuple(Unit(name) for name in ("age", "blood_pressure", "systolic blood pressure"))
    found = Attribution("s", "m", "feature", "g", "logit", "baseline", units, (1.0, 2.0, 0.5))
    items = items_of(found, SAMPLE, (), "ninths")
    assert cites(items, "High blood pressure, not her ages.") == {"blood_pressure", "age"}
    assert cites(items, "Systolic blood pressure is high; she is of average build.") == {
        "systolic blood pressure"
    }


# --- places ------------------------------------------------------------------------------------


def of_picture(shape: tuple[int, int], bright: tuple[int, int], size: int = 4) -> Attribution:
    """Patches of a picture, one of which has all the value."""
    rows, columns = (np.arange(n) // size for n in shape)
    across = -(-shape[1] // size)
    labels = rows[:, None] * across + columns[None, :]
    count = int(labels.max()) + 1
    units = []
    for place in range(count):
        row, column = divmod(place, across)
        units.append(Unit(box=(row * size, column * size, size, size)))
    values = [0.0] * count
    values[int(labels[bright])] = 1.0
    return Attribution(
        "s", "m", "patch", "g", "logit", "mask", tuple(units), tuple(values),
        full=1.0, empty=0.0, segmentation=(run_lengths(labels),),
    )  # fmt: skip


def brightest(attribution: Attribution, sample: Sample, regions: Any) -> str:
    items = items_of(attribution, sample, (), regions)
    assert sum(i.value for i in items) == 1.0
    return max(items, key=lambda i: i.value).name


@given(st.integers(0, 35), st.integers(0, 47))
def test_a_ninth_is_called_as_an_evidence_summary_calls_it(row: int, column: int) -> None:
    found = of_picture((36, 48), (row, column))
    assert summary(found) == f"the {brightest(found, SAMPLE, 'ninths')}"


@given(st.integers(0, 35), st.integers(0, 35))
def test_a_sector_is_that_of_the_geometry_seen_from_the_zones_centre(row: int, column: int) -> None:
    x, y = 1.2, 1.8
    zone = Evidence("values", "faz_geometry", {"x": x, "y": y, "radius": 0.2})
    found = of_picture((36, 36), (row, column), size=1)
    pixel = FIELD_MM / 36
    wanted = SECTORS[sector_index(column * pixel - x, row * pixel - y)]
    assert brightest(found, Sample("s", (), evidence=(zone,)), "sectors") == wanted


def test_a_region_has_the_value_of_its_strongest_unit() -> None:
    found = of_picture((12, 12), (0, 0), size=2)
    values = [0.0] * 36
    values[0], values[1], values[7], values[35] = 0.5, 2.0, -3.0, -1.0
    found = replace(found, values=(*values[:35], -1.0))
    items = {i.name: i.value for i in items_of(found, SAMPLE, (), "ninths")}
    assert items["upper left"] == 2.0  # of .5, 2, 0 and -3
    assert items["lower right"] == 0.0
    unseen = replace(found, values=(None,) * 36)
    assert {i.value for i in items_of(unseen, SAMPLE, (), "ninths")} == {0.0}


def places(text: str, regions: Any) -> set[str]:
    names = SECTORS if regions == "sectors" else NINTHS
    items = [Item(name, 0.0, region=True) for name in names]
    return {i.name for i, share in zip(items, cited(items, text, regions), strict=True) if share}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The classifier relied on the upper left, middle right and centre.", {"upper left", "middle right", "centre"}),
        ("A dark patch in the lower centre.", {"lower centre"}),
        ("Something in the top right corner and in the central area.", {"upper right", "centre"}),
        ("It is right to say so.", {"middle right"}),  # a word of two meanings is read as a place
        ("Nothing is seen.", set()),
    ],
)  # fmt: skip
def test_ninths_are_read_by_their_names(text: str, wanted: set[str]) -> None:
    assert places(text, "ninths") == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Capillary dropout in the north and northeast. There is no neovascularisation.", {"north", "northeast"}),
        ("There is no dropout in the south. A few microaneurysms in the west.", {"west"}),
        ("The network looked at the upper left and the bottom.", {"northwest", "south"}),
        ("The model weighed every sector alike.", set(SECTORS)),
    ],
)  # fmt: skip
def test_sectors_are_those_of_the_findings_or_else_of_the_words(
    text: str, wanted: set[str]
) -> None:
    assert places(text, "sectors") == wanted


def test_a_picture_beside_a_text_adds_its_places_to_the_words() -> None:
    picture = of_picture((12, 12), (0, 0))
    png = to_png(Image.new("L", (12, 12)))
    sample = Sample("s", (Part("red"), Part(media=Media(sha256(png), "image/png", data=png))))
    word = Unit("red", 0, 3, part=1)
    both = Attribution(
        "s", "m", "word", "g", "logit", "mask", (*picture.units, word), (*picture.values, 2.0),
        segmentation=picture.segmentation,
    )  # fmt: skip
    items = items_of(both, sample, (), "ninths")
    assert [i.name for i in items] == ["red", *NINTHS]
    assert cites(items, "A red spot, upper left.") == {"red", "upper left"}
