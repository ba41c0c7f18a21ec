"""Texts of functions with words removed: what stands in a removed word's place."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from harness.explainers.models.inputs import InputReading
from harness.explainers.models.reading import TextPart


def left(text: str, kept: np.ndarray, word: str | None) -> str:
    part = TextPart.of_characters(text)
    reading = InputReading("s", "", (part,), np.zeros(len(text), bool), (word,))
    found: str = reading.left(kept)
    return found


def stretch_by_stretch(text: str, kept: np.ndarray, word: str | None) -> str:
    """The definition: in each removed stretch every run of non-space becomes the word."""
    pieces, start = [], 0
    for end in range(1, len(text) + 1):
        if end == len(text) or kept[end] != kept[start]:
            stretch = text[start:end]
            stand_in = "" if word is None else re.sub(r"\S+", lambda _: str(word), stretch)
            pieces.append(stretch if kept[start] else stand_in)
            start = end
    return "".join(pieces)


@pytest.mark.parametrize(
    "alphabet",
    ["ab \n\t\x1c\x7f", "ab \u00a0\u3000\u00e9\U0001f600\u0085", "a \ud800\udc00\U0010ffff\ufffe"],
    ids=["ascii", "unicode", "lone surrogates"],
)
@pytest.mark.parametrize("word", [None, "", "X", r"\1 UNK\u00e9", "\U0010ffff"])
def test_removed_words_become_the_stand_in_and_white_space_stays(
    alphabet: str, word: str | None
) -> None:
    rng = random.Random(len(alphabet))
    for length in [0, 1, *range(2, 12)] * 20:
        text = "".join(rng.choice(alphabet) for _ in range(length))
        kept = np.array([rng.random() < 0.5 for _ in text], bool)
        assert left(text, kept, word) == stretch_by_stretch(text, kept, word)
