"""Labels and ratings as language models write them: behind preambles and thoughts, in markdown."""

from __future__ import annotations

import pytest

from harness.explainers.concepts.labels import read_label, read_ratings
from harness.records import Generation

LABEL = "burning pain after meals"


@pytest.mark.parametrize(
    "reply",
    [
        "burning pain after meals",
        "**Burning pain after meals**".replace("B", "b"),
        "Sure! Here is the label:\n\n- burning pain after meals",
        "Sure, here is a short phrase:\n> burning pain after meals",
        "Here's the label: **burning pain after meals**.",
        "Label: `burning pain after meals`",
        "The active places have in common:\n\n1. burning pain after meals",
        "<think>They all say pain: maybe meals?</think>\nburning pain after meals",
        "So they all have pain.\n</think>\n\nburning pain after meals",
        "<thought>\nhm\n</thought>\n## burning pain after meals",
        "```\nburning pain after meals\n```",
        "| burning pain after meals |",
        "Certainly!\n\n“burning pain after meals”",
    ],
)
def test_a_label_is_read_without_what_stands_around_it(reply: str) -> None:
    assert read_label(Generation(reply)) == LABEL


@pytest.mark.parametrize("reply", ["", "***", "<think>I never came to an end", "Sure!"])
def test_a_reply_without_a_label_has_none(reply: str) -> None:
    assert read_label(Generation(reply)) is None


@pytest.mark.parametrize("label", ["great pain", "surely a scan", "label of a drug", "x-ray: yes"])
def test_a_label_that_begins_like_a_preamble_stays(label: str) -> None:
    assert read_label(Generation(label)) == label


@pytest.mark.parametrize(
    "reply",
    [
        "1: 7\n2: 0\n3: 9.5",
        "Here are the ratings:\n\n(1) 7\n(2) 0\n(3) 9.5",
        "- **1**: 7\n- **2**: 0\n- **3**: 9.5",
        "* 1. 7/10\n* 2. 0/10\n* 3. 9.5/10",
        "| place | rating |\n|---|---|\n| 1 | 7 |\n| 2 | 0 |\n| 3 | 9.5 |",
        "Place 1: 7\nPlace 2: 0\nPlace 3: 9.5",
        "1) **7**\n2) **0**\n3) **9.5**",
        "1: rating 7\n2: rating: 0\n3: score 9.5",
        "<think>1: 2\n2: 2\n3: 2</think>1: 7\n2: 0\n3: 9.5",
        "```json\n[7, 0, 9.5]\n```",
        "1 - 7\n2 - 0\n3 - 9.5",
    ],
)
def test_ratings_are_read_from_lists_and_tables(reply: str) -> None:
    assert read_ratings(Generation(reply), 3) == (7.0, 0.0, 9.5)


def test_ratings_that_are_only_thought_of_are_none() -> None:
    assert read_ratings(Generation("<think>1: 2\n2: 2"), 2) == (None, None)
