"""Where in a sample a row of activations is taken: tokens, words, sentences, patches, or all of it.

A module says numbers for each of its positions (tokens, cells of a grid). A unit owns some of them
and its row is their mean. Where a row is changed, its positions are shifted by what the mean is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.explainers.attributions.layers import patches
from harness.explainers.division import divide
from harness.explainers.models.reading import ArrayPart, Reading, TextPart
from harness.explainers.units.features import Feature, Token
from harness.explainers.units.text import Paragraph, Sentence, Word
from harness.records import HarnessError, Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

PLACES = ("token", "word", "sentence", "paragraph", "cls", "patch", "pooled")
_KINDS: Mapping[str, Sequence[Callable[[], Any]]] = {
    "token": (Token, Feature),
    "word": (Word,),
    "sentence": (Sentence,),
    "paragraph": (Paragraph,),
}


@dataclass(frozen=True, eq=False)
class Places:
    """The units of one sample, and for each position of the module the place of its unit among
    them; -1 where it belongs to none."""

    units: tuple[Unit, ...]
    owner: NDArray[np.int64]

    def rows(self, flat: Tensor) -> Tensor:
        """Means of the positions (positions x width) of each unit: units x width, in 32 bits or
        more."""
        import torch

        flat = flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat
        owner = torch.as_tensor(self.owner, device=flat.device)
        mine = owner >= 0
        sums = torch.zeros(len(self.units), flat.shape[1], dtype=flat.dtype, device=flat.device)
        sums = sums.index_add(0, owner[mine], flat[mine])
        return sums / self._counts(flat)

    def spread(self, shifts: Tensor) -> Tensor:
        """What each position is shifted by (positions x width) when units are (units x width)."""
        import torch

        nothing = torch.zeros(1, shifts.shape[1], dtype=shifts.dtype, device=shifts.device)
        return torch.cat([shifts, nothing])[torch.as_tensor(self.owner, device=shifts.device)]

    def sums(self, flat: Tensor) -> Tensor:
        """Sums over the positions of each unit: what `spread` is the transpose of."""
        rows = self.rows(flat)
        return rows * self._counts(rows)

    def _counts(self, flat: Tensor) -> Tensor:
        import numpy as np
        import torch

        counts = np.bincount(self.owner[self.owner >= 0], minlength=len(self.units))
        return torch.as_tensor(counts, dtype=flat.dtype, device=flat.device)[:, None]


def flattened(said: Tensor) -> Tensor:
    """What a module says of several samples as samples x positions x width."""
    if said.ndim == 2:
        return said[:, None]
    return said if said.ndim == 3 else said.flatten(2).transpose(1, 2)


def shaped(flat: Tensor, like: Tensor) -> Tensor:
    """The way back from `flattened`, to the shape of `like`."""
    return flat.reshape(like.shape) if like.ndim < 4 else flat.transpose(1, 2).reshape(like.shape)


def places_of(
    reading: Reading, shape: Sequence[int], at: str, where: str, answer: Sequence[str] = ()
) -> Places:
    """The units of a sample on a module that says `shape` numbers of it.

    `shape` is (width,), (tokens, width) or (channels, height, width); `answer` are the tokens that
    a language model reads behind the sample. Raises `HarnessError`, beginning with `where`, where
    there is no such unit.
    """
    if len(shape) not in (1, 2, 3):
        raise HarnessError(
            f"{where} says {' x '.join(map(str, shape))} numbers of a sample; concepts are found "
            "in width, tokens x width, or channels x height x width"
        )
    if at == "patch":
        return _patches(reading, shape, where)
    if at in ("cls", "pooled"):
        return _whole(reading, shape, at, where)
    return _divided(reading, shape, at, where, answer)


def _divided(
    reading: Reading, shape: Sequence[int], at: str, where: str, answer: Sequence[str]
) -> Places:
    """Tokens and what is made of them; an answer's tokens are units of a further part."""
    import numpy as np

    features = len(reading.fixed)
    if len(shape) != 2 or shape[0] != features + len(answer):
        raise HarnessError(
            f"{where} says {' x '.join(map(str, shape))} numbers of sample '{reading.sample}', not "
            f"one row for each of its {features + len(answer)} tokens; take it pooled"
        )
    division = divide(reading, [kind() for kind in _KINDS[at]], at)
    units = [division.units[place] for place in division.players]
    own = np.full(len(answer), -1, dtype=np.int64)
    if at == "token":
        own = len(units) + np.arange(len(answer))
        units += [Unit(token, part=len(reading.parts)) for token in answer]
    return Places(tuple(units), np.concatenate([division.unit_of, own]))


