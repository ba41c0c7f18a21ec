"""A causal language model's answer, on the token ids as they are: ids in, log-probabilities out.

The prompt is tokenised once; what is said of it is how likely each token of one fixed answer is
after what is left of the prompt. The answer's ids are put behind the prompt's as ids, never as a
text that is tokenised again, so neither a beginning-of-sequence token nor a chat template can shift
them.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.backends.checkpoint import Checkpoint, find, move, pick_device, quiet, said
from harness.classifiers.networks import evaluating, fingerprint
from harness.explainers.models.embeddings import embedded
from harness.explainers.models.model import Scale
from harness.explainers.models.networks import differentiating
from harness.explainers.models.prompts import decoded, encoded, read_prompt, sentences_of, shown
from harness.explainers.models.reading import Removal, Size, TextPart
from harness.explainers.models.text import Tokens, blank, lengths, remaining, replacement
from harness.explainers.targets import Target, Targets
from harness.identity import digest, sha256
from harness.records import HarnessError, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Answers = Mapping[str, str | Sequence[int]] | Sequence[str | Sequence[int]]

_DTYPES = ("float64", "float32", "bfloat16", "float16")
# Scores (rows x answer x vocabulary) that are held at once: half a gigabyte in 32 bits.
_SCORES = 2**27


@dataclass(frozen=True, eq=False)
class Continuation:
    """What is left of a prompt, and the answer behind it: token ids of both."""

    prompt: NDArray[np.int64]
    answer: NDArray[np.int64]

    @property
    def read(self) -> Tokens:
        """What the model reads: nothing is said after the answer's last token."""
        import numpy as np

        return Tokens(np.concatenate([self.prompt, self.answer[:-1]]), {})


@dataclass(frozen=True, eq=False)
class AnswerReading:
    """A prompt as token ids, and the answer to it. `replacement` takes a removed token's place;
    `None` shortens the prompt. `never` is what is read where nothing is left of it."""

    sample: str
    input: str
    parts: tuple[TextPart]
    fixed: NDArray[np.bool_]
    notes: tuple[str, ...]
    ids: NDArray[np.int64]
    answer: NDArray[np.int64]
    replacement: int | None
    never: int

    def sizes(self, kept: NDArray[np.bool_]) -> list[Size]:
        """What is left of prompts of one length, with answers of one length, shares a batch."""
        answer = len(self.answer)
        totals = [length + answer for length in lengths(kept, self.replacement)]
        return [Size((total, answer), total) for total in totals]

    def left(self, kept: NDArray[np.bool_]) -> Continuation:
        """What is left of the prompt, and the whole answer."""
        prompt = remaining(self.ids, kept, self.replacement, self.never)
        return Continuation(prompt, self.answer)


