"""The words in which reports speak of lesions, places, numbers and stages, as patterns.

All patterns but the abbreviations read text that `plain` has made uniform: lower case, one kind
of hyphen and quote, `not` written out. How the meanings combine is the parser's business.
"""

from __future__ import annotations

import re

from harness.octa.geometry import SECTORS
from harness.octa.pathology import Label, Lesion
from harness.octa.record import Bucket, bucket_of

_GONE = (
    "lost|vanished|dropped out|disappeared|missing|gone|closed|absent|occluded|obliterated|lacking"
    "|interrupted|reduced|decreased|diminished|sparse|rarefied|impaired"
)
_DROPOUT = (
    r"(?:capillary |vascular |vessel )?drop-?outs?",
    r"(?:capillary )?non-?perfu(?:sion|sed)",
    r"(?:un|under-?|hypo-?)perfu(?:sion|sed)",
    r"ischa?emi[ac]",
    r"(?:blood )?flow (?:voids?|deficits?)",
    r"perfusion (?:defects?|deficits?|gaps?|voids?)",
    r"(?:capillary|vessel|perfusion) (?:loss(?:es)?|closure|rarefaction|depletion)",
    r"loss of (?:the )?(?:capillar(?:y|ies)|perfusion|vessels)",
    r"avascular (?:areas?|patch(?:es)?|regions?)",
    r"(?:lack(?:s|ing)?|devoid of|empty of|without)(?: any)? (?:capillaries|perfusion)",
    rf"(?:capillar(?:y|ies)|microvessels|perfusion)(?: [a-z]+){{0,6}}? (?:{_GONE})",
    r"(?:reduced|decreased|diminished|low|poor|impaired|sparse)"
    r" (?:capillary|vessel|vascular)? ?(?:density|perfusion|flow|capillaries)",
)
_MICROANEURYSM = (
    r"micro-?aneurysms?",
    r"(?:small |tiny )?aneurysms?",
    r"aneurysmal (?:dots?|dilat[a-z]+)",
    r"capillary (?:outpouchings?|dilatations?|bulges?|buds?)",
    r"bright dots?",
    r"mas?",
)
_NEOVASCULARISATION = (
    r"(?:tufts? of )?neovasculari[sz]ations?",
    r"neovascular(?: (?:tufts?|sprouts?|growth|complex(?:es)?|fronds?|vessels?))?",
    r"neo-?vessels?",
    r"(?:abnormal )?new(?:ly formed)? (?:blood )?vessels?",
    r"(?:(?:abnormal|pathological) )?(?:vascular|vessel) (?:proliferation|growth)",
    r"(?:abnormal|pathological) vessels?",
    r"proliferat(?:ing|ive) (?:vessels?|tufts?|changes?|lesions?|growth)",
    r"(?:curled |vascular |vessel )?(?:tufts?|fronds?)",
    r"sprout(?:s|ed|ing)?",
)
_WORDS: dict[Lesion, tuple[str, ...]] = {
    "dropout": _DROPOUT,
    "microaneurysm": _MICROANEURYSM,
    "neovascularisation": _NEOVASCULARISATION,
}
LESION = re.compile(
    "|".join(rf"(?P<{lesion}>\b(?:{'|'.join(words)})\b)" for lesion, words in _WORDS.items())
)
PERFUSED = re.compile(
    r"\b(?:capillar(?:y|ies)|perfusion)(?: [a-z]+){0,4}? "
    r"(?:preserved|intact|maintained|complete|uninterrupted|unaffected)\b"
    r"|\b(?:normal|intact|preserved) (?:capillary )?(?:perfusion|density)\b"
    r"|\bcapillary (?:perfusion|density) is normal\b"
)
"""Says that there is no dropout without naming it."""

_UP = r"superior(?:ly)?|upper|top|north(?:ern|wards?|erly)?"
_DOWN = r"inferior(?:ly)?|lower(?! than| probab| grade| density)|bottom|south(?:ern|wards?|erly)?"
_RIGHT = r"east(?:ern|wards?|erly)?|right(?! eye| above| below| next| at)"
_LEFT = r"west(?:ern|wards?|erly)?|(?<!are )left(?! eye)"
_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
_NUMBERS = {word: number for number, word in enumerate(_NUMBER_WORDS.split())}
_NUMBER = rf"\d{{1,3}}|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))}"
_CENTRE = r"(?:the )?(?:fovea|faz|foveal cent(?:re|er)|cent(?:re|er)|macula)"
SECTOR = re.compile(
    rf"\b(?:(?P<clock>{_NUMBER})[ -]?o'clock"
    rf"|(?P<above>above {_CENTRE})|(?P<below>(?:below|beneath|under) {_CENTRE})"
    rf"|(?:(?P<up>{_UP})|(?P<down>{_DOWN}))(?:[ -]?(?:(?P<right>{_RIGHT})|(?P<left>{_LEFT})))?"
    rf"|(?:(?P<right2>{_RIGHT})|(?P<left2>{_LEFT}))"
    r"(?:[ -](?:(?P<up2>upper|top)|(?P<down2>lower|bottom)))?"
    r")\b"
)
EVERYWHERE = re.compile(
    r"\b(?:all|every|each|any)(?: of)?(?: the)?(?: (?:eight|8))?"
    r" (?:sectors?|quadrants?|directions?)\b"
    r"|\beverywhere\b|\b(?:on all sides|all (?:a)?round)\b"
    r"|\baround the (?:whole|entire) (?:fovea|faz)\b"
)
LATERAL = re.compile(r"\b(?:supero-?|infero-?)?(?:nasal|temporal)(?:ly)?\b")
"""Places that cannot be told without knowing which eye it is."""

