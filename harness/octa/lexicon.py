"""The words in which reports speak of lesions, places, numbers and stages, as patterns.

All patterns read lower-case text that `plain` has made uniform. They name a meaning each; how
meanings combine to a statement is the parser's business.
"""

from __future__ import annotations

import re

from harness.octa.geometry import SECTORS
from harness.octa.pathology import Label, Lesion
from harness.octa.record import Bucket, bucket_of

_CAPILLARIES = r"(?:capillar(?:y|ies)|capillary bed|microvessels|small vessels)"
_GONE = (
    r"(?:lost|vanished|dropped out|disappeared|missing|gone|closed|absent|occluded|obliterated)"
)
_LESION_WORDS: dict[Lesion, str] = {
    "dropout": "|".join(
        (
            r"(?:capillary |vascular |vessel )?drop-?outs?",
            r"(?:capillary )?non-?perfu(?:sion|sed)(?: (?:areas?|regions?|zones?|patch(?:es)?))?",
            r"(?:un|under-?|hypo-?)perfu(?:sion|sed)",
            r"ischa?emi[ac]",
            r"(?:blood )?flow (?:voids?|deficits?)",
            r"perfusion (?:defects?|deficits?|loss(?:es)?|gaps?|voids?)",
            r"(?:capillary|vessel|perfusion) (?:loss(?:es)?|closure|rarefaction|depletion)",
            r"loss of (?:the )?(?:capillar(?:y|ies)|perfusion|vessels)",
            r"avascular (?:areas?|patch(?:es)?|regions?)",
            r"(?:lack|lacks|lacking|devoid of|empty of|without) (?:any )?capillaries",
            _CAPILLARIES + r"(?: [a-z]+){0,4}? " + _GONE,
            r"perfusion is (?:interrupted|lost|reduced|absent|missing)",
        )
    ),
    "microaneurysm": "|".join(
        (
            r"micro-?aneurysms?",
            r"(?:small |tiny )?aneurysms?",
            r"aneurysmal (?:dots?|dilat[a-z]+)",
            r"capillary (?:outpouchings?|dilatations?|bulges?|buds?)",
            r"bright dots?",
            r"\bmas?\b",
        )
    ),
    "neovascularisation": "|".join(
        (
            r"(?:tufts? of )?neovasculari[sz]ations?",
            r"neovascular(?: (?:tufts?|sprouts?|growth|complex(?:es)?|fronds?|vessels?))?",
            r"neovessels?",
            r"(?:abnormal )?new(?:ly formed)? (?:blood )?vessels?(?: growth| formation)?",
            r"(?:vascular|vessel) proliferation",
            r"proliferat(?:ing|ive) (?:vessels?|tufts?|changes?|lesions?|growth)",
            r"(?:vascular |vessel |curled )?(?:tufts?|fronds?)",
            r"sprout(?:s|ed|ing)?",
        )
    ),
}
LESIONS_NAMED = re.compile(
    "|".join(rf"(?P<{lesion}>\b(?:{words})\b)" for lesion, words in _LESION_WORDS.items())
)
PERFUSED = re.compile(
    r"\b(?:capillar(?:y|ies)|perfusion|flow)(?: [a-z]+){0,4}? "
    r"(?:preserved|intact|maimtained|maintained|normal|complete|uninterrupted|unaffected)\b"
)
"""Says that there is no dropout, without naming it."""

_VERTICAL = {
    "north": r"superior(?:ly)?|upper|top|north(?:ern|wards?|erly)?",
    "south": r"inferior(?:ly)?|lower|bottom|south(?:ern|wards?|erly)?",
}
_SIDE = {"east": r"east(?:ern|wards?|erly)?|right", "west": r"west(?:ern|wards?|erly)?|left"}
_CENTRE = r"(?:the )?(?:fovea|faz|centre|center|macula|foveal? (?:centre|center))"
_CLOCK_WORDS = dict(
    zip(
        "one two three four five six seven eight nine ten eleven twelve".split(),
        range(1, 13),
        strict=True,
    )
)


def _sector_patterns() -> list[tuple[str, str]]:
    """Sector and pattern, the longest names first."""
    patterns = []
    for vertical, up in _VERTICAL.items():
        for side, across in _SIDE.items():
            patterns.append((vertical + side, rf"(?:{up})[- ]?(?:{across})"))
            patterns.append((vertical + side, rf"(?:left|right)[- ](?:{up})" if False else ""))
    patterns = [(sector, pattern) for sector, pattern in patterns if pattern]
    patterns += [
        ("north", rf"above {_CENTRE}|{_VERTICAL['north']}"),
        ("south", rf"(?:below|beneath) {_CENTRE}|{_VERTICAL['south']}"),
        ("east", r"east(?:ern|wards?|erly)?|right(?! eye)"),
        ("west", r"west(?:ern|wards?|erly)?|left(?! eye)"),
    ]
    return patterns