class LanguageModel:
    """A causal language model of transformers, whose answers to prompts are explained.

    - `model`: a folder, `builtin:NAME` or a name on the hub; or a torch module with its `tokenizer`
    - `answers`: texts or sequences of token ids, by sample id; or a list of these, whose i-th is
      that of sample `i`, which is the id of the i-th of samples given as plain texts. Texts are
      tokenised as they are and without special tokens (most tokenizers need a space in front); ids
      are taken as they are. Without answers, that which the model gives by its likeliest token each
      time is explained, with the token that ends it
    - `max_new_tokens`: most tokens of such an answer
    - `chat`: the sample's text is a user's message, put through the tokenizer's chat template
    - `device`, `dtype`: of a folder's weights; float32 on a CPU, else the checkpoint's own
    - `batch_tokens`: most tokens in a batch, answers counted

    Outputs are the natural logarithms of the probabilities of the answer's tokens, each given the
    prompt and the tokens before it, one column a token. Features are the prompt's tokens; special
    tokens and a chat template's own text are never removed, nor is the answer. `revision` is the
    SHA-256 of the checkpoint's files, or of a module's structure and weights.

    Raises `HarnessError` for a model or tokenizer that cannot be read, a chat template that there
    is not, an answer without tokens or with ids that the model does not know, and for a field that
    cannot be right.
    """

    scale: Scale = "value"

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        answers: Answers | None = None,
        max_new_tokens: int = 100,
        chat: bool = False,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int = 16_384,
    ) -> None:
        where = f"language model '{model if isinstance(model, str | Path) else _kind(model)}'"
        fields.whole(where, 1, max_new_tokens=max_new_tokens, batch_tokens=batch_tokens)
        fields.switches(where, chat=chat)
        if isinstance(model, str | Path):
            if tokenizer is not None:
                raise HarnessError(f"{where} has its own tokenizer; leave tokenizer out")
            checkpoint = find(str(model))
            self.tokenizer = _tokenizer(checkpoint, where)
            self.module = _network(checkpoint, device or "cpu", dtype, where)
            self.revision = checkpoint.revision
            self._ends = checkpoint.defaults(self.tokenizer).ends
        else:
            if tokenizer is None or device is not None or dtype is not None:
                raise HarnessError(
                    f"{where} is a module: give its tokenizer, and neither device nor dtype"
                )
            self.module, self.tokenizer = model, tokenizer
            self.revision = sha256(fingerprint(model))
            self._ends = _ends(model, tokenizer)
        self.name = f"language model '{_kind(self.module)}'"
        self.tokens, self._most, self._chat = batch_tokens, max_new_tokens, chat
        if not self.tokenizer.is_fast:
            raise HarnessError(
                f"the tokenizer of {self.name} does not say where in the text its tokens stand; "
                "save a fast one (tokenizer.json) beside the weights"
            )
        if chat and not self.tokenizer.chat_template:
            raise HarnessError(f"{self.name} has no chat template; leave chat out")
        self._vocabulary = int(self.module.get_input_embeddings().weight.shape[0])
        self._accepts = set(inspect.signature(self.module.forward).parameters)
        self._given = None if answers is None else self._taken(answers)
        self._generated: dict[bytes, NDArray[np.int64]] = {}

    def read(self, sample: Sample, removal: Removal) -> AnswerReading:
        """The prompt's token ids and the answer's.

        Raises `HarnessError` for what is not text alone, for an empty text, for a sample without
        an answer where answers are given, for a removal that the tokenizer has no token for, and
        where prompt and answer are longer than the model.
        """
        if sample.media or not sample.input:
            raise HarnessError(f"{self.name} reads texts, and sample '{sample.id}' is none")
        where = f"{self.name}: the text of sample '{sample.id}'"
        prompt = read_prompt(self.tokenizer, sample.text, self._chat, where)
        answer = self._answer(sample.id, prompt.ids)
        answered = shown(decoded(self.tokenizer, answer.tolist()))
        return AnswerReading(
            sample.id,
            digest([sample.input, prompt.ids.tolist(), answer.tolist()]),
            (TextPart(sample.text, prompt.spans, tokens=True),),
            prompt.fixed,
            (*prompt.notes, f"the answer explained: {answered}"),
            prompt.ids,
            answer,
            replacement(self.tokenizer, removal, self.name),
            blank(self.tokenizer),
        )

    def columns(self, reading: AnswerReading) -> Sequence[str]:
        """The answer's tokens, each behind its place: `2: cat`."""
        return [
            f"{place}: {shown(decoded(self.tokenizer, [token]))}"
            for place, token in enumerate(reading.answer.tolist())
        ]

    def targets(self, reading: AnswerReading, target: Target) -> Targets:
        """What is explained of an answer: sums of the log-probabilities of its tokens.

        - `answer` (the default): all of it; `tokens` or `all`: each token
        - `sentences`: each sentence; white space and end tokens belong to the one before them
        - one token, by place or by the name of its column

        Raises `HarnessError` for anything else, and for a place behind the answer's end.
        """
        import numpy as np

        columns = list(self.columns(reading))
        if target is None or target == "answer":
            return Targets(("answer",), np.ones((len(columns), 1)))
        if target in ("tokens", "all"):
            return Targets(tuple(columns), np.eye(len(columns)))
        if target == "sentences":
            names, owner = sentences_of(self.tokenizer, reading.answer.tolist())
            return Targets(names, np.eye(len(names))[owner])
        place = columns.index(target) if target in columns else target
        if not isinstance(place, int) or isinstance(place, bool):
            raise HarnessError(
                f"sample '{reading.sample}': there is no target {target!r}; targets of an answer "
                "are answer, tokens, sentences, or the place of a token"
            )
        if not 0 <= place < len(columns):
            raise HarnessError(
                f"sample '{reading.sample}': target {place}, but the answer's tokens are 0 to "
                f"{len(columns) - 1}"
            )
        return Targets((columns[place],), np.eye(len(columns))[:, [place]])

    def outputs(self, left: Sequence[Continuation]) -> NDArray[np.float64]:
        """Log-probabilities of the answers' tokens, rows x tokens."""
        import torch

        size = max(1, _SCORES // (len(left[0].answer) * self._vocabulary))
        with evaluating(self.module):
            rows = [
                self._log_probabilities(left[start : start + size]).double().cpu()
                for start in range(0, len(left), size)
            ]
        found: NDArray[np.float64] = torch.cat(rows).numpy()
        return found

    # --- gradients ------------------------------------------------------------------------

    def point(self, reading: AnswerReading, kept: NDArray[np.bool_] | None = None) -> Tensor:
        """The embeddings of the prompt's tokens, tokens x width."""
        import torch

        ids = reading.ids if kept is None else reading.left(kept).prompt
        with torch.no_grad():
            return self._embeddings(ids).detach()

    def forward(self, readings: Sequence[AnswerReading], points: Tensor) -> Tensor:
        """Log-probabilities with the embeddings of the prompts replaced, points x tokens; the ids
        and the answers' embeddings stay what they are."""
        import numpy as np
        import torch

        behind = self._embeddings(np.stack([reading.answer[:-1] for reading in readings]))
        several = [Continuation(reading.ids, reading.answer) for reading in readings]
        with embedded(self.module, torch.cat([points, behind.to(points)], dim=1)):
            return self._log_probabilities(several)

    def shape(self, reading: AnswerReading) -> tuple[tuple[int, int], int]:
        """Readings of one shape share a batch of gradients; and what one of them costs: its tokens,
        or more where its scores would exceed what may be held at once."""
        answer = len(reading.answer)
        scores = -(-answer * self._vocabulary * self.tokens // _SCORES)
        return (len(reading.ids), answer), max(len(reading.ids) + answer, scores)

    def evaluating(self) -> AbstractContextManager[None]:
        """Evaluation mode, with gradients of inputs alone."""
        return differentiating(self.module)

    # --- the network ----------------------------------------------------------------------

    def scores(self, reading: AnswerReading) -> Tensor:
        """Logits of the whole vocabulary for each token of the answer, tokens x vocabulary; mode
        and gradients are the caller's."""
        given = Tokens.given([Continuation(reading.ids, reading.answer).read])
        device = self._device()
        return self._scores({k: v.to(device) for k, v in given.items()}, len(reading.answer))[0]

    def _log_probabilities(self, several: Sequence[Continuation]) -> Tensor:
        """Rows x tokens of the answers, all prompts of one length and all answers of one. Scores
        are made for the places before the answer's tokens alone, where the network can do that."""
        import numpy as np
        import torch

        device = self._device()
        answers = torch.as_tensor(np.stack([one.answer for one in several]))
        given = Tokens.given([one.read for one in several])
        scores = self._scores({k: v.to(device) for k, v in given.items()}, answers.shape[1])
        answers = answers.to(scores.device)  # of a network on several devices that of its head
        chosen: Tensor = scores.gather(2, answers[..., None])[..., 0]
        return chosen - scores.logsumexp(dim=-1)

    def _scores(self, given: Mapping[str, Tensor], last: int) -> Tensor:
        """Logits at the last places, float32 or better: rows x places x vocabulary."""
        import torch

        options = {"use_cache": False, "logits_to_keep": last}
        taken = {name: value for name, value in options.items() if name in self._accepts}
        logits: Tensor = self.module(**given, **taken).logits[:, -last:]
        return logits if logits.dtype == torch.float64 else logits.float()

    def _embeddings(self, ids: NDArray[np.int64]) -> Tensor:
        import torch

        table = self.module.get_input_embeddings()
        found: Tensor = table(torch.as_tensor(ids, device=self._device()))
        return found

    def _device(self) -> Any:
        return self.module.get_input_embeddings().weight.device

    # --- prompts and answers --------------------------------------------------------------

    def _taken(self, answers: Any) -> dict[str, NDArray[np.int64]]:
        """The given answers' ids by sample id."""
        if isinstance(answers, str) or not isinstance(answers, Mapping | Sequence):
            raise HarnessError(
                f"{self.name}: answers are a mapping by sample id or a list in the order of the "
                f"samples, not {answers!r:.40}"
            )
        named = answers if isinstance(answers, Mapping) else dict(enumerate(answers))
        return {str(sample): self._ids(answer, str(sample)) for sample, answer in named.items()}

    def _ids(self, answer: Any, sample: str) -> NDArray[np.int64]:
        import numpy as np

        where = f"{self.name}: the answer of sample '{sample}'"
        if isinstance(answer, str):
            ids = encoded(self.tokenizer, answer, False, where)["input_ids"]
        else:
            try:
                ids = [operator.index(token) for token in answer]
            except TypeError as error:
                raise HarnessError(f"{where} is neither a text nor token ids") from error
        if not len(ids):
            raise HarnessError(f"{where} is empty; there is nothing to explain")
        if strange := [token for token in ids if not 0 <= token < self._vocabulary]:
            raise HarnessError(
                f"{where} has the token id {strange[0]}; ids are 0 to {self._vocabulary - 1}"
            )
        return np.array(ids, dtype=np.int64)

    def _answer(self, sample: str, prompt: NDArray[np.int64]) -> NDArray[np.int64]:
        """The answer to a prompt, given or generated."""
        if self._given is None:
            self._check_length(sample, len(prompt), self._most, "up to ", "lower max_new_tokens")
            key = prompt.tobytes()
            if key not in self._generated:
                self._generated[key] = self._greedy(prompt)
            return self._generated[key]
        if sample not in self._given:
            known = ", ".join(f"'{name}'" for name in list(self._given)[:5])
            raise HarnessError(
                f"{self.name}: there is no answer for sample '{sample}' (there are for {known}); "
                "give answers as a mapping by sample id"
            )
        answer = self._given[sample]
        self._check_length(sample, len(prompt), len(answer), "", "shorten the answer")
        return answer

    def _check_length(self, sample: str, prompt: int, answer: int, about: str, hint: str) -> None:
        config = getattr(self.module, "config", None)
        limit = config and getattr(config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and prompt + answer > limit:
            raise HarnessError(
                f"{self.name}: the prompt of sample '{sample}' has {prompt} tokens and its answer "
                f"{about}{answer}, but the model has {limit} positions; {hint} or the prompt"
            )

    def _greedy(self, prompt: NDArray[np.int64]) -> NDArray[np.int64]:
        """The likeliest token each time, up to one that ends the answer, which is part of it."""
        import numpy as np
        import torch

        ids = torch.as_tensor(prompt, device=self._device())[None]
        # What a network keeps of the tokens it has read is called differently between versions.
        cache = next((name for name in ("cache", "past_key_values") if name in self._accepts), "")
        found: list[int] = []
        past: Any = None
        with evaluating(self.module):
            while len(found) < self._most and not (found and found[-1] in self._ends):
                given, kept = (ids, {}) if past is None else (ids[:, -1:], {cache: past})
                output = self.module(input_ids=given, **kept)
                past = getattr(output, cache, None) if cache else None
                likeliest = output.logits[:, -1:].argmax(dim=-1)
                found.append(int(likeliest))
                ids = torch.cat([ids, likeliest.to(ids.device)], dim=1)
        return np.array(found, dtype=np.int64)


def _tokenizer(checkpoint: Checkpoint, where: str) -> Any:
    from transformers import AutoTokenizer

    auto: Any = AutoTokenizer
    try:
        with quiet():
            return auto.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # a missing file, a missing package, a format unknown to it
        raise HarnessError(f"the tokenizer of {where} cannot be loaded: {said(error)}") from error


def _network(checkpoint: Checkpoint, device: str, dtype: str | None, where: str) -> Any:
    if dtype is not None:
        fields.one_of(where, _DTYPES, dtype=dtype)
    picked = pick_device(where, device)
    own = str(getattr(checkpoint.config, "dtype", None)).removeprefix("torch.")
    chosen = "float32" if picked.type == "cpu" or own not in _DTYPES else own
    return move(checkpoint.load_network(dtype or chosen), picked, where)


def _ends(module: Any, tokenizer: Any) -> tuple[int, ...]:
    """Token ids after which a module stops of itself."""
    own = getattr(getattr(module, "generation_config", None), "eos_token_id", None)
    found = tokenizer.eos_token_id if own is None else own
    return tuple(found) if isinstance(found, list) else () if found is None else (found,)


def _kind(module: Any) -> str:
    return type(module).__name__