_QUANTIFIERS: dict[Bucket, str] = {
    "few": "a few|few|a couple of|a couple|a handful of|a handful|single|solitary|isolated|lone",
    "several": "several|multiple|various",
    "numerous": "numerous|many|countless|abundant|innumerable|dozens of|dozens",
}
_UNIT = (
    r"(?! ?(?:percent|mm|µm|um|px|pixels?|sectors?|quadrants?|degrees?|years?"
    r"|of (?:which|(?:the )?(?:eight|8)))\b| ?%)"
)
COUNT = re.compile(
    "|".join(rf"(?P<{bucket}>\b(?:{words})\b){_UNIT}" for bucket, words in _QUANTIFIERS.items())
    + r"|(?P<dozen>\b(?:a |one )?dozen\b)"
    + r"|(?<![\d.])(?<!second )(?<!third )(?<!other )"
    + rf"\b(?P<number>{_NUMBER})\b(?!\.?\d|[ -]o'clock| can | may | sees| could ){_UNIT}"
)

STAGE = re.compile(
    r"(?P<non>\bnon[- ]?proliferative\b|\bnpdr\b)"
    r"|(?P<pro>\bproliferative\b|\bpdr\b)"
    r"|(?P<healthy>"
    r"\b(?:no|without|absence of)(?: (?:clear|definite|signs?|evidence|indication|of|any|visible))*"
    r" (?:diabetic )?retinopathy\b"
    r"|\bretinopathy is (?:absent|not (?:seen|present|visible|evident|apparent|found))\b"
    r"|\b(?:healthy|normal)"
    r" (?:scan|eye|retina|image|fundus|macula|stage|picture|angiogram|finding)s?\b"
    r"|\b(?:scan|eye|retina|image|picture|stage|label|class|diagnosis|grade|macula|angiogram|findings?"
    r"|classification|prediction|assessment|impression|result"
    r"|this|it)\b[ :-]*(?:[a-z]+ ){0,3}?(?:healthy|normal|unremarkable)\b"
    r"(?! (?:perfusion|capillar|vessel|flow|faz|vascul|densit|size|tortuos|aspect|variant))"
    r")"
)
NOT_HEALTHY = re.compile(
    r"\b(?:not|neither|never|no longer|otherwise|remaining|remainder|rest|elsewhere)\b"
    r"(?: [a-z]+){0,4}? (?:healthy|normal|unremarkable)(?: [a-z]+)?$"
)
"""Before "healthy", says that it names no stage: denied, or said of a part alone."""
STAGE_DENIED_BEFORE = re.compile(
    r"\b(?:not|no|than|neither|nor|without|against|instead of|excludes?|rules? out)"
    r"(?: (?:a|an|the|yet|of))*\s*$"
)
STAGE_DENIED_AFTER = re.compile(
    r"^(?: diabetic)?(?: (?:retinopathy|disease|stage|changes))?"
    r" (?:is|are|seems|appears|can be|was) (?:not|un[a-z]+|excluded|ruled out|absent)\b"
)
NO_LESION = re.compile(
    r"\b(?:no|without|free (?:of|from)|neither|not [a-z]+ any|nothing|absence of)"
    r"(?: (?:any|other|further|visible|clear|signs?|of|evidence|retinal|vascular|diabetic))*"
    r" (?:lesions?|abnormalit(?:y|ies)|patholog(?:y|ies|ical [a-z]+)"
    r"|abnormal(?! (?:new|vessels?|vascular|growth)))\b"
    r"|\bother (?:lesions?|findings?)(?: types?)? (?:is|are) (?:absent|not [a-z]+)\b"
)
"""Denies every lesion that a text has not affirmed before."""
OTHER_TOPIC = re.compile(r"\bfaz\b|\btortuo(?:us|sity)\b|\bfoveal avascular\b")
"""What a report may speak of though no finding records it."""

