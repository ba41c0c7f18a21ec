"""What stands for an answer and is none, or not all of one, found in the answer itself.

Each kind is a row: how it is recognised, how the report says it, and what to look at. The same rows
hold for every backend, because they read stored generations. A row never changes an outcome: the
text is scored as it stands, and the report warns. Rows that a good answer can resemble are warned
of from a share of a model's answers on; the table beside the failures shows all.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from harness.backends.answers import blank
from harness.backends.known import ANSWER_NAMES, TEMPLATE_MARK, TOOL_MARK
from harness.records import Generation

FEW = 0.01  # chosen: one answer in a hundred may resemble what a good one never is
SOME = 0.05  # chosen: from here on what a model does now and then shifts its mean

ANSWERS = ("coverage", "accuracy", "stability")


@dataclass(frozen=True)
class Answer:
    """One answer to look at: its generation, its cell's outcome, whether a schema was asked for."""

    generation: Generation
    outcome: str
    schema: bool = False

    @property
    def text(self) -> str:
        """The text as it is scored."""
        return self.generation.text


@dataclass(frozen=True)
class Anomaly:
    """A kind of anomaly: `find` returns what shows it, as an excerpt, or `None`.

    The report says "N of M answers `what`; `look`". `least` is the share of a model's answers from
    which it warns, and `topics` the lines of the verdict that the warning is about.
    """

    kind: str
    find: Callable[[Answer], str | None]
    what: str
    look: str
    least: float = 0.0
    topics: tuple[str, ...] = ANSWERS


# --- nothing, or not all ------------------------------------------------------------------


def _reasoning_only(answer: Answer) -> str | None:
    generation = answer.generation
    alone = blank(answer.text) and generation.reasoning and answer.outcome == "empty"
    return generation.reasoning if alone else None


def _limit_spent(answer: Answer) -> str | None:
    generation = answer.generation
    spent = answer.outcome == "truncated" and blank(answer.text)
    return (generation.reasoning or "no text") if spent else None


def _empty(answer: Answer) -> str | None:
    nothing = answer.outcome == "empty" and not answer.generation.reasoning
    return f"finish reason {answer.generation.finish_reason}" if nothing else None


def _cut_off(answer: Answer) -> str | None:
    cut = answer.outcome == "truncated" and not blank(answer.text)
    return _end(answer.text) if cut else None


# Words that no English sentence ends with.
_MID_SENTENCE = re.compile(
    r"(?:[,;:(\[{]|\b(?:the|an|a|and|or|of|with|from|as|because|which|into|its|their|such|between|by))$"
)


def _mid_sentence(answer: Answer) -> str | None:
    text = answer.text.rstrip().rstrip("*_`\"'")
    if answer.outcome != "ok" or answer.schema or len(text.split()) < 5:
        return None
    return _end(text) if _MID_SENTENCE.search(text) or text.count("```") % 2 else None


# --- marks that should not be there -------------------------------------------------------

_HTML = frozenset(
    "a abbr b blockquote body br code dd del details div dl dt em figure h1 h2 h3 h4 h5 h6 head "  # noqa: SIM905
    "hr html i img ins kbd li mark ol p pre q s section small span strong sub summary sup table "
    "tbody td th thead title tr u ul var xml svg".split()
)
_STEMS = r"think|thought|reason|reflect|scratch|monologue|deliberat|chain_of|cot\b|musing|reflexion"
_LEFT_OVER = re.compile(
    rf"[<＜\[{{⟨【◁«][|｜]?/?[\w:-]*(?:{_STEMS})[\w:-]*[|｜]?[>＞\]}}⟩】▷»]", re.IGNORECASE
)
_CLOSED_BY_SLASH = re.compile(r"[<＜\[{⟨【◁«][|｜]?/")
_OPENING = re.compile(
    r"\s*(?P<open>[<＜\[{⟨【◁«][|｜]?)(?P<name>[A-Za-z][\w:-]{1,30})(?P<close>[|｜]?[>＞\]}⟩】▷»])"
)
_ALOUD = re.compile(
    r"\s*(?:\W{0,4}thinking(?: process)?\W{0,3}[:\n]"
    r"|(?:(?:okay|ok|alright|hmm|so|well|wait)[,.]? ){0,2}"
    r"(?:the user (?:wants|asks|asked|is asking)|(?:i|we) need to (?:explain|answer|figure|write)"
    r"|let me (?:think|figure|break)|let's think|first, i need))",
    re.IGNORECASE,
)


