"""Names that two files give the same thing: which find no partner, and which differ only in form.

Samples, predictions, recorded answers, gold and people's labels are joined by names, exactly as
they are written. `004` and `4` are two names to a computer and one to a person, so what finds no
partner is counted, shown by an example, and compared with what is left over on the other side.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

_EXTENSION = re.compile(
    r"\.(?:png|jpe?g|tiff?|dcm|bmp|gif|webp|txt|csv|tsv|jsonl?|xml|pdf|wav|mp3|mp4|npy|nii|gz)$",
    re.IGNORECASE,
)
_ZEROS = re.compile(r"(?<![\d.,])0+(?=\d)")
_FRACTION = re.compile(r"(?<![\d.])(\d+)\.0+$")
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})


def _characters(name: str) -> str:
    """Unicode's normal form of characters, without those that have no width."""
    plain = unicodedata.normalize("NFKC", name).translate(_QUOTES)
    return "".join(char for char in plain if unicodedata.category(char) != "Cf")


def _dashes(name: str) -> str:
    """Every kind of dash, and the minus sign, as a hyphen."""
    return "".join(
        "-" if char == "\u2212" or unicodedata.category(char) == "Pd" else char for char in name
    )


def _spaces(name: str) -> str:
    return " ".join(name.split())


def _joints(name: str) -> str:
    """Words that are joined by hyphens, underscores or spaces, joined by spaces."""
    return re.sub(r"(?<=\w)[-\s]+(?=\w)", " ", name.replace("_", " "))


def _folders(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


_STEPS: dict[str, Callable[[str], str]] = {
    "white space": _spaces,
    "capitals": str.casefold,
    "kinds of characters (Unicode)": _characters,
    "kinds of dashes": _dashes,
    "hyphens, underscores and spaces": _joints,
    "leading zeros": lambda name: _ZEROS.sub("", name),
    "a fraction of zero": lambda name: _FRACTION.sub(r"\1", name),
    "the file's ending": lambda name: _EXTENSION.sub("", name),
    "slashes": _folders,
}
"""What two spellings of one name may differ in, and what takes the difference away."""


def form(name: str) -> str:
    """A name without all that is only form; equal for names that a person would take for one."""
    ordered = ("kinds of characters (Unicode)", "kinds of dashes", "slashes", "the file's ending")
    rest = [step for what, step in _STEPS.items() if what not in ordered]
    steps = [*(_STEPS[what] for what in ordered), *rest, _joints, _spaces]
    return reduce(lambda text, step: step(text), steps, name)


def difference(one: str, other: str) -> str:
    """What two names of one form differ in: `leading zeros`, or several of these."""
    for what, step in _STEPS.items():
        if step(one) == step(other):
            return what
    return "form"


@dataclass(frozen=True)
class Alike:
    """Two names that differ only in form."""

    name: str
    other: str

    def __str__(self) -> str:
        what = difference(self.name, self.other)
        return f"'{self.name}' and '{self.other}' differ only in {what}"


def alike(names: Iterable[str], others: Iterable[str]) -> list[Alike]:
    """The names that have one of the others' form without being one of them."""
    others = list(others)
    held = set(others)
    by_form: dict[str, str] = {}
    for other in others:
        by_form.setdefault(form(other), other)
    return [
        Alike(name, by_form[form(name)])
        for name in names
        if name not in held and form(name) in by_form
    ]


def first_alike(names: Iterable[str]) -> Alike | None:
    """The first two of these names that differ only in form."""
    seen: dict[str, str] = {}
    for name in names:
        before = seen.setdefault(form(name), name)
        if before != name:
            return Alike(before, name)
    return None


def hint(names: Collection[str], others: Collection[str], where: str = "") -> str:
    """How a sentence about names without a partner goes on: `; '4' there and '004' ...`.

    Empty where no name has the form of one of `others`. `where` says what holds the others.
    """
    found = alike(names, others)
    if not found:
        return ""
    more = f" ({len(found):,} such)" if len(found) > 1 else ""
    return f"; {where}{' has ' if where else ''}'{found[0].other}', which differs only in " + (
        f"{difference(found[0].name, found[0].other)}{more}"
    )


@dataclass(frozen=True)
class Partners:
    """Samples, and the names that a table has for samples, each as it is written.

    Both are by id. What is written is the id itself, or the text that an id was made from.
    """

    samples: Mapping[str, str]
    named: Mapping[str, str]

    @property
    def alone(self) -> list[str]:
        """The ids of samples that the table does not name."""
        return [name for name in self.samples if name not in self.named]

    @property
    def strangers(self) -> list[str]:
        """The ids that the table names and no sample has."""
        return [name for name in self.named if name not in self.samples]

    def missing(self, table: str) -> str:
        """How many samples are without a row, with an example and what was probably meant."""
        alone = self.alone
        text = f"{len(alone):,} of {len(self.samples):,} samples ({shown(self.samples, alone)})"
        return text + hint(
            [self.samples[name] for name in alone],
            [self.named[name] for name in self.strangers],
            table,
        )

    def unused(self) -> str:
        """How many of the table's names are no sample's, with an example."""
        strangers = self.strangers
        return f"{len(strangers):,} of {len(self.named):,} ({shown(self.named, strangers)})"


def shown(written: Mapping[str, str], ids: Collection[str], most: int = 3) -> str:
    """A few names in quotation marks, as they are written."""
    names = [f"'{_short(written[name])}'" for name in list(ids)[:most]]
    return ", ".join([*names, "..."] if len(ids) > most else names)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
