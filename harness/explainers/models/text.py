"""Text classifiers of transformers, on the token ids as they are: ids in, logits out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.backends.checkpoint import said
from harness.classifiers.inputs import text_of
from harness.classifiers.networks import evaluating
from harness.explainers.models.embeddings import embedded
from harness.explainers.models.model import Scale
from harness.explainers.models.networks import differentiating
from harness.explainers.models.reading import Removal, Size, TextPart
from harness.identity import digest
from harness.records import HarnessError, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from harness.classifiers.huggingface import HuggingFace
    from harness.classifiers.huggingface.preprocessing import Texts


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token ids, and by name what else stands for each of them (kinds of tokens)."""

    ids: NDArray[np.int64]
    others: Mapping[str, NDArray[np.int64]]

    @classmethod
    def given(cls, several: Sequence[Tokens]) -> dict[str, Tensor]:
        """What a network is given of several of one length; nothing of it is padding."""
        import torch

        given = {"input_ids": _stacked([tokens.ids for tokens in several])}
        for name in several[0].others:
            given[name] = _stacked([tokens.others[name] for tokens in several])
        given["attention_mask"] = torch.ones_like(given["input_ids"])
        return given


@dataclass(frozen=True, eq=False)
class TokenReading:
    """A text as token ids. `replacement` takes a removed token's place; `None` shortens the text.

    `never` is what is read where nothing is left.
    """

    sample: str
    input: str
    parts: tuple[TextPart]
    fixed: NDArray[np.bool_]
    notes: tuple[str, ...]
    ids: NDArray[np.int64]
    others: Mapping[str, NDArray[np.int64]]  # one number a token: kinds of tokens
    replacement: int | None
    never: int

    def sizes(self, kept: NDArray[np.bool_]) -> list[Size]:
        """Texts of one length share a batch."""
        return [Size(n, n) for n in lengths(kept, self.replacement)]

    def left(self, kept: NDArray[np.bool_]) -> Tokens:
        """Token ids, and what else stands for each of them."""
        import numpy as np

        ids = remaining(self.ids, kept, self.replacement, self.never)
        if len(ids) == len(self.ids):
            return Tokens(ids, self.others)
        # What stands for nothing, one token, is of the kind of the first.
        place = kept if kept.any() else np.arange(1)
        return Tokens(ids, {name: row[place] for name, row in self.others.items()})


class TokenModel:
    """A sequence classifier of transformers."""

    def __init__(self, classifier: HuggingFace, reader: Texts) -> None:
        self._classifier, self._reader = classifier, reader
        self.name = f"classifier '{type(classifier.module).__name__}'"
        self.module = classifier.module
        independent = classifier.multi_label or classifier.single
        self.scale: Scale = "sigmoid" if independent else "softmax"
        self.revision = classifier.revision
        self.tokens = classifier.batch_tokens

    def read(self, sample: Sample, removal: Removal) -> TokenReading:
        """The token ids of a text. Raises `HarnessError` for what is not text alone, for an empty
        text, and for a removal that the tokenizer has no token for."""
        import numpy as np

        text = text_of(sample, self.name)
        encoded, notes = encode(self._reader, sample.id, text, self.name)
        tokenizer = self._reader.tokenizer
        ids = np.array(encoded.pop("input_ids"), dtype=np.int64)
        fixed = np.array(encoded.pop("special_tokens_mask"), dtype=bool)
        offsets = encoded.pop("offset_mapping")
        spans = tuple(
            (-1, -1) if special else (int(start), int(end))
            for (start, end), special in zip(offsets, fixed, strict=True)
        )
        encoded.pop("attention_mask", None)
        others = {name: np.array(row, dtype=np.int64) for name, row in encoded.items()}
        return TokenReading(
            sample.id,
            digest(sample.input),
            (TextPart(text, spans, tokens=True),),
            fixed,
            notes,
            ids,
            others,
            replacement(tokenizer, removal, self.name),
            blank(tokenizer),
        )

    def columns(self, reading: TokenReading) -> Sequence[str]:  # noqa: ARG002  the same for all
        """The classes."""
        return self._classifier.classes

    def outputs(self, left: Sequence[Tokens]) -> NDArray[np.float64]:
        """Logits, rows x classes."""
        with evaluating(self.module):
            logits = self._classifier.logits(Tokens.given(left))
        found: NDArray[np.float64] = self._both(logits).double().cpu().numpy()
        return found

    def _both(self, logits: Tensor) -> Tensor:
        """One column a class; a single output is the log-odds of the second of two."""
        import torch

        return torch.cat([-logits, logits], dim=1) if self._classifier.single else logits

    # --- gradients ------------------------------------------------------------------------

    def point(self, reading: TokenReading, kept: NDArray[np.bool_] | None = None) -> Tensor:
        """The embeddings of the tokens, tokens x width."""
        import torch

        ids = reading.ids if kept is None else reading.left(kept).ids
        with torch.no_grad():
            table = self.module.get_input_embeddings()
            found: Tensor = table(torch.as_tensor(ids, device=self._classifier.device)).detach()
        return found

    def forward(self, readings: Sequence[TokenReading], points: Tensor) -> Tensor:
        """Logits with the embeddings' output replaced, while the ids stay what they are: models
        that look for the last token that is no padding find it."""
        given = Tokens.given([Tokens(reading.ids, reading.others) for reading in readings])
        with embedded(self.module, points):
            return self._both(self._classifier.logits(given))

    def shape(self, reading: TokenReading) -> tuple[int, int]:
        """Readings of one shape share a batch of gradients; and what one of them costs."""
        return len(reading.ids), len(reading.ids)

    def evaluating(self) -> AbstractContextManager[None]:
        """Evaluation mode, with gradients of inputs alone."""
        return differentiating(self.module)


