"""Whether an explanation speaks of the label it was asked to explain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from harness.records import Generation, Metric, Request, Score, Separation, Subject
from harness.scorers.explanations import explanation_text


class LabelConsistency:
    """Which of the run's labels an explanation names.

    Naming is not agreeing: a text may name the told label and deny it, which is the business of
    claims. Here only the name counts.
    """

    metrics = (
        Metric(
            "names_told_label",
            title="told label named",
            separates=(Separation("told", "empty", 0.2),),
            about="1 where the explanation names the told label at least as often as any other "
            "label of the run, 0.5 where it names no label, 0 where it names another more often "
            "or says nothing; not applicable without a told label.",
        ),
    )

    def requests(self, subject: Subject) -> Sequence[Request]:  # noqa: ARG002
        """None: names are looked up."""
        return ()

    def score(self, subject: Subject, generations: Sequence[Generation]) -> list[Score]:
        """`names_told_label`, with how often each label is named as its detail."""
        if subject.told is None:
            return [Score("names_told_label", None)]
        text = explanation_text(generations[0], subject.schema)
        labels = tuple(dict.fromkeys((*subject.labels, subject.told)))
        named = mentions(text, labels)
        others = max((n for label, n in named.items() if label != subject.told), default=0)
        own = named[subject.told]
        if not text.strip():
            value = 0.0
        elif own == others == 0:
            value = 0.5
        else:
            value = float(own >= others)
        return [Score("names_told_label", value, {"named": {k: n for k, n in named.items() if n}})]


def mentions(text: str, labels: Sequence[str]) -> dict[str, int]:
    """How often each label is named: whole words in any case, singular or plural.

    A name inside a longer one that is also a label counts for the longer alone ("viral
    gastroenteritis" is no mention of "gastroenteritis").
    """
    counts = dict.fromkeys(labels, 0)
    pattern, by_group = _pattern(tuple(labels))
    if pattern is not None:
        for match in pattern.finditer(text):
            counts[by_group[match.lastindex or 0]] += 1
    return counts


@lru_cache(maxsize=256)
def _pattern(labels: tuple[str, ...]) -> tuple[re.Pattern[str] | None, dict[int, str]]:
    ordered = sorted((label for label in labels if label.strip()), key=len, reverse=True)
    if not ordered:
        return None, {}
    names = "|".join(f"({_name(label)})" for label in ordered)
    return (
        re.compile(rf"(?<!\w)(?:{names})(?!\w)", re.IGNORECASE),
        dict(enumerate(ordered, 1)),
    )


def _name(label: str) -> str:
    """A pattern for a label: any space, hyphen or underscore between words, plural endings."""
    parts = [re.escape(part) for part in re.split(r"[\s_-]+", label.strip()) if part]
    last = parts[-1]
    if last.lower().endswith("y"):
        parts[-1] = rf"{last[:-1]}(?:y|ies)"
    elif last.lower().endswith("is"):
        parts[-1] = rf"{last[:-2]}(?:is|es)"
    elif last.lower().endswith("s"):
        parts[-1] = rf"{last}(?:es)?"
    else:
        parts[-1] = rf"{last}(?:s|es)?"
    return r"[\s_-]+".join(parts)
