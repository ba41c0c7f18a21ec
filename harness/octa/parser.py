"""Reads findings out of a report, whatever its wording, and says how much of it could be read.

A sentence is cut into statements; each statement's lesions, places, numbers and negations are
found by the lexicon's patterns and put together by their order. Rules rather than a model: every
reading can be explained, repeated, and made without weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from harness.octa import lexicon
from harness.octa.geometry import SECTORS
from harness.octa.pathology import LESIONS, Label, Lesion
from harness.octa.record import Bucket, Findings, LesionFinding
from harness.octa.sentences import sentences_of

SECTOR_JOINT = re.compile(
    r"[ ,/&()-]*"
    r"(?:(?:and|or|to|through|plus|as well as|in|at|on|the|of|sectors?|also|fovea|faz)[ ,]*)*"
)
CLOSE_WORDS = 4
"""A number counts the next lesion when at most this many words stand between."""


@dataclass(frozen=True)
class ParsedFindings:
    """What a text says, and how well it could be read.

    `read_share` is the share of sentences, in [0, 1], from which a statement could be taken; 1
    where there is no sentence at all. `conflicts` names what the text both affirms and denies: a
    lesion type, or `stage` where it names more than one. `unread` holds the sentences not read.
    """

    findings: Findings
    read_share: float
    sentences: int
    conflicts: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def parse(text: str) -> ParsedFindings:
    """The findings that a text states. Unmentioned lesions stay `None`; it never raises."""
    reading = _Reading()
    sentences = [sentence for sentence in sentences_of(text) if re.search(r"[A-Za-z]", sentence)]
    unread = tuple(sentence for sentence in sentences if not reading.read(sentence))
    share = 1.0 - len(unread) / len(sentences) if sentences else 1.0
    return ParsedFindings(
        findings=Findings(
            reading.stages[0] if reading.stages else None,
            *(reading.notes[lesion].finding() for lesion in LESIONS),
        ),
        read_share=share,
        sentences=len(sentences),
        conflicts=tuple(
            [lesion for lesion in LESIONS if reading.notes[lesion].in_conflict]
            + ["stage"] * (len(set(reading.stages)) > 1)
        ),
        unread=unread,
    )


@dataclass
class _Note:
    """What has been read of one lesion type so far."""

    affirmed: bool = False
    denied: bool = False
    sectors: set[str] = field(default_factory=set)
    excepted: set[str] = field(default_factory=set)
    count: Bucket | None = None

    @property
    def in_conflict(self) -> bool:
        return self.affirmed and self.denied

    def finding(self) -> LesionFinding:
        if self.affirmed:
            return LesionFinding(True, tuple(self.sectors - self.excepted), self.count)
        return LesionFinding(False if self.denied else None)


@dataclass(frozen=True)
class _Item:
    """A lesion, a group of sectors (named or excepted) or a number in a statement."""

    kind: str
    start: int
    end: int
    lesion: Lesion = "dropout"
    sectors: frozenset[str] = frozenset()
    bucket: Bucket | None = None
    negated: bool = False


class _Reading:
    """A text while it is read, sentence by sentence."""

    def __init__(self) -> None:
        self.notes = {lesion: _Note() for lesion in LESIONS}
        self.stages: list[Label] = []
        self.last: tuple[Lesion, ...] = ()

    def read(self, sentence: str) -> bool:
        """Take what a sentence states; whether it could be read."""
        text = lexicon.plain(sentence)
        if not lexicon.BACK_REFERENCE.search(text):
            self.last = ()
        statements = _statements(text)
        understood = [self._read_statement(statement) for statement in statements]
        return any(understood) and not lexicon.LATERAL.search(text)

    def _read_statement(self, text: str) -> bool:
        text = lexicon.NO_NEGATION.sub(_blank, text)
        text, staged = self._take_stage(text)
        text, perfused = _take(lexicon.PERFUSED, text)
        for found in perfused:
            failing = "not" in found[0].split()
            self.notes["dropout"].affirmed |= failing
            self.notes["dropout"].denied |= not failing
        text, denials = _take(lexicon.NO_LESION, text)
        items = _items(text)
        lesions = [item for item in items if item.kind == "lesion"]
        if not lesions:
            read = self._read_continuation(text, items)
            self._deny_others(denials)
            return read or staged or bool(perfused or denials)
        sectors = _assigned(items)
        counts = _counted(items, text)
        exceptions = _exceptions(items)
        for item in lesions:
            note = self.notes[item.lesion]
            excepted = exceptions.get(item.lesion, frozenset())
            places = sectors.get(item.lesion, frozenset())
            if item.negated and excepted and not places:
                note.affirmed = True  # "no dropout except in the south"
                note.sectors |= excepted
                continue
            if item.negated:
                # "No dropout in the south" says nothing of the other sectors.
                note.excepted |= set() if places == frozenset(SECTORS) else places
                note.denied |= not places or places == frozenset(SECTORS)
                continue
            note.excepted |= excepted
            if excepted and not places:
                continue
            note.affirmed = True
            note.sectors |= places
            note.count = note.count or counts.get(item.lesion)
        self.last = tuple(dict.fromkeys(item.lesion for item in lesions if not item.negated))
        self._deny_others(denials)
        return True

    def _deny_others(self, denials: list[re.Match[str]]) -> None:
        """After "no lesion" or "the other lesions are absent"."""
        for note in self.notes.values() if denials else ():
            note.denied |= not note.affirmed

    def _read_continuation(self, text: str, items: list[_Item]) -> bool:
        """A statement without a lesion: more about the last one, or another topic altogether."""
        if lexicon.OTHER_TOPIC.search(text) and not lexicon.BACK_REFERENCE.search(text):
            return True
        places = frozenset().union(*(i.sectors for i in items if i.kind == "sectors"))
        excepted = frozenset().union(*(i.sectors for i in items if i.kind == "exception"))
        buckets = [item.bucket for item in items if item.bucket is not None]
        if not self.last or not (places or buckets or excepted):
            return False
        for lesion in self.last:
            note = self.notes[lesion]
            note.excepted |= excepted
            note.affirmed |= bool(places or buckets)
            note.sectors |= places
            note.count = note.count or (buckets[0] if buckets else None)
        return True

    def _take_stage(self, text: str) -> tuple[str, bool]:
        """Note the stages a statement asserts, and blank them out."""
        taken = False

        def take(found: re.Match[str]) -> str:
            nonlocal taken
            if found["pro"] and lexicon.LESION.match(text, found.start()):
                return found[0]  # "proliferative changes" are a lesion
            taken = True
            before = text[: found.start()]
            stage = lexicon.stage_named(found)
            if stage == "healthy" and lexicon.NOT_HEALTHY.search(text[: found.end()]):
                return _blank(found)
            denied = lexicon.STAGE_DENIED_BEFORE.search(
                before
            ) or lexicon.STAGE_DENIED_AFTER.search(text[found.end() :])
            if not denied:
                self.stages.append(stage)
            elif stage == "proliferative" and "retinopathy" in before:
                self.stages.append("non-proliferative")
            return _blank(found)

        return lexicon.STAGE.sub(take, text), taken


def _statements(text: str) -> list[str]:
    """The statements of a sentence: cut at turns, and between two that are whole."""
    text = re.sub(r"\? *(?=present\b|no\b|none\b)", ": ", text)
    statements = []
    for part in lexicon.TURN.split(text):
        blanked, lesions = _take(lexicon.LESION, part)
        verbs = [found.start() for found in lexicon.VERB.finditer(blanked)]
        named = [found.start() for found in lesions]
        start = 0
        for joint in lexicon.JOINT.finditer(blanked):
            left = part[start : joint.start()]
            whole = all(
                any(low <= place < high for place in places)
                for low, high in ((start, joint.start()), (joint.end(), len(part)))
                for places in (named, verbs)
            )
            if whole and "neither" not in left and "both" not in left:
                statements.append(left)
                start = joint.end()
        statements.append(part[start:])
    return [statement for statement in statements if statement.strip()]


def _items(text: str) -> list[_Item]:
    """Lesions, groups of sectors, sectors excepted, and numbers, in their order."""
    lesions = list(lexicon.LESION.finditer(text))
    text = lexicon.LESION.sub(_blank_but_sectors, text)
    text, everywhere = _take(lexicon.EVERYWHERE, text)
    groups = [
        _Item("sectors", found.start(), found.end(), sectors=frozenset(SECTORS))
        for found in everywhere
    ]
    spans: list[tuple[int, int]] = []
    for start, end, sectors in _sector_groups(text):
        before = lexicon.EXCEPTION_BEFORE.search(text[:start])
        excepted = before or lexicon.EXCEPTION_AFTER.search(text[end:])
        if before:
            spans.append(before.span())
        groups.append(_Item("exception" if excepted else "sectors", start, end, sectors=sectors))
    text, _ = _take(lexicon.SECTOR, text)
    for start, end in spans:
        text = text[:start] + "·" * (end - start) + text[end:]
    named = _with_negations(text, lesions)
    text, numbers = _take(lexicon.COUNT, text)
    counts = [
        _Item("count", found.start(), found.end(), bucket=lexicon.bucket_named(found))
        for found in numbers
    ]
    return sorted(named + groups + counts, key=lambda item: item.start)


def _with_negations(text: str, lesions: list[re.Match[str]]) -> list[_Item]:
    """The lesions as items. A negation speaks of all lesions after it, or else of those before."""
    negated = ["not" in found[0].split() for found in lesions]
    for cue in lexicon.NEGATION.finditer(text):
        after = [index for index, found in enumerate(lesions) if found.start() >= cue.end()]
        before = [index for index, found in enumerate(lesions) if found.end() <= cue.start()]
        backwards = lexicon.AFTERWARDS.fullmatch(cue[0]) is not None
        if before and (backwards or not after):
            reached = [
                index for index in before if _one_list(text, lesions[index : before[-1] + 1])
            ]
        else:
            reached = [index for index in after if _one_list(text, lesions[after[0] : index + 1])]
        for index in reached:
            negated[index] = True
    return [
        _Item(
            "lesion",
            found.start(),
            found.end(),
            lesion=next(lesion for lesion in LESIONS if found[lesion]),
            negated=negated[index],
        )
        for index, found in enumerate(lesions)
    ]


def _one_list(text: str, lesions: list[re.Match[str]]) -> bool:
    """Whether these lesions belong together: no comma between them but that of a list."""
    return all(
        lexicon.LIST.fullmatch(text, first.end(), second.start())
        or "," not in text[first.end() : second.start()]
        for first, second in pairwise(lesions)
    )


def _sector_groups(text: str) -> Iterator[tuple[int, int, frozenset[str]]]:
    """Runs of sector names ("north, east and south"), ranges ("from north to east") filled."""
    start = end = -1
    sectors: list[str] = []
    for found in lexicon.SECTOR.finditer(text):
        between = text[end : found.start()] if sectors else ""
        if sectors and SECTOR_JOINT.fullmatch(between):
            ranged = re.search(r"\bfrom (?:the )?$", text[:start]) and re.search(
                r"\b(?:to|through)\b", between
            )
            named = lexicon.sector_of(found)
            sectors += _range(sectors[-1], named) if ranged else [named]
        else:
            if sectors:
                yield start, end, frozenset(sectors)
            start, sectors = found.start(), [lexicon.sector_of(found)]
        end = found.end()
    if sectors:
        yield start, end, frozenset(sectors)


def _range(first: str, last: str) -> list[str]:
    """The sectors from one to another by the shorter way round."""
    start, turn = SECTORS.index(first), (SECTORS.index(last) - SECTORS.index(first)) % 8
    step, count = (1, turn) if turn <= 4 else (-1, 8 - turn)
    return [SECTORS[(start + step * index) % 8] for index in range(count + 1)]


def _assigned(items: list[_Item]) -> dict[Lesion, frozenset[str]]:
    """Which sectors belong to which lesion.

    Lesions with no sector between them share what follows. Where a statement begins with sectors
    and ends with a lesion, sectors belong to the next lesions, else to those before.
    """
    groups: list[tuple[str, list[_Item]]] = []
    for item in items:
        if item.kind in ("count", "exception"):
            continue
        if groups and groups[-1][0] == item.kind:
            groups[-1][1].append(item)
        else:
            groups.append((item.kind, [item]))
    leading = bool(groups) and groups[0][0] == "sectors" and groups[-1][0] == "lesion"
    assigned: dict[Lesion, frozenset[str]] = {}
    for index, (kind, members) in enumerate(groups):
        if kind != "sectors":
            continue
        owner = index + 1 if (leading or index == 0) and index + 1 < len(groups) else index - 1
        if owner < 0:
            continue
        owners = groups[owner][1]
        # Sectors tell where something is, so of several lesions only those affirmed are there.
        holders = [item for item in owners if not item.negated] or owners
        places = frozenset().union(*(member.sectors for member in members))
        for item in holders:
            assigned[item.lesion] = assigned.get(item.lesion, frozenset()) | places
    return assigned


def _exceptions(items: list[_Item]) -> dict[Lesion, frozenset[str]]:
    """Which sectors are excepted of which lesion: of the one before, or of all that follow."""
    found: dict[Lesion, frozenset[str]] = {}
    lesions = [item for item in items if item.kind == "lesion"]
    for item in items:
        if item.kind == "exception":
            before = [lesion for lesion in lesions if lesion.end <= item.start]
            for owner in before[-1:] or lesions:
                found[owner.lesion] = found.get(owner.lesion, frozenset()) | item.sectors
    return found


def _counted(items: list[_Item], text: str) -> dict[Lesion, Bucket]:
    """Which number belongs to which lesion: the next one if it is close, else the one before."""
    counted: dict[Lesion, Bucket] = {}
    lesions = [item for item in items if item.kind == "lesion"]
    for item in items:
        if item.bucket is None:
            continue
        following = next((other for other in lesions if other.start >= item.end), None)
        previous = next((other for other in reversed(lesions) if other.end <= item.start), None)
        if following and len(text[item.end : following.start].split()) <= CLOSE_WORDS:
            counted.setdefault(following.lesion, item.bucket)
        elif previous:
            counted.setdefault(previous.lesion, item.bucket)
    return counted


def _take(pattern: re.Pattern[str], text: str) -> tuple[str, list[re.Match[str]]]:
    """The matches, and the text with them blanked out so that nothing reads them again."""
    return pattern.sub(_blank, text), list(pattern.finditer(text))


def _blank(found: re.Match[str]) -> str:
    return "·" * len(found[0])


def _blank_but_sectors(found: re.Match[str]) -> str:
    """Blanks, but for the places in a lesion's own words ("capillaries in the north are lost")."""
    blank, end = "", 0
    for place in lexicon.SECTOR.finditer(found[0]):
        blank += "·" * (place.start() - end) + place[0]
        end = place.end()
    return blank + "·" * (len(found[0]) - end)
