"""Sets apart the reasoning that a model wrote into its answer.

Marks of thought (`<think>`, `[THINK]`, `◁think▷`, ...), OpenAI's harmony channels, also where a
server has struck out their special tokens, and the formats of Gemma and Granite. Names of marks
stand in `known`; what is no known mark stays in the answer, and the report warns of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.backends.known import ANSWER_NAMES, THINK_ENDS, THINK_NAMES

_BRACKETS = r"<\[{(⟨〈《【「«◁＜［", r">\]})⟩〉》】」»▷＞］"
_NAMES = "|".join(
    sorted(map(re.escape, (*THINK_NAMES, *THINK_ENDS)), key=len, reverse=True)
).replace("_", "[_-]")
_MARK = re.compile(
    rf"(?P<open>[{_BRACKETS[0]}])[|｜]?\s?(?P<slash>/?)(?P<name>{_NAMES})(?:\s[^<>\n]{{0,80}})?"
    rf"[|｜]?[{_BRACKETS[1]}]",
    re.IGNORECASE,
)
_CORE = re.compile(r"(?i:</?think(?:ing)?>)|\[/?THINK\]|◁/?think▷")
_ANSWER = re.compile(
    rf"<(\|?)(?:{'|'.join(ANSWER_NAMES)})\|?>(?P<inner>.*?)(?:<\1/?(?:{'|'.join(ANSWER_NAMES)})\|?>)?",
    re.IGNORECASE | re.DOTALL,
)
_CHANNEL = re.compile(
    r"(?:<\|start\|>[^<]*)?(?:<\|channel\|>|\A)\s*(?P<name>analysis|commentary|final)\b[^<]*"
    r"(?:<\|constrain\|>[^<]*)?<\|message\|>(?P<inner>.*?)"
    r"(?:<\|(?:end|return|call)\|>|(?=<\|(?:start|channel)\|>)|\Z)",
    re.DOTALL,
)
# The same where the server has struck out the special tokens and kept the words between them.
_STRUCK = re.compile(r"\A\s*analysis(?P<thought>.*?)assistant\s?final(?P<answer>.*)\Z", re.DOTALL)
_STRUCK_CUT = re.compile(r"\A\s*analysis(?=[A-Z][a-z' ]|User )(?P<thought>.*)\Z", re.DOTALL)
_FORMATS = (
    re.compile(
        r"<\|channel>\s*(?:thought)?(?P<thought>.*?)(?:<channel\|>|\Z)", re.DOTALL
    ),  # Gemma 4
    re.compile(r"<unused94>(?:thought)?(?P<thought>.*?)(?:<unused95>|\Z)", re.DOTALL),  # MedGemma
    re.compile(  # Granite 3.2
        r"\A\s*here(?:'s| is) my thought process:(?P<thought>.*?)here(?:'s| is) my response:",
        re.IGNORECASE | re.DOTALL,
    ),
)


def split_reasoning(text: str) -> tuple[str, str | None]:
    """The answer and the reasoning written beside it, `None` where there is none.

    All that stands before a closing mark is reasoning, also where a chat template has swallowed
    the opening one; so is all that follows a mark that is never closed (cut off by the limit).
    """
    for split in (_channels, _struck_channels, _formats, _marks):
        answer, thoughts = split(text)
        if thoughts is not None:
            return _unwrapped(answer), _joined(thoughts)
    return text, None


def _joined(thoughts: Iterable[str]) -> str | None:
    return "\n\n".join(piece.strip() for piece in thoughts if piece.strip()) or None


def _unwrapped(answer: str) -> str:
    """An answer without the marks around it; an answer that merely holds such marks keeps them."""
    answer = answer.strip()
    found = _ANSWER.fullmatch(answer)
    return found["inner"].strip() if found else answer


def _channels(text: str) -> tuple[str, list[str] | None]:
    """Harmony: the channel `final` is the answer, `analysis` and `commentary` are reasoning."""
    if "<|message|>" not in text:
        return text, None
    answer: list[str] = []
    thoughts: list[str] = []
    position = 0
    for channel in _CHANNEL.finditer(text):
        answer.append(text[position : channel.start()])
        (answer if channel["name"] == "final" else thoughts).append(channel["inner"])
        position = channel.end()
    if not position:
        return text, None
    return "".join([*answer, text[position:]]), thoughts


def _struck_channels(text: str) -> tuple[str, list[str] | None]:
    found = _STRUCK.match(text) or _STRUCK_CUT.match(text)
    if found is None:
        return text, None
    return found.groupdict().get("answer") or "", [found["thought"]]


def _formats(text: str) -> tuple[str, list[str] | None]:
    for format_ in _FORMATS:
        if format_.search(text):
            thoughts = [found["thought"] for found in format_.finditer(text)]
            return format_.sub("", text), thoughts
    return text, None


def _marks(text: str) -> tuple[str, list[str] | None]:
    """Between marks of thought, in whatever brackets.

    `<think>`, `[THINK]` and their like need no partner. Another name counts where a mark closes
    it, or where it opens the text in angle brackets: "[reasoning]" may be a heading.
    """
    found = [(mark, *_named(mark)) for mark in _MARK.finditer(text)]
    closed = {name for _, name, closing in found if closing}
    opens = {
        name
        for mark, name, _ in found
        if mark["open"] in "<＜◁" and not text[: mark.start()].strip()
    }
    answer: list[str] = []
    thoughts: list[str] = []
    position, thinking = 0, False
    for mark, name, closing in found:
        if name not in closed | opens and not _CORE.fullmatch(mark[0]):
            continue
        (thoughts if thinking or closing else answer).append(text[position : mark.start()])
        thinking = not closing
        position = mark.end()
    if not position:
        return text, None
    (thoughts if thinking else answer).append(text[position:])
    return "".join(answer), thoughts


def _named(mark: re.Match[str]) -> tuple[str, bool]:
    """The name that a mark opens or closes, and whether it closes it."""
    name = mark["name"].lower().replace("-", "_")
    return THINK_ENDS.get(name, name), bool(mark["slash"]) or name in THINK_ENDS
