"""What may reach a terminal: text that shows what it is and does nothing.

Answers, labels, ids and errors of servers are text of strangers. A control character in them moves
the cursor, renames the window or writes the clipboard; a bidirectional one shows another order than
what stands there; an invisible one hides a difference. All of them are written as Python writes
them (`\\x1b`, `\\u202e`). While a command runs, both streams are screens, so nothing that a library
prints passes either.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from harness.secrets import conceal

_NOT_PLAIN = re.compile(r"[^\x20-\x7e]")
_ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Of these categories, what is seen: signs that stand before a number.
_SEEN = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd")
# Of other categories, what is not seen.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_JOINERS = frozenset("\u200c\u200d")
_JOINED = frozenset({"Lo", "Mc", "Mn", "So", "Sk"})  # scripts that join letters, and emoji


def line(text: str) -> str:
    """The text as one line: line breaks, too, are written out (`\\n`)."""
    return _NOT_PLAIN.sub(_written, conceal(text))


def block(text: str) -> list[str]:
    """The lines of a text whose line breaks are meant, such as an answer."""
    return [line(one) for one in conceal(text).replace("\r\n", "\n").split("\n")]


def page(lines: Iterable[str]) -> str:
    """Lines as one text; a line break within one of them is written out."""
    return "\n".join(map(line, lines))


def say(text: str, *, error: bool = False) -> None:
    """Prints one line, to stderr where it is an error."""
    print(line(text), file=sys.stderr if error else sys.stdout, flush=error)


def say_lines(text: str, *, error: bool = False) -> None:
    """Prints a text whose line breaks are meant."""
    print("\n".join(block(text)), file=sys.stderr if error else sys.stdout, flush=error)


def _written(match: re.Match[str]) -> str:
    letter, before = match[0], match.string[: match.start()][-1:]
    if letter == "\t":
        return letter
    if letter in _JOINERS:
        kept = unicodedata.category(before or " ") in _JOINED and not _latin_mark(before)
    elif _selects(letter):
        # One selector of a variant behind a sign is writing; a row of them is a hidden message.
        kept = (
            before != ""
            and not _selects(before)
            and (ord(before) > 0xA0 or before in "#*0123456789")
        )
    else:
        acts = unicodedata.category(letter) in _ACTING and letter not in _SEEN
        kept = not acts and letter not in _UNSEEN
    return letter if kept else letter.encode("unicode_escape").decode("ascii")


def _latin_mark(letter: str) -> bool:
    return "\u0300" <= letter <= "\u036f"


def _selects(letter: str) -> bool:
    return "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"


class Screen:
    """A stream that passes text on without what acts on a terminal; line breaks are kept."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Writes what can be shown; what the stream's encoding lacks is written out."""
        # A progress bar of a library begins each of its writes by going back.
        text = conceal(text)
        back = "\r" if text.startswith("\r") and not text.startswith("\r\n") else ""
        shown = back + "\n".join(block(text.removeprefix(back)))
        try:
            self.stream.write(shown)
        except UnicodeEncodeError:
            encoding = self.stream.encoding or "ascii"
            self.stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes each of them."""
        for one in lines:
            self.write(one)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def bare(stream: Any) -> Any:
    """The stream behind a screen, for what draws on a terminal and shows only what is clean."""
    return bare(stream.stream) if isinstance(stream, Screen) else stream


def screen() -> None:
    """Puts screens before stdout and stderr, also where something else has taken their places."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Screen):
            setattr(sys, name, Screen(stream))


@contextmanager
def screened() -> Iterator[None]:
    """Both streams are screens meanwhile, and stay so where an error leaves: its traceback, which
    is still to be shown, quotes what it is about."""
    before = sys.stdout, sys.stderr
    screen()
    try:
        yield
    except SystemExit:
        sys.stdout, sys.stderr = before
        raise
    sys.stdout, sys.stderr = before
