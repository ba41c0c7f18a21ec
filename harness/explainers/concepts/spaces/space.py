"""What a space of concepts is: rows of activations in, concepts out, and back; and its two files.

Every space goes back linearly, rows = concepts @ directions + offset, so a concept is a direction
whatever found it. The way in differs: a projection, the nearest centre, a sparse code.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from harness.identity import digest, sha256
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float64]

_FAMILIES = {
    "linear": "harness.explainers.concepts.spaces.linear:LinearSpace",
    "clusters": "harness.explainers.concepts.spaces.clusters:Clusters",
    "factors": "harness.explainers.concepts.spaces.factors:Factors",
    "sparse": "harness.explainers.concepts.spaces.sparse:SparseSpace",
}
_ROWS = 8192  # encoded at once
_VERSION = 1


@runtime_checkable
class Space(Protocol):
    """Concepts of a layer. `directions` are concepts x width, `offset` is width long, `names` has a
    name a concept, `kind` is how it was fitted and `settings` with what."""

    kind: str
    names: tuple[str, ...]
    settings: Mapping[str, Any]

    @property
    def directions(self) -> Array: ...

    @property
    def offset(self) -> Array: ...

    def encode(self, rows: NDArray[Any]) -> Array:
        """Concepts of rows (rows x width): rows x concepts."""
        ...

    def decode(self, concepts: Array) -> Array:
        """Rows of concepts: concepts @ directions + offset."""
        ...

    def coefficients(self, rows: Tensor) -> Tensor:
        """The same as `encode`, in torch, with gradients where they exist."""
        ...

    def strengths(self, rows: Tensor) -> Tensor:
        """How strongly each concept is in each row, rows x concepts: for ranking, and with
        gradients. The coefficients, except where these only say which concept is nearest."""
        ...


class Fitted:
    """What all spaces share. `arrays` are what was fitted, each in 64 bits; among them `directions`
    and `offset`. `notes` are sentences that a reader should know."""

    family: ClassVar[str]

    def __init__(
        self,
        kind: str,
        arrays: Mapping[str, NDArray[Any]],
        settings: Mapping[str, Any],
        names: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        import numpy as np

        self.kind, self.settings, self.notes = kind, dict(settings), tuple(notes)
        self.arrays = {k: np.ascontiguousarray(v, dtype=np.float64) for k, v in arrays.items()}
        count = len(self.arrays["directions"])
        self.names = tuple(names) or tuple(f"{kind} {place}" for place in range(count))
        if len(self.names) != count:
            raise HarnessError(f"{kind}: {len(self.names)} names for {count} concepts")

    @property
    def directions(self) -> Array:
        """What one unit of each concept adds to a row: concepts x width."""
        return self.arrays["directions"]

    @property
    def offset(self) -> Array:
        """The row in which no concept is: width."""
        return self.arrays["offset"]

    def encode(self, rows: NDArray[Any]) -> Array:
        """Concepts of rows (rows x width): rows x concepts. Raises `HarnessError` for another
        width."""
        return self._chunked(self.coefficients, rows)

    def strength(self, rows: NDArray[Any]) -> Array:
        """`strengths` of an array."""
        return self._chunked(self.strengths, rows)

    def decode(self, concepts: Array) -> Array:
        """Rows of concepts: rows x width."""
        return concepts @ self.directions + self.offset

    def coefficients(self, rows: Tensor) -> Tensor:
        """As `encode`, in torch."""
        raise NotImplementedError

    def strengths(self, rows: Tensor) -> Tensor:
        """The coefficients, unless a family says otherwise."""
        return self.coefficients(rows)

    def tensor(self, name: str, like: Tensor) -> Tensor:
        """A fitted array on the device and of the type of `like`."""
        import torch

        return torch.as_tensor(self.arrays[name]).to(like.device, like.dtype)

    def _chunked(self, encoder: Any, rows: NDArray[Any]) -> Array:
        import numpy as np
        import torch

        width = self.directions.shape[1]
        if rows.ndim != 2 or rows.shape[1] != width:
            raise HarnessError(f"{self.kind}: rows are {width} wide, not {rows.shape[1:]}")
        found = [np.zeros((0, len(self.directions)))]
        with torch.no_grad():
            for start in range(0, len(rows), _ROWS):
                part = np.ascontiguousarray(rows[start : start + _ROWS], dtype=np.float64)
                found.append(encoder(torch.from_numpy(part)).numpy())
        return np.concatenate(found)

    @property
    def key(self) -> str:
        """A hash of what was fitted, how, and with what: 64 hexadecimal digits."""
        hashed = {name: sha256(array.tobytes()) for name, array in self.arrays.items()}
        return digest([self.kind, self.settings, self.names, hashed])

    def save(self, path: str | Path) -> None:
        """Writes `path` (safetensors: the arrays) and beside it `path`.json (the rest)."""
        from safetensors.numpy import save_file

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(self.arrays, path)
        known = {
            "version": _VERSION,
            "family": self.family,
            "kind": self.kind,
            "settings": self.settings,
            "names": self.names,
            "notes": self.notes,
        }
        path.with_name(path.name + ".json").write_text(
            json.dumps(known, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )


def load(path: str | Path) -> Any:
    """A space that `save` wrote. Raises `HarnessError` where one of its two files is missing, or is
    none."""
    from safetensors.numpy import load_file

    path = Path(path)
    beside = path.with_name(path.name + ".json")
    for file in (path, beside):
        if not file.is_file():
            raise HarnessError(f"there is no file {file}; a space of concepts is two files")
    known = json.loads(beside.read_text(encoding="utf-8"))
    if known.get("version") != _VERSION or known.get("family") not in _FAMILIES:
        raise HarnessError(f"{beside} describes no space of concepts that this harness knows")
    module, name = _FAMILIES[known["family"]].split(":")
    family = getattr(importlib.import_module(module), name)
    return family(known["kind"], load_file(path), known["settings"], known["names"], known["notes"])
