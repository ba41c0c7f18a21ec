"""One sample as a classifier sees it, and what is left of it when something is removed.

A reading holds the sample's parts (texts and arrays) and their features, the smallest pieces that
can be removed: tokens, characters, pixels, columns.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REMOVALS = ("mask", "delete", "baseline", "background")


@dataclass(frozen=True)
class Removal:
    """What is left in a removed unit's place.

    - `mask`: the tokenizer's mask token, else its unknown token; a blurred copy in an image; zeros
      in other arrays
    - `delete`: nothing, the input is shorter
    - `baseline`: what `baseline` says: a token, a text, a number, or an array
    - `background`: what stands there in each row of a background set, of which `baseline` is then
      how a record shows it; outputs are averaged over the rows
    """

    kind: Literal["mask", "delete", "baseline", "background"] = "mask"
    baseline: Any = None

    @classmethod
    def of(cls, kind: str, baseline: Any = None) -> Removal:
        """Raises `HarnessError` for another kind, and for a baseline that would be ignored."""
        if baseline is not None:
            if kind not in ("mask", "baseline"):
                raise HarnessError(f"removal: {kind} has no baseline; leave one of the two out")
            return cls("baseline", baseline)
        if kind == "background":
            raise HarnessError("removal: background needs 'background': rows, images or texts")
        if kind not in REMOVALS:
            raise HarnessError(f"removal is one of {', '.join(REMOVALS)}, not '{kind}'")
        if kind == "baseline":
            raise HarnessError("removal: baseline needs 'baseline': a token, a number or an array")
        return cls(kind)  # type: ignore[arg-type]


@dataclass(frozen=True)
class TextPart:
    """A text and the characters [start, end) of each of its features.

    Special tokens, which stand for no characters, have (-1, -1). `tokens` says whether the features
    are a model's tokens; else they are characters.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    tokens: bool = False

    @property
    def features(self) -> int:
        """How many features it has."""
        return len(self.spans)

    @classmethod
    def of_characters(cls, text: str) -> TextPart:
        """A text of which each character can be removed."""
        return cls(text, tuple((place, place + 1) for place in range(len(text))))


@dataclass(frozen=True, eq=False)
class ArrayPart:
    """An array, channels last: each place, with all its channels, is a feature.

    `names` are those of its places where they have any (columns of a table); `extent` is what of
    an image it shows, as in `harness.records.Segmentation`.
    """

    array: NDArray[Any]
    names: tuple[str, ...] = ()
    extent: tuple[float, float, float, float] | None = None

    @property
    def features(self) -> int:
        """How many features it has."""
        return math.prod(self.array.shape[:-1])


@dataclass(frozen=True)
class Size:
    """What can share a batch (inputs of one `shape`), and what it costs in `tokens`."""

    shape: Hashable
    tokens: int


class Reading(Protocol):
    """One sample as a classifier sees it; its features are those of its parts, one after another.

    `fixed` marks features that are never removed: special tokens.
    """

    @property
    def sample(self) -> str: ...
    @property
    def input(self) -> str: ...
    @property
    def parts(self) -> tuple[TextPart | ArrayPart, ...]: ...
    @property
    def fixed(self) -> NDArray[np.bool_]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...

    def sizes(self, kept: NDArray[np.bool_]) -> Sequence[Size]:
        """The size of what is left by each of these sets (sets x features)."""
        ...

    def left(self, kept: NDArray[np.bool_]) -> Any:
        """What is left when only these features are kept (one bool a feature), as its model takes
        it."""
        ...
