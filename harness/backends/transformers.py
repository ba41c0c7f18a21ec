"""A local checkpoint in process: text, or image and text, through transformers.

Batches are made from the plan by length and always run whole; each row's noise comes from its own
seed. So a text hangs on its own request alone, but for float rounding, and a run that was broken
off and taken up again gives what an unbroken one does.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.backends.answers import blank, clean
from harness.backends.chat import Chat, media_of
from harness.backends.checkpoint import find, move, pick_device, said
from harness.backends.pictures_once import Kept, features_once
from harness.backends.reasoning import split_reasoning
from harness.identity import digest
from harness.records import Capabilities, Generation, Outcome, Request

if TYPE_CHECKING:
    from harness.backends.decoding import Row

_WHERE = "backend 'transformers'"
_DTYPES = ("float32", "bfloat16", "float16")
_EXTRAS = ("logprobs",)
_NO_NUMBERS = "the model's scores are no numbers; a dtype of float32 may help"


@dataclass(frozen=True)
class _Prompt:
    """A request as the model would get it, or why it cannot get it."""

    token_ids: tuple[int, ...] = ()
    refusal: Generation | None = None


class Transformers:
    """A language model run by transformers on this machine.

    - `model`: a folder, `builtin:NAME`, or a name on the hub; weights must be safetensors
    - `device`: `cpu`, `cuda`, `cuda:1`, ...; a GPU where there is one unless given
    - `dtype`: `float32`, `bfloat16` or `float16`; float32 on a CPU, else the checkpoint's own
    - `batch_tokens`: most tokens in a batch, padding and answers counted
    - `threads`: CPU threads of torch while it runs; torch's own number unless given
    - `revision`: branch, tag or commit of a hub model
    - `chat_template_kwargs`: given to the chat template, and part of the request's identity
    - `extras`: what is wanted beyond the text: `logprobs: 0` keeps the drawn tokens'

    A suite's `temperature` and the like come first, then the checkpoint's own generation settings;
    without either the likeliest token is taken. A system text is put before the first user message
    where the chat template has no system role. Raises `HarnessError` for a model that cannot be
    read, that has no chat template, and for a field that cannot be right.
    """

    def __init__(
        self,
        model: str,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int = 16_384,
        threads: int | None = None,
        revision: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        fields.whole(_WHERE, 1, batch_tokens=batch_tokens)
        if threads is not None:
            fields.whole(_WHERE, 1, threads=threads)
        if dtype is not None:
            fields.one_of(_WHERE, _DTYPES, dtype=dtype)
        fields.mappings(_WHERE, chat_template_kwargs=chat_template_kwargs)
        fields.extras(_WHERE, extras, _EXTRAS)
        self.model = model
        self._checkpoint = find(model, revision)
        self.model_id = self._checkpoint.name
        self._batch_tokens, self._threads = batch_tokens, threads
        self._template_kwargs = dict(chat_template_kwargs or {})
        self._chat = Chat(
            self._checkpoint.load_processor(),
            self._checkpoint.multimodal,
            model,
            self._template_kwargs,
        )
        self._defaults = self._checkpoint.defaults(self._chat.tokenizer)
        self._device = pick_device(_WHERE, device or _own_device())
        self._dtype = dtype or ("float32" if self._device.type == "cpu" else self._own_dtype())
        self.capabilities = Capabilities(
            seed=True,
            logprobs=True,
            images=self._checkpoint.multimodal,
            system_role=self._chat.system_role,
            concurrency=1,
        )
        # What changes an answer is part of the request, so it must change its key.
        self.extras: dict[str, Any] = {"dtype": self._dtype, **(extras or {})}
        if self._template_kwargs:
            self.extras["chat_template_kwargs"] = self._template_kwargs
        self._loaded: Any = None
        self._lock = threading.Lock()
        self._prompts: dict[str, _Prompt] = {}
        self._pictures = Kept()

    def __repr__(self) -> str:
        return f"Transformers(model={self.model_id!r}, dtype={self._dtype!r})"

    @cached_property
    def revision(self) -> str:
        """SHA-256 of weights, configuration, tokenizer and chat template."""
        return self._checkpoint.revision

    async def start(self) -> None:
        """Loads the weights. Raises `HarnessError` where they do not fit the architecture."""
        await asyncio.to_thread(self._network)

    async def stop(self) -> None:
        """Lets go of the weights; the next request loads them anew."""
        with self._lock:
            self._loaded = None
            self._prompts.clear()
            self._pictures.clear()

    async def generate(self, request: Request) -> Generation:
        """The answer; a failure is an outcome with an error, never an exception."""
        return (await asyncio.to_thread(self.generate_batch, [request]))[0]

    async def loglikelihood(self, request: Request) -> Generation:
        """Log-probabilities of a request's continuation behind its messages."""
        return await self.generate(request)

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """The requests in batches of like length, images apart from text and questions how likely
        an answer is apart from all others, in an order that follows from the requests alone."""
        measured = []
        for index, request in enumerate(requests):
            length = len(self._prompt(request).token_ids) + _room(request)
            measured.append((_kind(request), length, index))
        batches: list[list[Request]] = []
        open_kind: tuple[bool, bool] | None = None
        for kind, length, index in sorted(measured):
            full = bool(batches) and length * (len(batches[-1]) + 1) > self._batch_tokens
            if kind != open_kind or full:
                batches.append([])
                open_kind = kind
            batches[-1].append(requests[index])
        return batches

    def generate_batch(self, requests: Sequence[Request]) -> list[Generation]:
        """The answers, one a request, in the same order. Rows that the model cannot take come
        back as outcomes and do not hinder the others."""
        prompts = [self._prompt(request) for request in requests]
        answers = [prompt.refusal for prompt in prompts]
        for kind in sorted({_kind(request) for request in requests}):
            rows = [i for i, r in enumerate(requests) if answers[i] is None and _kind(r) == kind]
            if rows:
                run = self._weigh if kind[0] else self._run
                made = run([requests[i] for i in rows], [prompts[i].token_ids for i in rows])
                for i, answer in zip(rows, made, strict=True):
                    answers[i] = answer
        return [answer for answer in answers if answer is not None]

    # --- prompts --------------------------------------------------------------------------

    def _prompt(self, request: Request) -> _Prompt:
        """Token ids of a request; each distinct prompt that is to be answered is made once.

        Those of questions how likely an answer is are not kept: there are dozens for each answer.
        """
        if request.continuation is not None:
            return self._make_prompt(request)
        key = digest([request.messages, _room(request)])
        if key not in self._prompts:
            self._prompts[key] = self._make_prompt(request)
        return self._prompts[key]

    def _make_prompt(self, request: Request) -> _Prompt:
        strange = [m.mime for m in media_of(request.messages) if not m.mime.startswith("image/")]
        if strange or (media_of(request.messages) and not self.capabilities.images):
            what = strange[0] if strange else "images"
            return _refused("server", f"the model '{self.model_id}' does not take {what}")
        try:
            inputs = self._chat.encode([request.messages])
        except Exception as error:  # a template or processor may refuse in any way it likes
            return _refused("server", f"the prompt cannot be made: {said(error)}")
        token_ids = tuple(int(token) for token in inputs["input_ids"][0])
        limit, room = self._checkpoint.positions, _room(request)
        if limit is not None and len(token_ids) + room > limit:
            return _refused(
                "too_long",
                f"the prompt has {len(token_ids)} tokens and up to {room} are to follow, but the "
                f"model has {limit} positions; lower max_tokens or shorten the prompt",
            )
        return _Prompt(token_ids)

    # --- running --------------------------------------------------------------------------

    def _run(
        self, requests: Sequence[Request], prompts: Sequence[Sequence[int]]
    ) -> list[Generation]:
        """Answers of rows that the model can take, drawn together."""
        import torch

        from harness.backends.decoding import Drawing, Stopping

        model = self._network()
        rows = [self._row(request) for request in requests]
        drawing = Drawing(rows, prompts)
        with self._lock, self._limited_threads(), torch.inference_mode():
            try:
                inputs = self._chat.encode([request.messages for request in requests]).to(
                    self._device
                )
                start = inputs["input_ids"].shape[1]
                stopping = Stopping(rows, start, self._defaults.ends, self._chat.decode)
                out = model.generate(
                    **inputs,
                    do_sample=False,
                    num_beams=1,
                    max_new_tokens=max(row.max_tokens for row in rows),
                    eos_token_id=list(self._defaults.ends) or None,
                    pad_token_id=self._chat.tokenizer.pad_token_id,
                    logits_processor=[drawing],
                    stopping_criteria=[stopping],
                )
            except Exception as error:  # no memory, an id without an embedding, a fault of its own
                return [_failed(error)] * len(requests)
        drawn = out[:, start:].tolist()
        return [
            self._answer(
                request, prompts[i], drawn[i][: stopping.lengths[i]], drawing.logprobs[i], rows[i]
            )
            for i, request in enumerate(requests)
        ]

    def _weigh(
        self, requests: Sequence[Request], prompts: Sequence[Sequence[int]]
    ) -> list[Generation]:
        """How likely the continuations of some requests are, all with pictures or all without."""
        import torch

        from harness.backends.likelihood import of_pictured, of_texts

        model = self._network()
        wanted = [request.continuation or () for request in requests]
        with self._lock, self._limited_threads(), torch.inference_mode():
            try:
                if media_of(requests[0].messages):
                    with features_once(model, self._pictures):
                        logprobs = [
                            of_pictured(
                                model, self._chat.encode([one.messages]).to(self._device), answer
                            )
                            for one, answer in zip(requests, wanted, strict=True)
                        ]
                else:
                    logprobs = of_texts(model, prompts, wanted, self._device)
            except Exception as error:
                return [_failed(error)] * len(requests)
        return [
            Generation(outcome="server", error=_NO_NUMBERS)
            if any(math.isnan(number) for number in numbers)
            else Generation(
                prompt_tokens=len(prompt),
                completion_tokens=0,
                prompt_token_ids=tuple(prompt),
                token_ids=answer,
                logprobs=numbers,
            )
            for prompt, answer, numbers in zip(prompts, wanted, logprobs, strict=True)
        ]

    def _answer(
        self,
        request: Request,
        prompt: Sequence[int],
        tokens: list[int],
        logprobs: list[float],
        row: Row,
    ) -> Generation:
        from harness.backends.decoding import cut

        if any(math.isnan(logprob) for logprob in logprobs[: len(tokens)]):
            return Generation(outcome="server", error=_NO_NUMBERS)
        whole = bool(tokens) and tokens[-1] in self._defaults.ends
        text = self._chat.decode(tokens[:-1] if whole else tokens)
        before = cut(text, row.stop)
        answer, reasoning = split_reasoning(clean(text if before is None else before))
        outcome: Outcome = "ok"
        if not whole and before is None:
            outcome = "truncated"
        elif blank(answer):
            outcome = "empty"
        wanted = request.extras.get("logprobs") is not None
        return Generation(
            text=answer,
            reasoning=reasoning,
            outcome=outcome,
            finish_reason="length" if outcome == "truncated" else "stop",
            prompt_tokens=len(prompt),
            completion_tokens=len(tokens),
            prompt_token_ids=tuple(prompt),
            token_ids=tuple(tokens),
            logprobs=tuple(logprobs[: len(tokens)]) if wanted else None,
        )

    def _row(self, request: Request) -> Row:
        from harness.backends.decoding import Row

        sampling, own = request.sampling, self._defaults
        return Row(
            temperature=own.temperature if sampling.temperature is None else sampling.temperature,
            top_p=own.top_p if sampling.top_p is None else sampling.top_p,
            top_k=own.top_k if sampling.top_k is None else sampling.top_k,
            repetition_penalty=own.repetition_penalty,
            max_tokens=sampling.max_tokens,
            stop=sampling.stop,
            seed=sampling.seed or 0,
        )

    @contextlib.contextmanager
    def _limited_threads(self) -> Iterator[None]:
        import torch

        before = torch.get_num_threads()
        try:
            if self._threads is not None:
                torch.set_num_threads(self._threads)
            yield
        finally:
            torch.set_num_threads(before)

    # --- loading --------------------------------------------------------------------------

    def _network(self) -> Any:
        """The model itself, loaded once."""
        with self._lock:
            if self._loaded is None:
                network = self._checkpoint.load_network(self._dtype)
                self._loaded = move(network, self._device, f"model '{self.model}'")
            return self._loaded

    def _own_dtype(self) -> str:
        name = str(getattr(self._checkpoint.config, "dtype", None)).removeprefix("torch.")
        return name if name in _DTYPES else "float32"


def _own_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _refused(outcome: Outcome, error: str) -> _Prompt:
    return _Prompt(refusal=Generation(outcome=outcome, error=error))


def _failed(error: Exception) -> Generation:
    hint = "; lower batch_tokens" if "out of memory" in str(error) else ""
    return Generation(outcome="server", error=f"the model failed: {said(error)}{hint}")


def _kind(request: Request) -> tuple[bool, bool]:
    """Whether it asks how likely an answer is, and whether it shows pictures."""
    return request.continuation is not None, bool(media_of(request.messages))


def _room(request: Request) -> int:
    """How many tokens may follow the prompt."""
    given = request.continuation
    return request.sampling.max_tokens if given is None else len(given)