def _thought_marks(answer: Answer) -> str | None:
    """Marks of thought that nobody knows, and reasoning that bears no mark at all."""
    text = answer.text
    for found in _LEFT_OVER.finditer(text):
        if found[0][0] in "<＜◁" or _CLOSED_BY_SLASH.match(found[0]):
            return found[0]
    opening = _OPENING.match(text)
    if opening is not None and opening["name"].lower() not in (*_HTML, *ANSWER_NAMES):
        closing = f"{opening['open']}/{opening['name']}{opening['close']}"
        if closing in text:
            return opening[0].strip() + closing
    aloud = _ALOUD.match(text)
    return text[:60] if aloud else None


def _template_marks(answer: Answer) -> str | None:
    found = TEMPLATE_MARK.search(answer.text)
    return found[0] if found and not TOOL_MARK.search(answer.text) else None


def _tool_in_text(answer: Answer) -> str | None:
    found = TOOL_MARK.search(answer.text)
    if found:
        return found[0]
    value = None if answer.schema else _json(answer.text)
    called = isinstance(value, dict) and value.keys() >= {"name", "arguments"}
    return answer.text[:60] if called else None


_TURN = re.compile(
    r"^\s*(?:#{2,3} ?(?:Human|User|Assistant|Instruction|Response|System)"
    r"|\*{0,2}(?:Human|USER|User|Assistant|ASSISTANT))\*{0,2}:",
    re.MULTILINE,
)


def _runaway(answer: Answer) -> str | None:
    found = _TURN.search(answer.text)
    return found[0].strip() if found else None


# --- what is no answer at all -------------------------------------------------------------

_PAGE = re.compile(r"\s*(?:<!doctype\b|<html\b|<\?xml\b|<head\b|<body\b)", re.IGNORECASE)
_ERROR = re.compile(
    r"""\s*(?:[{\[]\s*['"]error['"]|\[?errors?\]?\s*[:!]|error (?:code|during|while|from)\b"""
    r"|an? (?:internal |unexpected |unknown )?error (?:has )?occurred|internal server error"
    r"|(?:http|error|status)[ :/]*[45]\d\d\b|[45]\d\d (?:bad|internal|service|gateway|too many)"
    r"|bad gateway|service (?:is )?(?:temporarily )?unavailable|gateway time-?out|too many requests"
    r"|rate limit|quota exceeded|traceback \(most recent|upstream (?:connect|request)|connection "
    r"(?:refused|reset|error)|cuda (?:error|out of memory)|request timed? ?out|(?:the )?model "
    r"\S{1,60} (?:was )?(?:not found|does not exist)|[A-Za-z_.]+(?:Error|Exception)\b[:(])",
    re.IGNORECASE,
)
_ERROR_CHARACTERS = 1_000  # chosen: whoever writes more than this says more than an error
_NOTHING = re.compile(
    r"\s*(?:null|none|nan|undefined|nil|n/a|\[object object\]|\{\}|\[\])\s*", re.I
)
_ESCAPED = re.compile(r'\\n(?![a-z])|\\u[0-9a-fA-F]{4}|\\"|\\t(?![a-z])')
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{60,}={0,2}")
_MOJIBAKE = re.compile(r"�|Ã[\x80-\xbf©¨¤¶¼Ÿ±³]|â€[™œ“”˜¦]|Â[\xa0°·]")
_ENVELOPE = frozenset({"choices", "candidates", "generated_text", "completion", "output_text"})


def _page(answer: Answer) -> str | None:
    return answer.text.strip()[:60] if _PAGE.match(answer.text) else None


def _error(answer: Answer) -> str | None:
    text = answer.text
    short = len(text) <= _ERROR_CHARACTERS
    return text.strip()[:80] if short and _ERROR.match(text) else None


def _nothing_in_words(answer: Answer) -> str | None:
    return answer.text.strip() if _NOTHING.fullmatch(answer.text) else None


def _no_word(answer: Answer) -> str | None:
    silent = blank(answer.text) or any(letter.isalnum() for letter in answer.text)
    return None if silent or answer.schema else answer.text.strip()[:40]


def _escaped(answer: Answer) -> str | None:
    text = answer.text.strip()
    if answer.schema or (_json(text) is not None and not text.startswith('"')):
        return None
    if len(text) > 2 and text[0] == text[-1] == '"' and isinstance(_json(text), str):
        return text[:60] if "\\" in text else None
    marks = _ESCAPED.findall(text)
    return f"{marks[0]} in {text[:60]}" if len(marks) > 1 and "\n" not in text else None


def _envelope(answer: Answer) -> str | None:
    value = None if answer.schema else _json(answer.text)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    wrapped = isinstance(value, dict) and (
        _ENVELOPE & value.keys() or value.keys() >= {"role", "content"}
    )
    return answer.text.strip()[:60] if wrapped else None


