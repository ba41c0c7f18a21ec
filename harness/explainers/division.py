"""A reading divided into units: which unit each feature belongs to, and which units play.

Units are sets of features, whatever divided them, so that a set of words and a set of sentences
that leave the same tokens are one evaluation.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness import checks, plugins
from harness.explainers.models.reading import ArrayPart, Reading, TextPart
from harness.records import HarnessError, Segmentation, Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Division:
    """A reading's units.

    `players` are the places in `units` of those that the classifier sees; `unit_of` gives each
    feature the place of its player, -1 where it is never removed; `groups` each player the place
    of the larger unit it lies in (the sentence of a word).
    """

    kind: str
    units: tuple[Unit, ...]
    players: tuple[int, ...]
    unit_of: NDArray[np.int64]
    groups: tuple[int, ...]
    segmentation: tuple[Segmentation, ...] = ()

    def kept(self, sets: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The features that sets of players leave: sets x features."""
        import numpy as np

        always = np.ones((len(sets), 1), dtype=bool)
        # Rows of the result lie in one piece, which indexing of columns would not give.
        return np.take(np.concatenate([sets, always], axis=1), self.unit_of, axis=1)


@dataclass(frozen=True, eq=False)
class _Divided:
    """One part's units, the place among them of the unit of each of its features, and groups."""

    units: list[Unit]
    owner: NDArray[np.int64]
    groups: list[int]
    labels: NDArray[np.int64] | None = None


def divide(reading: Reading, kinds: Sequence[Any] | Mapping[str, Any], name: str) -> Division:
    """Divides each part by the first of `kinds` that reads it; `name` is what the kinds are called
    together.

    A part that none of them reads stays as it is. Raises `HarnessError` where that leaves nothing
    to be explained, and for units that are no division.
    """
    import numpy as np

    named = plugins.by_name(kinds)

    units: list[Unit] = []
    groups: list[int] = []
    owners: list[NDArray[np.int64]] = []
    maps: list[Segmentation] = []
    for place, part in enumerate(reading.parts):
        divided = _divided(part, named, reading.sample, place)
        if divided is None:
            owners.append(np.full(part.features, -1, dtype=np.int64))
            continue
        owners.append(np.where(divided.owner < 0, -1, divided.owner + len(units)))
        if divided.labels is not None:
            numbered = owners[-1].reshape(divided.labels.shape)
            extent = part.extent if isinstance(part, ArrayPart) else None
            maps.append(replace(run_lengths(numbered, place), extent=extent))
        groups += [group + len(units) for group in divided.groups]
        units += divided.units
    owner = np.concatenate([np.zeros(0, dtype=np.int64), *owners])
    owner = np.where(reading.fixed, -1, owner)
    players = np.unique(owner[owner >= 0])
    if not len(players):
        what = " and ".join(_what(part) for part in reading.parts) or "nothing"
        raise HarnessError(
            f"sample '{reading.sample}' has no {name} to be explained: its input is {what}"
        )
    rank = np.full(len(units) + 1, -1)
    rank[players] = np.arange(len(players))
    larger = list(dict.fromkeys(groups[place] for place in players))
    return Division(
        name,
        tuple(units),
        tuple(players.tolist()),
        rank[owner],
        tuple(larger.index(groups[place]) for place in players),
        tuple(maps),
    )


def run_lengths(labels: NDArray[Any], part: int = 0) -> Segmentation:
    """A label map as run lengths."""
    import numpy as np

    flat = labels.reshape(-1)
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(np.append(starts, flat.size))
    runs = np.stack([flat[starts], lengths], axis=1).reshape(-1)
    return Segmentation(labels.shape, tuple(runs.tolist()), part)


def label_map(segmentation: Segmentation) -> NDArray[np.int64]:
    """The label map of a segmentation: int64, of its shape."""
    import numpy as np

    runs = np.array(segmentation.runs, dtype=np.int64).reshape(-1, 2)
    return np.repeat(runs[:, 0], runs[:, 1]).reshape(segmentation.shape)


def _divided(
    part: TextPart | ArrayPart, kinds: Mapping[str, Any], sample: str, place: int
) -> _Divided | None:
    for name, kind in kinds.items():
        if kind.reads == "tokens" and isinstance(part, TextPart):
            return _tokens(part, kind, sample, place)
        if kind.reads == "text" and isinstance(part, TextPart):
            return _spans(part, name, kind, sample, place)
        if kind.reads == "array" and isinstance(part, ArrayPart):
            return _segments(part, name, kind, sample, place)
    return None


