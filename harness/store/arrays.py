"""Numbers of attributions as safetensors: large arrays lie in files, records hold the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.identity import sha256
from harness.records import Attribution, Media, Pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKED = "application/x-safetensors"


def pack(attribution: Attribution) -> tuple[Attribution, Media]:
    """An attribution without its numbers, and these as one medium."""
    from safetensors.numpy import save

    record, arrays = split(attribution)
    data = save(arrays)
    return record, Media(sha256(data), PACKED, data=data)


def unpack(record: Attribution, data: bytes) -> Attribution:
    """What `pack` took apart."""
    from safetensors.numpy import load

    return joined(record, load(data))


def split(attribution: Attribution) -> tuple[Attribution, dict[str, NDArray[np.float64]]]:
    """An attribution without its numbers, and the numbers: NaN where a unit was not seen.

    Pairs are rows of first, second, value and standard error (NaN where there is none).
    """
    import numpy as np

    arrays = {"values": np.array(attribution.values, dtype=np.float64)}
    if attribution.standard_errors is not None:
        arrays["standard_errors"] = np.array(attribution.standard_errors, dtype=np.float64)
    if attribution.pairs:
        rows = [(p.first, p.second, p.value, p.standard_error) for p in attribution.pairs]
        arrays["pairs"] = np.array(rows, dtype=np.float64)
    return replace(attribution, values=(), standard_errors=None, pairs=()), arrays


def joined(record: Attribution, arrays: Mapping[str, NDArray[np.float64]]) -> Attribution:
    """An attribution with its numbers."""

    def numbers(name: str) -> tuple[float | None, ...] | None:
        if name not in arrays:
            return None
        return tuple(None if value != value else value for value in arrays[name].tolist())

    values = numbers("values") or ()
    pairs = tuple(
        Pair(int(first), int(second), value, None if error != error else error)
        for first, second, value, error in (arrays["pairs"].tolist() if "pairs" in arrays else ())
    )
    return replace(record, values=values, standard_errors=numbers("standard_errors"), pairs=pairs)
