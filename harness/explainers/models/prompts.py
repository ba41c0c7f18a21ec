"""Texts and tokens of a language model: which tokens of a prompt stand for which characters of a
sample, and which of an answer make up which of its sentences.

Special tokens and the text that a chat template puts around a user's message are part of the
prompt, but not of the sample: they stand for none of its characters and are never removed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.backends.checkpoint import said
from harness.explainers.units.text import Sentence
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PROBE = "the-text-of-the-user"
_MIXED = "a token holds characters of the chat template and of the text, and is never removed"


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt's token ids, the characters [start, end) of the sample's text that each stands for
    (-1, -1 where it stands for none), and which are never removed."""

    ids: NDArray[np.int64]
    spans: tuple[tuple[int, int], ...]
    fixed: NDArray[np.bool_]
    notes: tuple[str, ...] = ()


def read_prompt(tokenizer: Any, text: str, chat: bool, where: str) -> Prompt:
    """The prompt made of a text, with the tokenizer's own special tokens or, for a `chat`, with its
    template's.

    Of a template's text, only white space that is one token with the sample's own (a word's leading
    space) goes when that is removed. Raises `HarnessError`, beginning with `where`, for an empty
    text, and for one that cannot be tokenised or that the template changes.
    """
    import numpy as np

    if not text.strip():
        raise HarnessError(f"{where} is empty; leave it out")
    given, low, core = _templated(tokenizer, text, where) if chat else (text, 0, text)
    tokens = encoded(tokenizer, given, not chat, where)
    high, shift = low + len(core), low - text.index(core)
    special = np.array(tokens["special_tokens_mask"], dtype=bool)
    spans, mixed = [], False
    for place, (start, end) in enumerate(tokens["offset_mapping"]):
        inside = given[max(start, low) : min(end, high)]
        outside = given[start : min(end, low)] + given[max(start, high) : end]
        mixed |= bool(inside.strip() and outside.strip())
        if outside:
            mine = bool(inside.strip()) and not outside.strip()
        else:  # bytes of one character may have no characters of their own
            mine = not special[place] and low <= start < high
        spans.append((max(start, low) - shift, min(end, high) - shift) if mine else (-1, -1))
    return Prompt(
        np.array(tokens["input_ids"], dtype=np.int64),
        tuple(spans),
        np.array([start < 0 for start, _ in spans], dtype=bool),
        (_MIXED,) if mixed else (),
    )


def encoded(tokenizer: Any, text: str, special: bool, where: str) -> dict[str, Any]:
    """What a fast tokenizer says of a text, with offsets, and with its own special tokens or
    without."""
    try:
        return dict(
            tokenizer(
                text,
                add_special_tokens=special,
                return_offsets_mapping=True,
                return_special_tokens_mask=True,
                verbose=False,
            )
        )
    except Exception as error:  # tokenizers raise on text that is no Unicode, among others
        raise HarnessError(f"{where} cannot be tokenised: {said(error)}") from error


def decoded(tokenizer: Any, ids: Sequence[int], special: bool = True) -> str:
    """Tokens as text, `special` ones with the others or left out."""
    return str(
        tokenizer.decode(
            list(ids), skip_special_tokens=not special, clean_up_tokenization_spaces=False
        )
    )


def shown(text: str) -> str:
    """A piece of an answer on one line; what is white space alone, in quotes."""
    for sign, written in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(sign, written)
    return text.strip() or f"'{text}'"


def sentences_of(
    tokenizer: Any, answer: Sequence[int]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """An answer's sentences, each behind its place (`0: There was a cat.`), and for each token the
    place of the sentence in which its first character that is no white space lies; white space and
    special tokens go with what is before them."""
    import numpy as np

    text = decoded(tokenizer, answer, special=False)
    ahead = [decoded(tokenizer, answer[:end], special=False) for end in range(len(answer))]
    # Bytes of a character that is not complete yet decode to U+FFFD: they stand where it does.
    edges = [*(len(prefix.rstrip("\ufffd")) for prefix in ahead), len(text)]
    firsts = []
    for start, end in itertools.pairwise(edges):
        piece = text[start:end]
        firsts.append(start + (len(piece) - len(piece.lstrip()) if piece.strip() else 0))
    spans = Sentence().split(text) or ((0, 0),)
    names = [f"{place}: {shown(text[a:b])}" for place, (a, b) in enumerate(spans)]
    owner = np.searchsorted([start for start, _ in spans], firsts, side="right") - 1
    return tuple(names), owner


def _templated(tokenizer: Any, text: str, where: str) -> tuple[str, int, str]:
    """The prompt that the chat template makes of a user's text, the place in it where that text
    begins, and what the template leaves of it: many strip the white space around it."""
    # The text may stand in the template's own too, so its place is found by another one's.
    before, _, after = _rendered(tokenizer, _PROBE, where).partition(_PROBE)
    given = _rendered(tokenizer, text, where)
    middle = given[len(before) : len(given) - len(after)]
    if given != before + middle + after or middle.strip() != text.strip():
        raise HarnessError(
            f"{where} is not what stands in the prompt, because the chat template changes or "
            "repeats it; leave chat out and give the whole prompt as the text"
        )
    core = text if middle == text else text.strip()
    return given, len(before) + middle.index(core), core


def _rendered(tokenizer: Any, text: str, where: str) -> str:
    messages = [{"role": "user", "content": text}]
    try:
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )
    except Exception as error:  # templates raise what they like
        raise HarnessError(
            f"{where} cannot be put through the chat template: {said(error)}"
        ) from error