def _tokens(part: TextPart, kind: Any, sample: str, place: int) -> _Divided:
    """Each token of the text is a unit, with the characters up to the next one.

    Several tokens of one character (bytes of an emoji) share its start: the last of them has it.
    """
    import numpy as np

    if not part.tokens:
        raise HarnessError(
            "unit token: the classifier has no tokens that can be seen; use word or sentence"
        )
    real = [number for number, (start, _) in enumerate(part.spans) if start >= 0]
    owner = np.full(len(part.spans), -1, dtype=np.int64)
    owner[real] = np.arange(len(real))
    starts = [part.spans[number][0] for number in real]
    last = part.spans[real[-1]][1] if real else 0
    rest = part.text[last:]
    edges = [0, *starts[1:], last if rest.strip() else len(part.text)]
    units = [Unit(part.text[a:b], a, b, part=place) for a, b in itertools.pairwise(edges)]
    if rest.strip():  # the classifier has no positions for it
        units.append(Unit(rest, last, len(part.text), part=place))
    return _Divided(units, owner, _within(part.text, kind, units, sample))


def _spans(part: TextPart, name: str, kind: Any, sample: str, place: int) -> _Divided:
    """A feature belongs to the unit in which its first character that is no white space lies; what
    lies between units is never removed."""
    import numpy as np

    spans = checks.spans_of(name, kind, part.text, sample)
    units = [Unit(part.text[start:end], start, end, part=place) for start, end in spans]
    starts = np.array([start for start, _ in spans], dtype=np.int64)
    ends = np.array([*(end for _, end in spans), 0], dtype=np.int64)
    firsts = np.array([_first(part.text, *span) for span in part.spans], dtype=np.int64)
    owner = np.searchsorted(starts, firsts, side="right") - 1
    owner[[start < 0 for start, _ in part.spans]] = -1
    owner[(owner >= 0) & (firsts >= ends[owner])] = -1
    return _Divided(units, owner, _within(part.text, kind, units, sample))


def _within(text: str, kind: Any, units: Sequence[Unit], sample: str) -> list[int]:
    """For each unit the place of the first unit that lies in the same larger one."""
    import numpy as np

    if kind.within is None:
        return [0] * len(units)
    larger = checks.spans_of(kind.within, plugins.create("units", kind.within), text, sample)
    starts = np.array([start for start, _ in larger], dtype=np.int64)
    firsts = [_first(text, unit.start or 0, unit.end or 0) for unit in units]
    places = (np.searchsorted(starts, firsts, side="right") - 1).tolist()
    return [places.index(group) for group in places]


def _first(text: str, start: int, end: int) -> int:
    """The first character of a span that is no white space: a token may begin with a space."""
    bare = text[start:end].lstrip()
    return end - len(bare) if bare else start


def _segments(part: ArrayPart, name: str, kind: Any, sample: str, place: int) -> _Divided:
    labels = checks.labels_of(name, kind, part.array, sample, _sizes(part))
    count = int(labels.max(initial=-1)) + 1
    if kind.reads == "array" and part.names and count == part.features:
        units = [Unit(name, part=place) for name in part.names]
    else:
        units = _placed(labels, count, place)
    return _Divided(units, labels.reshape(-1), [0] * count, labels)


def _placed(labels: NDArray[np.int64], count: int, part: int) -> list[Unit]:
    """Units with where they lie: steps along one axis, or the box around them on the last two."""
    import numpy as np

    axes = np.nonzero(labels >= 0)[-2:]
    which = labels[labels >= 0]
    bounds = []
    for axis in axes:
        first, last = np.full(count, labels.size), np.zeros(count, dtype=np.int64)
        np.minimum.at(first, which, axis)
        np.maximum.at(last, which, axis + 1)
        bounds.append((first.tolist(), last.tolist()))
    if len(bounds) == 1:
        ((start, end),) = bounds
        return [Unit(start=start[i], end=end[i], part=part) for i in range(count)]
    (top, bottom), (left, right) = bounds
    return [
        Unit(box=(top[i], left[i], bottom[i] - top[i], right[i] - left[i]), part=part)
        for i in range(count)
    ]


def _what(part: TextPart | ArrayPart) -> str:
    if isinstance(part, TextPart):
        return "text" if part.text.strip() else "an empty text"
    return f"an array of {_sizes(part)}"


def _sizes(part: ArrayPart) -> str:
    return " x ".join(map(str, part.array.shape))
