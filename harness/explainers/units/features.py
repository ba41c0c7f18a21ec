"""The smallest units: what a classifier itself takes one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Token:
    """Each token of a text, with the characters up to the next; special tokens are none."""

    reads = "tokens"
    within = "word"


class Feature:
    """Each place of an array: a column of a table, a pixel with all its channels."""

    reads = "array"
    within = None

    def split(self, array: NDArray[Any], sample: str = "") -> NDArray[np.int32]:  # noqa: ARG002
        """A label map of `array.shape[:-1]`, numbered in C order."""
        import math

        import numpy as np

        places = array.shape[:-1]
        return np.arange(math.prod(places), dtype=np.int32).reshape(places)