def _patches(reading: Reading, shape: Sequence[int], where: str) -> Places:
    import numpy as np

    high, wide = _picture(reading, where)
    before = 0
    if len(shape) == 3:
        rows, columns = shape[1:]
    else:
        found = patches(shape[0], high, wide) if len(shape) == 2 else None
        if found is None:
            raise HarnessError(
                f"{where} says {' x '.join(map(str, shape))} numbers, which are no grid on the "
                "image; take it pooled, or name another layer"
            )
        rows, columns, before = found
    tops = [row * high // rows for row in range(rows + 1)]
    lefts = [column * wide // columns for column in range(columns + 1)]
    units = tuple(
        Unit(box=(tops[i], lefts[j], tops[i + 1] - tops[i], lefts[j + 1] - lefts[j]))
        for i in range(rows)
        for j in range(columns)
    )
    return Places(units, np.concatenate([np.full(before, -1), np.arange(len(units))]))


def _whole(reading: Reading, shape: Sequence[int], at: str, where: str) -> Places:
    """One unit a sample: the classification token, or all that is no special token."""
    import numpy as np

    positions = 1 if len(shape) == 1 else shape[0] if len(shape) == 2 else shape[1] * shape[2]
    unit = _everything(reading.parts)
    fixed = np.asarray(reading.fixed, dtype=bool)
    text = any(isinstance(part, TextPart) for part in reading.parts)
    before = False
    if len(shape) == 2 and text:
        before = bool(fixed[:1].any())
    elif len(shape) == 2 and _is_picture(reading):
        found = patches(shape[0], *reading.parts[0].array.shape[:2])  # type: ignore[union-attr]
        before = found is not None and found[2] == 1
    owner = np.full(positions, -1, dtype=np.int64)
    if at == "cls":
        if not before:
            raise HarnessError(
                f"{where} has no classification token in front of sample '{reading.sample}'; take "
                "it pooled"
            )
        owner[0] = 0
    elif len(shape) == 2 and text and positions >= len(fixed):
        owner[: len(fixed)] = np.where(fixed, -1, 0)
    else:
        owner[int(before) :] = 0
    return Places((unit,), owner)


def _everything(parts: Sequence[TextPart | ArrayPart]) -> Unit:
    """A unit around all of a single part; around nothing in particular where there are several."""
    if len(parts) != 1:
        return Unit()
    part = parts[0]
    if isinstance(part, TextPart):
        return Unit(part.text, 0, len(part.text))
    sides = part.array.shape[:-1]
    if len(sides) < 2:
        return Unit(start=0, end=int(sides[0]) if sides else 0)
    return Unit(box=(0, 0, int(sides[-2]), int(sides[-1])))


def _is_picture(reading: Reading) -> bool:
    parts = reading.parts
    return len(parts) == 1 and isinstance(parts[0], ArrayPart) and parts[0].array.ndim == 3


def _picture(reading: Reading, where: str) -> tuple[int, int]:
    if not _is_picture(reading):
        raise HarnessError(f"{where}: sample '{reading.sample}' is no single image, so no patches")
    high, wide = reading.parts[0].array.shape[:2]  # type: ignore[union-attr]
    return int(high), int(wide)