def encode(
    reader: Any, sample: str, text: str, name: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The tokenizer's output with offsets and special tokens, cut to the model's positions.

    Raises `HarnessError` for an empty text and for a tokenizer that cannot say where its tokens
    stand.
    """
    tokenizer, limit = reader.tokenizer, reader.limit
    if not tokenizer.is_fast:
        raise HarnessError(
            f"the tokenizer of {name} does not say where in the text its tokens stand; save a fast "
            "one (tokenizer.json) beside the weights"
        )
    wanted = {"return_offsets_mapping": True, "return_special_tokens_mask": True, "verbose": False}
    try:
        encoded = tokenizer(text, **wanted)
        length = len(encoded["input_ids"])
        notes: tuple[str, ...] = ()
        if limit is not None and length > limit:
            encoded = tokenizer(text, truncation=True, max_length=limit, **wanted)
            notes = (f"{name} reads {limit} of the {length} tokens; the rest is not seen",)
    except Exception as error:  # tokenizers raise on text that is no Unicode, among others
        raise HarnessError(
            f"{name}: the text of sample '{sample}' cannot be tokenised: {said(error)}"
        ) from error
    if all(encoded["special_tokens_mask"]):
        raise HarnessError(f"{name}: the text of sample '{sample}' is empty; leave it out")
    return dict(encoded), notes


def remaining(
    ids: NDArray[np.int64], kept: NDArray[np.bool_], stand_in: int | None, never: int
) -> NDArray[np.int64]:
    """The ids with `stand_in` for those removed, or without them; `never` where none is left."""
    import numpy as np

    if stand_in is not None:
        return np.where(kept, ids, stand_in)
    return ids[kept] if kept.any() else np.array([never])


def lengths(kept: NDArray[np.bool_], stand_in: int | None) -> list[int]:
    """How many ids `remaining` leaves of each of these sets (sets x tokens)."""
    if stand_in is not None:
        return [kept.shape[1]] * len(kept)
    found: list[int] = kept.sum(axis=1).clip(min=1).tolist()
    return found


def replacement(tokenizer: Any, removal: Removal, name: str) -> int | None:
    """The id that takes a removed token's place; `None` where it is deleted.

    Without a mask or unknown token that is one which says nothing of its own: the end of a text,
    its beginning, a space, padding. Raises `HarnessError` where the tokenizer has none of these.
    """
    if removal.kind == "delete":
        return None
    if removal.kind == "mask":
        names = ("mask_token_id", "unk_token_id", "eos_token_id", "bos_token_id")
        known = [getattr(tokenizer, name, None) for name in names]
        space = tokenizer(" ", add_special_tokens=False)["input_ids"]
        known += [space[0] if len(space) == 1 else None, getattr(tokenizer, "pad_token_id", None)]
        found = next((one for one in known if one is not None), None)
        if found is None:
            raise HarnessError(
                f"{name} has no token that could stand for a removed one; use removal delete, or "
                "name a token as baseline"
            )
        return int(found)
    wanted = removal.baseline
    if isinstance(wanted, str):
        ids = tokenizer(wanted, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise HarnessError(
                f"baseline '{wanted}' is {len(ids)} tokens of {name}; name a single one, or its id"
            )
        return int(ids[0])
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 0 <= wanted < len(tokenizer):
        raise HarnessError(f"baseline of {name} is a token or its id, not {wanted!r:.40}")
    return wanted


def blank(tokenizer: Any) -> int:
    """What is read where nothing is left: a model needs a token to say something of nothing."""
    names = ("mask_token_id", "unk_token_id", "eos_token_id", "bos_token_id", "pad_token_id")
    known = (getattr(tokenizer, name, None) for name in names)
    return int(next((found for found in known if found is not None), 0))


def _stacked(rows: Sequence[NDArray[np.int64]]) -> Tensor:
    import numpy as np
    import torch

    return torch.from_numpy(np.stack(rows))
