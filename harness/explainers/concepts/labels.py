"""Labels of concepts by a language model, and whether a label says where the concept is.

Nothing is asked here: `label_request` and `simulation_request` make requests for any backend,
`read_label` and `read_ratings` read what it generated.

Source: Bills et al. 2023, "Language models can explain neurons in language models": explain,
simulate, and score by the correlation of simulated with real activations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from harness.records import Generation, HarnessError, Message, Part, Request, Sampling

_LONGEST = 200  # characters of a label
_MOST = 10.0  # of a rating
# "3: 7", "(3) 7.5", "- **3.** rating: 7/10", "Place 3 - 7", "| 3 | 7 |"
_ITEM = re.compile(
    r"^[\s>*_#|•–-]*(?:place\s*)?\(?(\d+)[)\s*_]*(?:[.:)|=–-]|->)[\s*_`|:]*"
    r"(?:(?:rating|score)[\s*_:]*)?(-?\d+(?:\.\d+)?)",
    re.M | re.I,
)
# What a model thinks before it answers, in whichever brackets; an answer begins behind it.
_THOUGHT = re.compile(
    r"<\s*(think|thinking|thought|reasoning|seed:think)\s*>.*?(?:<\s*/\s*\1\s*>|\Z)", re.S | re.I
)
_END_OF_THOUGHT = re.compile(r"<\s*/\s*(?:think|thinking|thought|reasoning|seed:think)\s*>", re.I)
# A line that announces the answer and says nothing of it.
_PREAMBLE = re.compile(
    r"^(?:sure|certainly|of course|okay|ok|great|here(?:'s| is| are)|based on|looking at|the active"
    r" places|let me|i think|answer|label)\b.*:$"
    r"|^(?:sure|certainly|of course|okay|ok|great)[!.,]*$",
    re.I,
)
_LEAD = re.compile(
    r"^(?:(?:sure|certainly|of course|okay|ok|great)[,!.]+\s*)?"
    r"(?:(?:here(?:'s| is)(?: the| a| my)?\s*)?(?:final |short )?(?:label|answer|phrase)"
    r"(?: is)?\s*[:\-–]\s*)?",
    re.I,
)

_ASK = (
    "These are places where one unit of a classifier is strongly active, the strongest first. "
    "In texts the place stands between >> and <<; of pictures you see the place in the middle."
)
_CONTRAST = "And these are places where it is not active:"
_LABEL = (
    "What do the active places have in common that the others have not? Answer with one short "
    "phrase of at most ten words, and nothing else."
)
_SIMULATE = (
    "A unit of a classifier is described so: {label}\n\n"
    "How active is it in each of these places, from 0 (not at all) to 10 (as strongly as it can "
    "be)? In texts the place stands between >> and <<. Answer with one line for each place: its "
    "number, a colon, and your rating."
)


def label_request(
    backend: str,
    model: str,
    active: Sequence[Sequence[Part]],
    silent: Sequence[Sequence[Part]] = (),
    revision: str | None = None,
    sampling: Sampling | None = None,
) -> Request:
    """Asks for a label of a concept from places (`meaning.content`) where it is strongest and,
    where given, where it is not. Raises `HarnessError` for no place."""
    if not active:
        raise HarnessError("a concept without any active place cannot be labelled")
    parts = [Part(_ASK), *_numbered(active)]
    if silent:
        parts += [Part(_CONTRAST), *_numbered(silent)]
    return _request(backend, model, (*parts, Part(_LABEL)), revision, sampling, 64)


def read_label(generation: Generation) -> str | None:
    """The label: the first line that says something, without thoughts and announcements before it
    and marks around it (markdown, bullets, tables). `None` where there is none."""
    if generation.error:
        return None
    for line in _answer(generation.text).splitlines():
        bare = _bare(_LEAD.sub("", _bare(line), count=1))
        if any(char.isalnum() for char in bare) and not _PREAMBLE.match(_bare(line)):
            return _bare(bare.rstrip("."))[:_LONGEST].strip()
    return None


def _answer(text: str) -> str:
    """A reply without what its model thought: also where the opening mark was in the prompt."""
    behind = _END_OF_THOUGHT.split(_THOUGHT.sub("", text))[-1]
    return re.sub(r"^\s*```\w*\s*$", "", behind, flags=re.M)


def _bare(line: str) -> str:
    """A line without bullets and marks of markdown, tables and quotes around it."""
    inner = re.sub(r"^\s*(?:[-*+•>|#]+|\(?\d+[.)])\s+", "", line)
    return inner.strip().strip("*_`\"'“”‘’#|> ").strip()


def simulation_request(
    backend: str,
    model: str,
    label: str,
    places: Sequence[Sequence[Part]],
    revision: str | None = None,
    sampling: Sampling | None = None,
) -> Request:
    """Asks how active a concept of this label is in each place: places that the label was not made
    from. Raises `HarnessError` for no place."""
    if not places:
        raise HarnessError("there are no places in which a concept could be simulated")
    parts = (Part(_SIMULATE.format(label=label)), *_numbered(places))
    return _request(backend, model, parts, revision, sampling, 12 * len(places) + 64)


def read_ratings(generation: Generation, count: int) -> tuple[float | None, ...]:
    """A rating in [0, 10] for each of `count` places; `None` for those without one. Numbered lines
    are read (bulleted, in bold, as rows of a table), or a JSON list of as many numbers, behind what
    the model thought."""
    nothing: tuple[float | None, ...] = (None,) * count
    if generation.error:
        return nothing
    found: dict[int, float] = {}
    answer = _answer(generation.text)
    for place, rating in _ITEM.findall(answer):
        found.setdefault(int(place), float(rating))
    if found:
        return tuple(_clipped(found.get(place)) for place in range(1, count + 1))
    return _from_json(answer, count) or nothing


def simulation_score(simulated: Sequence[float | None], real: Sequence[float]) -> float | None:
    """The correlation (Pearson) of simulated with real activations over places that were rated, in
    [-1, 1]; `None` where fewer than three were rated, or where either is constant."""
    import numpy as np

    pairs = [(s, r) for s, r in zip(simulated, real, strict=True) if s is not None]
    if len(pairs) < 3:
        return None
    one, two = np.array(pairs, dtype=np.float64).T
    if np.ptp(one) == 0 or np.ptp(two) == 0:
        return None
    return float(np.corrcoef(one, two)[0, 1])


def _numbered(places: Sequence[Sequence[Part]]) -> list[Part]:
    """Each place behind its number; texts on one line, so that lines stay countable."""
    parts: list[Part] = []
    for number, place in enumerate(places, 1):
        texts = [" ".join(part.text.split()) for part in place if part.media is None]
        parts.append(Part(" ".join([f"({number})", *texts])))
        parts += [part for part in place if part.media is not None]
    return parts


def _request(
    backend: str,
    model: str,
    parts: tuple[Part, ...],
    revision: str | None,
    sampling: Sampling | None,
    most: int,
) -> Request:
    drawn = sampling or Sampling(temperature=0.0, max_tokens=most)
    return Request(backend, model, (Message("user", parts),), revision, drawn)


def _clipped(rating: float | None) -> float | None:
    return None if rating is None else min(_MOST, max(0.0, rating))


def _from_json(text: str, count: int) -> tuple[float | None, ...] | None:
    inner = re.search(r"\[[^\[\]]*\]", text)
    if inner is None:
        return None
    try:
        values: Any = json.loads(inner[0])
    except ValueError:
        return None
    if len(values) != count:
        return None
    return tuple(
        _clipped(float(value)) if isinstance(value, int | float) else None for value in values
    )
