"""Word lists of the rules that read a sentence, as data: YAML files in `words/`, read once each.

A list of words is one string with blanks between them; a list of phrases is a YAML list.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "words"


@cache
def load(name: str) -> dict[str, Any]:
    """The lists of `words/<name>.yaml` by their names."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load((FOLDER / f"{name}.yaml").read_text("utf-8"), loader)
    return found


@cache
def table(name: str, key: str) -> dict[str, Any]:
    """A list whose words each have a value."""
    return dict(load(name)[key])


@cache
def words(name: str, key: str) -> frozenset[str]:
    """The words of one list."""
    return frozenset(load(name)[key].split())


@cache
def phrases(name: str, key: str) -> tuple[tuple[str, ...], ...]:
    """The phrases of one list, each as its words, longest first."""
    found = (tuple(phrase.split()) for phrase in load(name)[key])
    return tuple(sorted(found, key=len, reverse=True))


@cache
def fingerprint() -> str:
    """A hash over all lists: another list is another version of whatever reads it."""
    from harness.identity import sha256

    return sha256(b"".join(path.read_bytes() for path in sorted(FOLDER.glob("*.yaml"))))[:16]
