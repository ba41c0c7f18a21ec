"""What a classifier used and a text may cite: words of the input, named features, picture regions.

An attribution becomes a list of things that can be said in words, each with its value; a text is
then read for which of them it cites. Pure rules, so that every reading can be explained.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.octa import lexicon
from harness.octa.geometry import FIELD_MM, SECTORS, sector_index
from harness.octa.parser import parse
from harness.records import Attribution, Sample, Segmentation, Unit
from harness.scorers.label import mentions
from harness.sentences import content, words

Regions = Literal["sectors", "ninths"]

NINTHS = (
    "upper left", "upper centre", "upper right", "middle left", "centre", "middle right",
    "lower left", "lower centre", "lower right",
)  # fmt: skip
"""The ninths of a picture as an evidence summary names them, row by row."""

_HALF = 0.5
"""Share of the content words of a unit (a sentence, say) that a text must hold to cite it. Chosen:
a unit of one or two words is then cited by any of its words, a longer one by most of them."""
_READABLE = 0.8
"""Share of sentences that the parser of reports must read for its sectors to be taken; below it the
places named are taken whatever is said of them. As in the scorer `findings`."""

_QUOTE = re.compile(r"[“\"«‘](.{2,300}?)[”\"»’]", re.DOTALL)
_OF_SECTOR = dict(
    zip(
        SECTORS,
        ("upper centre", "upper right", "middle right", "lower right", "lower centre",
         "lower left", "middle left", "upper left"),
        strict=True,
    )
)  # fmt: skip
_CENTRE = re.compile(
    r"(?<!upper )(?<!lower )(?<!top )(?<!bottom )\b(?:cent(?:re|er|ral)|middle)\b"
    r"(?![ -](?:left|right|row|of the (?:upper|lower|left|right|top|bottom)))"
)


@dataclass(frozen=True)
class Item:
    """Something that has a value for the classifier and can be cited.

    `stems` are the content words of a piece of the input, `words` all of its words in order. A
    named feature has neither, and a place in a picture `region`.
    """

    name: str
    value: float
    stems: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    region: bool = False


# --- what may be cited ------------------------------------------------------------------------


def items_of(
    attribution: Attribution, sample: Sample, labels: Iterable[str], regions: Regions
) -> tuple[Item, ...]:
    """An attribution as things that can be said: the units of text that hold content words, named
    features, and the regions of pictures.

    Words of the labels are no content, because an explanation names its label whatever it cites.
    Units that say the same are one item with the sum of their values, and tokens are put together
    to words. A region has the value of the strongest of the units whose middle lies in it, as an
    evidence summary names them; 0 where it has none. What the classifier did not see, and steps of
    a time series, are left out.
    """
    no_content = {stem for label in labels for stem in content(label)}
    found: dict[frozenset[str], Item] = {}
    named: list[Item] = []
    for unit, value in _whole_words(attribution):
        if unit.start is None:
            if unit.text.strip():
                named.append(Item(unit.text.strip(), value))
            continue
        stems = frozenset(content(unit.text)) - no_content
        if not stems:
            continue
        name = " ".join(unit.text.split())
        item = found.get(stems, Item(name, 0.0, stems, tuple(words(unit.text))))
        found[stems] = replace(item, value=item.value + value)
    return (*found.values(), *named, *_regions(attribution, sample, regions))


def _whole_words(attribution: Attribution) -> list[tuple[Unit, float]]:
    """Units with their values; of tokens, those of one word together."""
    seen = [
        (unit, value)
        for unit, value in zip(attribution.units, attribution.values, strict=True)
        if value is not None and unit.box is None
    ]
    if attribution.unit != "token":
        return seen
    joined: list[tuple[Unit, float]] = []
    for unit, value in seen:
        before = joined[-1][0] if joined else None
        if before is not None and _same_word(before, unit):
            both = replace(before, text=before.text + unit.text, end=unit.end)
            joined[-1] = (both, joined[-1][1] + value)
        else:
            joined.append((unit, value))
    return joined


def _same_word(before: Unit, unit: Unit) -> bool:
    touching = before.part == unit.part and before.end is not None and before.end == unit.start
    return touching and not before.text[-1:].isspace() and not unit.text[:1].isspace()


def _regions(attribution: Attribution, sample: Sample, regions: Regions) -> list[Item]:
    pictures = [
        one
        for one in attribution.segmentation
        if len(one.shape) >= 2 and any(u.box for u in attribution.units if u.part == one.part)
    ]
    if not pictures:
        return []
    strongest: dict[str, float] = {}
    for picture in pictures:
        for place, (down, across) in _middles(picture).items():
            value = attribution.values[place]
            if value is not None:
                name = (
                    _sector(down, across, sample) if regions == "sectors" else _ninth(down, across)
                )
                strongest[name] = max(value, strongest.get(name, value))
    names = SECTORS if regions == "sectors" else NINTHS
    return [Item(name, strongest.get(name, 0.0), region=True) for name in names]


def _middles(picture: Segmentation) -> dict[int, tuple[float, float]]:
    """Where the middle of each unit lies, from the top and from the left, in [0, 1]."""
    import numpy as np

    from harness.explainers.division import label_map

    units = label_map(picture)
    rows, columns = np.nonzero(units >= 0)[-2:]
    which = units[units >= 0]
    pixels = np.bincount(which)
    height, width = picture.shape[-2:]
    down = np.bincount(which, weights=rows) / np.maximum(pixels, 1)
    across = np.bincount(which, weights=columns) / np.maximum(pixels, 1)
    return {
        place: (float(down[place]) / height, float(across[place]) / width)
        for place in np.flatnonzero(pixels).tolist()
    }


def _ninth(down: float, across: float) -> str:
    return NINTHS[3 * min(2, int(3 * down)) + min(2, int(3 * across))]


def _sector(down: float, across: float, sample: Sample) -> str:
    """The eighth of the turn around the centre of the foveal avascular zone, or of the picture."""
    zone = next((e.value for e in sample.evidence if e.name == "faz_geometry"), None)
    x, y = (zone["x"], zone["y"]) if zone else (FIELD_MM / 2, FIELD_MM / 2)
    return SECTORS[sector_index(across * FIELD_MM - x, down * FIELD_MM - y)]


# --- what is cited ------------------------------------------------------------------------------


def cited(items: Sequence[Item], text: str, regions: Regions) -> tuple[float, ...]:
    """How far a text cites each item, in [0, 1]; from one half on it counts as cited.

    A piece of the input is cited by the share of its content words that the text holds, and wholly
    where the text quotes from it; a named feature by its name; a region where the text names it.
    """
    stems = set(content(text))
    quotes = [tuple(words(found[1])) for found in _QUOTE.finditer(text)]
    named = mentions(text, [item.name for item in items if not item.stems and not item.region])
    places = _places(text, regions) if any(item.region for item in items) else frozenset()
    found: list[float] = []
    for item in items:
        if item.region:
            found.append(float(item.name in places))
        elif not item.stems:
            found.append(float(named[item.name] > 0))
        elif any(_quotes_from(item, quote) for quote in quotes):
            found.append(1.0)
        else:
            found.append(len(item.stems & stems) / len(item.stems))
    return tuple(found)


def counts(share: float) -> bool:
    """Whether an item of which a text cites this share is cited."""
    return share >= _HALF


def _quotes_from(item: Item, quote: tuple[str, ...]) -> bool:
    """Whether a quotation is a run of the item's words, or has all of them in a run."""
    inner, outer = sorted((quote, item.words), key=len)
    if not item.stems & {stem for word in inner for stem in content(word)}:
        return False
    starts = range(len(outer) - len(inner) + 1)
    return any(outer[i : i + len(inner)] == inner for i in starts)


def _places(text: str, regions: Regions) -> frozenset[str]:
    plain = lexicon.plain(text)
    if regions == "sectors":
        parsed = parse(text)
        if parsed.read_share >= _READABLE:
            findings = parsed.findings
            lesions = (findings.dropout, findings.microaneurysm, findings.neovascularisation)
            return frozenset(sector for lesion in lesions for sector in lesion.sectors)
        if lexicon.EVERYWHERE.search(plain):
            return frozenset(SECTORS)
    sectors = {lexicon.sector_of(found) for found in lexicon.SECTOR.finditer(plain)}
    if regions == "sectors":
        return frozenset(sectors)
    centre = {"centre"} if _CENTRE.search(plain) else set()
    return frozenset({_OF_SECTOR[sector] for sector in sectors} | centre)