NEGATION = re.compile(
    r"\b(?:no|without|neither|nor|not|never|free (?:of|from)|lack(?:s|ed)?|lacking|absence of"
    r"|absent|missing|none|nil|zero|0|false|nothing|negative|devoid of|rules? out|ruled out"
    r"|excludes?|excluded)\b"
)
AFTERWARDS = re.compile(r"absent|missing|none|nil|false|lacking|ruled out|excluded|negative")
"""Negations that speak of what stands before them, where something does."""
LIST = re.compile(
    r"[\s,·]*(?:(?:or|and|nor|any|no|signs?|of|evidence|the|clear|definite|visible|for|as well as)"
    r"\b[\s,·]*)*"
)
"""What stands between lesions of one list; beyond a comma a negation reaches no farther."""
NO_NEGATION = re.compile(
    r"\b(?:no doubt|no (?:fewer|less) than|not only|without doubt|can not exclude"
    r"|nothing (?:but|else|more|other))\b"
)
EXCEPTION_BEFORE = re.compile(
    r"\b(?:not|never|except(?:ing)?|spar(?:es?|ing)|other than|excluding|apart from|save|outside)"
    r"(?: (?:for|in|at|to|on|of|the|over|within|sectors?))*\s*$"
)
EXCEPTION_AFTER = re.compile(
    r"^(?: (?:sectors?|parts?|quadrants?|sides?))?(?: (?:is|are|remains?|being))?"
    r" (?:spared|unaffected|clear|intact|preserved|free|uninvolved)\b"
)
TURN = re.compile(
    r"[;{}]|\b(?:but|however|while|whereas|although|though|yet|since|because|whilst)\b|, so\b"
)
"""Where a new statement begins whatever stands around."""
JOINT = re.compile(r", (?:and )?| and |: (?=no\b)")
"""Where a new statement begins when a whole one stands on either side."""
VERB = re.compile(
    r"\b(?:is|are|was|were|be|been|lies?|sits?|shows?|arises?|appears?|can|could|may|has|have"
    r"|occup[a-z]+|involv[a-z]+|affect[a-z]*|exist[a-z]*|surround[a-z]*|cluster[a-z]*|fills?|dots?"
    r"|form(?:s|ed)?|border[a-z]*|found|seen|present|visible|noted)\b"
)
BACK_REFERENCE = re.compile(
    r"^\W*(?:they|these|those|it|its|which|both|all of (?:them|these)|located)\b"
)

_ABBREVIATIONS = {
    "N": "north",
    "E": "east",
    "S": "south",
    "W": "west",
    "NE": "northeast",
    "NW": "northwest",
    "SE": "southeast",
    "SW": "southwest",
}


def plain(text: str) -> str:
    """Lower case, one kind of hyphen and quote, no mark-up, contractions and abbreviations out."""
    text = re.sub(r"[‐-―−]", "-", text).replace("’", "'")
    text = re.sub(r"\b(NE|NW|SE|SW)\b", lambda found: _ABBREVIATIONS[found[1]], text)
    text = re.sub(
        r"\b([NESW])\b(?=\s*(?:[,)/;.]|and\b|or\b|sectors?\b|$))",
        lambda found: _ABBREVIATIONS[found[1]],
        text,
    )
    text = re.sub(r"[*_`#\"“”\[\]]", " ", text.lower())
    text = text.replace("can't", "can not").replace("cannot", "can not").replace("n't", " not")
    text = re.sub(r"\b(?:foveal )?avascular zones?\b", "faz", text)
    text = re.sub(r"\b(?:true|yes|positive)\b", "present", text)
    return re.sub(r"\s+", " ", text).strip()


def sector_of(found: re.Match[str]) -> str:
    """The sector that a match of `SECTOR` names."""
    named = found.groupdict()
    if named["clock"]:
        return SECTORS[round(_number(named["clock"]) * 30 / 45) % 8]
    vertical = (
        "north"
        if named["up"] or named["up2"] or named["above"]
        else "south"
        if named["down"] or named["down2"] or named["below"]
        else ""
    )
    side = (
        "east"
        if named["right"] or named["right2"]
        else "west"
        if named["left"] or named["left2"]
        else ""
    )
    return vertical + side


def bucket_named(found: re.Match[str]) -> Bucket | None:
    """The bucket that a match of `COUNT` names; `None` for the number zero."""
    for bucket in _QUANTIFIERS:
        if found[bucket]:
            return bucket
    if found["dozen"]:
        return "numerous"
    number = _number(found["number"])
    return bucket_of(number) if number else None


def stage_named(found: re.Match[str]) -> Label:
    """The stage that a match of `STAGE` names."""
    if found["non"]:
        return "non-proliferative"
    return "proliferative" if found["pro"] else "healthy"


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS[word]
