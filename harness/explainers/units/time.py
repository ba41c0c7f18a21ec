"""Signals in segments of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TimeSegment:
    """Segments of `size` steps along an array's first dimension, the last one what is left.

    Where `rate`, steps a second, is given, `size` is in seconds; a segment that is no whole number
    of steps begins at the nearest one. Raises `HarnessError` for segments of less than a step.
    """

    reads = "array"
    within: str | None = None

    def __init__(self, size: float, rate: float | None = None) -> None:
        where = "unit 'time_segment'"
        if rate is None:
            fields.whole(where, 1, size=size)
        else:
            for name, value in (("size", size), ("rate", rate)):
                number = isinstance(value, int | float) and not isinstance(value, bool)
                if not number or not 0 < value < float("inf"):
                    raise HarnessError(f"{where}: {name} is a number above 0, not {value!r}")
            if size * rate < 1:
                raise HarnessError(
                    f"{where}: {size} s are less than one step at {rate} steps a second; "
                    f"make size at least {1 / rate:.3g}"
                )
        self.settings: Mapping[str, Any] = {"size": size, "rate": rate}

    def split(self, array: NDArray[Any], sample: str = "") -> NDArray[np.int32]:  # noqa: ARG002
        """A label map of `array.shape[:-1]`: segments are numbered in their order."""
        import numpy as np

        steps = array.shape[0]
        length = self.settings["size"] * (self.settings["rate"] or 1)
        edges = np.floor(length * np.arange(1, int(steps / length) + 2) + 0.5)
        labels = np.searchsorted(edges, np.arange(steps), side="right").astype(np.int32)
        shape = array.shape[:-1]
        return np.broadcast_to(labels.reshape(-1, *[1] * (len(shape) - 1)), shape).copy()
