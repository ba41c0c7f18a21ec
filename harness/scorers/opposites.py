"""Common English words of opposite meaning, by their stems; the pairs are in `words/`."""

from __future__ import annotations

from functools import cache

from harness.scorers import word_lists
from harness.sentences import stem


@cache
def sides() -> dict[str, tuple[tuple[int, int], ...]]:
    """Of each stem the pairs it belongs to, with its side in each."""
    found: dict[str, tuple[tuple[int, int], ...]] = {}
    for number, pair in enumerate(word_lists.load("opposites")["pairs"]):
        for side, listed in enumerate(pair):
            for root in {stem(word) for word in listed.split()}:
                found[root] = (*found.get(root, ()), (number, side))
    return found