def _encoded(answer: Answer) -> str | None:
    text = "".join(answer.text.split())
    if not _BASE64.fullmatch(text) or len(answer.text.split()) > 1 + len(text) // 60:
        return None
    try:
        base64.b64decode(text, altchars=b"-_" if set("-_") & set(text) else None, validate=True)
    except (binascii.Error, ValueError):
        return None
    return text[:40]


def _garbled(answer: Answer) -> str | None:
    found = _MOJIBAKE.findall(answer.text)
    return " ".join(found[:5]) if len(found) >= 2 else None


# --- loops --------------------------------------------------------------------------------

_LOOP_WORDS, _LOOP_LETTERS = 40, 200  # chosen: what is shorter repeats itself by chance
_DISTINCT = 0.35  # chosen: share of different runs of four words; prose lies above .9


def _loop(answer: Answer) -> str | None:
    words = answer.text.split()
    units: list[str] | str = words
    size = 4
    if len(words) < _LOOP_WORDS:
        units, size = answer.text, 8
        if len(units) < _LOOP_LETTERS or len(words) > len(units) / 20:
            return None
    runs = [tuple(units[i : i + size]) for i in range(len(units) - size + 1)]
    looped = len(set(runs)) < _DISTINCT * len(runs)
    return _end(answer.text) if looped else None


def _json(text: str) -> object | None:
    text = text.strip()
    if text[:1] not in '{["':
        return None
    try:
        return json.loads(text)  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        return None


def _end(text: str, characters: int = 60) -> str:
    text = text.rstrip()
    return text if len(text) <= characters else f"…{text[-characters:]}"


REASONING_ONLY = Anomaly(
    "reasoning only", _reasoning_only, "are empty although there is reasoning",
    "the answer may stand in it: look at the server's reasoning parser, at chat_template_kwargs "
    "and at max_tokens",
)  # fmt: skip
ANOMALIES: tuple[Anomaly, ...] = (
    REASONING_ONLY,
    Anomaly(
        "limit spent before the answer", _limit_spent, "reached the limit before any text came",
        "raise sampling.max_tokens, or have the model reason less",
    ),
    Anomaly(
        "cut off", _cut_off, "were cut off by a limit",
        "half an answer is scored as it stands: raise sampling.max_tokens, or the server's context",
        SOME,
    ),
    Anomaly(
        "empty", _empty, "are empty",
        "look at the chat template, at stop and at what the server logs", SOME,
    ),
    Anomaly(
        "page instead of an answer", _page, "are a page of HTML or XML",
        "a proxy may have answered: open one, and look at base_url",
    ),
    Anomaly(
        "error instead of an answer", _error, "read as the message of an error",
        "the server sends its errors as answers: look at its log",
    ),
    Anomaly(
        "a word for nothing", _nothing_in_words, "are a word for nothing, such as null",
        "the server or a proxy writes out a missing answer: look at its log",
    ),
    Anomaly(
        "no word", _no_word, "hold no letter and no digit",
        "look at the weights, at their quantisation and at the dtype",
    ),
    Anomaly(
        "envelope", _envelope, "are the JSON of a whole reply",
        "a proxy wraps replies twice: look at base_url",
    ),
    Anomaly(
        "call of a tool", _tool_in_text, "call a tool in their text",
        "nobody answers it here: look at the tools and the tool parser of the server",
    ),
    Anomaly(
        "unknown marks of thought", _thought_marks, "hold reasoning between marks nobody knows",
        "it is scored as part of the answer: set the server's reasoning parser, or add the marks "
        "as docs/how-to/add-what-a-server-says.md tells",
    ),
    Anomaly(
        "marks of a chat template", _template_marks, "hold marks of a chat template",
        "look at the chat template and the stop tokens of the server",
    ),
    Anomaly(
        "dialogue that goes on", _runaway, "go on with turns of a dialogue that nobody asked for",
        "look at the chat template, and add the next turn's first word to stop",
    ),
    Anomaly(
        "escaped text", _escaped, "are escaped as in JSON, with \\n for the end of a line",
        "a proxy or a plug-in encodes texts once too often",
    ),
    Anomaly(
        "encoded text", _encoded, "are base64",
        "look at what the server or the plug-in returns",
    ),
    Anomaly(
        "garbled letters", _garbled, "hold letters that were decoded wrongly",
        "the server or the file of answers is not read as UTF-8", FEW,
    ),
    Anomaly(
        "loop", _loop, "repeat the same words over and over",
        "look at the sampling, at the weights and at the chat template", FEW,
    ),
    Anomaly(
        "end within a sentence", _mid_sentence,
        "end within a sentence although the server calls them complete",
        "look at stop, and at limits of the server's own", FEW,
    ),
)  # fmt: skip
