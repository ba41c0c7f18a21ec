"""A local checkpoint in process: text, or image and text, through transformers.

Batches are made from the plan by length and always run whole; each row's noise comes from its own
seed. So a text hangs on its own request alone, but for float rounding, and a run that was broken
off and taken up again gives what an unbroken one does.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.backends.answers import clean, split_reasoning
from harness.backends.checkpoint import find
from harness.identity import digest
from harness.records import Capabilities, Generation, HarnessError, Message, Outcome, Request

if TYPE_CHECKING:
    from harness.backends.decoding import Row

_DTYPES = ("float32", "bfloat16", "float16")
_EXTRAS = ("logprobs",)
_PROBE = "the-system-text"


@dataclass(frozen=True)
class _Defaults:
    """What the checkpoint's own generation settings say where a suite says nothing."""

    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    ends: tuple[int, ...]


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
    - `commit`: branch, tag or commit of a hub model
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
        commit: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        for name, value in (("batch_tokens", batch_tokens), ("threads", threads)):
            if value is not None and (isinstance(value, bool) or not _positive(value)):
                raise HarnessError(
                    f"backend 'transformers': {name} is a whole number of at least 1, not {value!r}"
                )
        if dtype is not None and dtype not in _DTYPES:
            raise HarnessError(
                f"backend 'transformers': dtype is one of {', '.join(_DTYPES)}, not {dtype!r}"
            )
        unknown = sorted(set(extras or ()) - set(_EXTRAS))
        if unknown:
            raise HarnessError(
                f"backend 'transformers': there is no extra '{unknown[0]}'; there is "
                f"{', '.join(_EXTRAS)}"
            )
        self.model = model
        self._checkpoint = find(model, commit)
        self.model_id = self._checkpoint.name
        self._batch_tokens, self._threads = batch_tokens, threads
        self._template_kwargs = dict(chat_template_kwargs or {})
        self._processor = self._load_processor()
        self._tokenizer = getattr(self._processor, "tokenizer", self._processor)
        self._device = self._pick_device(device)
        self._dtype = dtype or ("float32" if self._device.type == "cpu" else self._own_dtype())
        self.capabilities = Capabilities(
            seed=True,
            logprobs=True,
            images=self._checkpoint.multimodal,
            system_role=self._has_system_role(),
            concurrency=1,
        )
        # What changes an answer is part of the request, so it must change its key.
        self.extras: dict[str, Any] = {"dtype": self._dtype, **(extras or {})}
        if self._template_kwargs:
            self.extras["chat_template_kwargs"] = self._template_kwargs
        self._loaded: Any = None
        self._lock = threading.Lock()
        self._prompts: dict[str, _Prompt] = {}

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

    async def generate(self, request: Request) -> Generation:
        """The answer; a failure is an outcome with an error, never an exception."""
        return (await asyncio.to_thread(self.generate_batch, [request]))[0]

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """The requests in batches of like length, images apart from text, in an order that
        follows from the requests alone."""
        measured = []
        for index, request in enumerate(requests):
            length = len(self._prompt(request).token_ids) + request.sampling.max_tokens
            measured.append((bool(_media(request)), length, index))
        batches: list[list[Request]] = []
        open_kind: bool | None = None
        for pictured, length, index in sorted(measured):
            full = bool(batches) and length * (len(batches[-1]) + 1) > self._batch_tokens
            if pictured is not open_kind or full:
                batches.append([])
                open_kind = pictured
            batches[-1].append(requests[index])
        return batches

    def generate_batch(self, requests: Sequence[Request]) -> list[Generation]:
        """The answers, one a request, in the same order. Rows that the model cannot take come
        back as outcomes and do not hinder the others."""
        prompts = [self._prompt(request) for request in requests]
        answers = [prompt.refusal for prompt in prompts]
        for pictured in (False, True):
            rows = [
                i
                for i, request in enumerate(requests)
                if answers[i] is None and bool(_media(request)) is pictured
            ]
            if rows:
                made = self._run([requests[i] for i in rows], [prompts[i].token_ids for i in rows])
                for i, answer in zip(rows, made, strict=True):
                    answers[i] = answer
        return [answer for answer in answers if answer is not None]

    # --- prompts --------------------------------------------------------------------------

    def _prompt(self, request: Request) -> _Prompt:
        """Token ids of a request; each distinct prompt is made once."""
        key = digest([request.messages, request.sampling.max_tokens])
        if key not in self._prompts:
            self._prompts[key] = self._make_prompt(request)
        return self._prompts[key]

    def _make_prompt(self, request: Request) -> _Prompt:
        strange = [m.mime for m in _media(request) if not m.mime.startswith("image/")]
        if strange or (_media(request) and not self.capabilities.images):
            what = strange[0] if strange else "images"
            return _refused("server", f"the model '{self.model_id}' does not take {what}")
        try:
            inputs = self._encode([request])
        except Exception as error:  # a template or processor may refuse in any way it likes
            return _refused("server", f"the prompt cannot be made: {_said(error)}")
        token_ids = tuple(int(token) for token in inputs["input_ids"][0])
        limit, room = self._positions(), request.sampling.max_tokens
        if limit is not None and len(token_ids) + room > limit:
            return _refused(
                "too_long",
                f"the prompt has {len(token_ids)} tokens and up to {room} are to follow, but the "
                f"model has {limit} positions; lower max_tokens or shorten the prompt",
            )
        return _Prompt(token_ids)

    def _encode(self, requests: Sequence[Request]) -> Any:
        """The model's inputs for some requests, padded on the left."""
        texts = [self._template(request.messages) for request in requests]
        options = {"add_special_tokens": False, "padding": True, "return_tensors": "pt"}
        if not any(_media(request) for request in requests):
            return self._tokenizer(texts, **options)
        from PIL import Image

        from harness.images import load_array

        pictures = [
            [Image.fromarray(load_array(medium)) for medium in _media(request)]
            for request in requests
        ]
        inputs = self._processor(text=texts, images=pictures, **options)
        _mark_blank(inputs)
        return inputs

    def _template(self, messages: Sequence[Message]) -> str:
        if not self.capabilities.system_role:
            messages = _without_system(messages)
        return self._apply([self._turn(message) for message in messages])

    def _turn(self, message: Message) -> dict[str, Any]:
        if not self._checkpoint.multimodal:
            return {"role": message.role, "content": message.text}
        content = [
            {"type": "text", "text": part.text} if part.media is None else {"type": "image"}
            for part in message.parts
        ]
        return {"role": message.role, "content": content}

    def _apply(self, conversation: list[dict[str, Any]]) -> str:
        return str(
            self._processor.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=True, **self._template_kwargs
            )
        )

    def _has_system_role(self) -> bool:
        """Whether the template takes a system message and shows it."""
        user, system = Message.of("user", "a"), Message.of("system", _PROBE)
        try:
            self._apply([self._turn(user)])
        except Exception as error:
            raise HarnessError(
                f"the chat template of model '{self.model}' fails on a plain question: "
                f"{_said(error)}"
            ) from error
        try:
            return _PROBE in self._apply([self._turn(system), self._turn(user)])
        except Exception:  # templates raise what they like
            return False

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
                inputs = self._encode(requests).to(self._device)
                start = inputs["input_ids"].shape[1]
                stopping = Stopping(rows, start, self._defaults.ends, self._decode)
                out = model.generate(
                    **inputs,
                    do_sample=False,
                    num_beams=1,
                    max_new_tokens=max(row.max_tokens for row in rows),
                    eos_token_id=list(self._defaults.ends) or None,
                    pad_token_id=self._tokenizer.pad_token_id,
                    logits_processor=[drawing],
                    stopping_criteria=[stopping],
                )
            except (RuntimeError, ValueError, IndexError) as error:
                hint = "; lower batch_tokens" if "out of memory" in str(error) else ""
                failed = Generation(
                    outcome="server", error=f"the model failed: {_said(error)}{hint}"
                )
                return [failed] * len(requests)
        drawn = out[:, start:].tolist()
        return [
            self._answer(
                request, prompts[i], drawn[i][: stopping.lengths[i]], drawing.logprobs[i], rows[i]
            )
            for i, request in enumerate(requests)
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

        whole = bool(tokens) and tokens[-1] in self._defaults.ends
        text = self._decode(tokens[:-1] if whole else tokens)
        before = cut(text, row.stop)
        answer, reasoning = split_reasoning(clean(text if before is None else before))
        outcome: Outcome = "ok"
        if not whole and before is None:
            outcome = "truncated"
        elif not answer.strip():
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

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

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

    def _load_processor(self) -> Any:
        from transformers import AutoProcessor, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        auto: Any = AutoProcessor if self._checkpoint.multimodal else AutoTokenizer
        try:
            processor = auto.from_pretrained(self._checkpoint.folder, local_files_only=True)
        except Exception as error:  # a missing file, a missing package, a format unknown to it
            raise HarnessError(
                f"the tokenizer or processor of model '{self.model}' cannot be loaded: "
                f"{_said(error)}"
            ) from error
        tokenizer = getattr(processor, "tokenizer", processor)
        if not getattr(processor, "chat_template", None):
            processor.chat_template = tokenizer.chat_template
        if not processor.chat_template:
            raise HarnessError(
                f"model '{self.model}' has no chat template, so there is no saying how to ask it; "
                "put a chat_template.jinja into its folder"
            )
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        return processor

    def _network(self) -> Any:
        """The model itself, loaded once."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load_network()
            return self._loaded

    def _load_network(self) -> Any:
        import torch
        from transformers import (
            AutoModelForCausalLM,
            AutoModelForImageTextToText,
            GenerationConfig,
        )

        multimodal = self._checkpoint.multimodal
        auto: Any = AutoModelForImageTextToText if multimodal else AutoModelForCausalLM
        try:
            model, loading = auto.from_pretrained(
                self._checkpoint.folder,
                dtype=getattr(torch, self._dtype),
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        except Exception as error:  # a cut-off file, an unknown architecture, a wrong shape
            raise HarnessError(f"model '{self.model}' cannot be loaded: {_said(error)}") from error
        lacking = sorted(loading["missing_keys"]) + sorted(
            str(entry) for entry in loading["mismatched_keys"]
        )
        if lacking:
            raise HarnessError(
                f"the weights of model '{self.model}' lack {len(lacking)} tensors of its "
                f"architecture, {lacking[0]} among them; the answers would be noise"
            )
        model.generation_config = GenerationConfig()  # its settings are in `_defaults`
        return model.to(self._device).eval()

    @cached_property
    def _config(self) -> Any:
        from transformers import AutoConfig

        try:
            return AutoConfig.from_pretrained(self._checkpoint.folder, local_files_only=True)
        except Exception as error:
            raise HarnessError(
                f"the configuration of model '{self.model}' cannot be read: {_said(error)}"
            ) from error

    @cached_property
    def _defaults(self) -> _Defaults:
        from transformers import GenerationConfig

        try:
            own = GenerationConfig.from_pretrained(self._checkpoint.folder, local_files_only=True)
        except OSError:  # no such file: the configuration has what there is
            own = GenerationConfig.from_model_config(self._config)
        ends = own.eos_token_id if own.eos_token_id is not None else self._tokenizer.eos_token_id
        drawn = bool(own.do_sample)
        return _Defaults(
            temperature=_or(own.temperature, 1.0) if drawn else 0.0,
            top_p=_or(own.top_p, 1.0) if drawn else 1.0,
            top_k=_or(own.top_k, 0) if drawn else 0,
            repetition_penalty=_or(own.repetition_penalty, 1.0),
            ends=tuple(ends) if isinstance(ends, list) else () if ends is None else (ends,),
        )

    def _positions(self) -> int | None:
        return getattr(self._config.get_text_config(), "max_position_embeddings", None)

    def _own_dtype(self) -> str:
        name = str(getattr(self._config, "dtype", None)).removeprefix("torch.")
        return name if name in _DTYPES else "float32"

    def _pick_device(self, device: str | None) -> Any:
        import torch

        try:
            picked = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            torch.empty(0, device=picked)
        except (RuntimeError, AssertionError) as error:
            raise HarnessError(
                f"backend 'transformers': the device '{device}' cannot be used: {_said(error)}"
            ) from error
        return picked


def _positive(value: object) -> bool:
    return isinstance(value, int) and value >= 1


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _media(request: Request) -> list[Any]:
    return [part.media for m in request.messages for part in m.parts if part.media is not None]


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The messages with the system text put before the first user message."""
    system = [part for m in messages if m.role == "system" for part in m.parts]
    rest = [message for message in messages if message.role != "system"]
    if not system:
        return rest
    if not rest or rest[0].role != "user":
        return [Message("user", tuple(system)), *rest]
    return [Message("user", (*system, *rest[0].parts)), *rest[1:]]


def _mark_blank(inputs: Any) -> None:
    """Keeps pictures that are zero throughout: Idefics and its kin take them for padding.

    One value becomes the smallest number there is, which changes nothing that a model sees.
    """
    import torch

    values = inputs.get("pixel_values")
    if values is None or values.dim() != 5:  # rows, pictures, channels, height, width
        return
    blank = (values == 0).flatten(2).all(dim=-1)
    if inputs.get("pixel_attention_mask") is not None:
        blank &= inputs["pixel_attention_mask"].flatten(2).any(dim=-1)
    values[..., 0, 0, 0] = values[..., 0, 0, 0].masked_fill(blank, torch.finfo(torch.float16).tiny)


def _refused(outcome: Outcome, error: str) -> _Prompt:
    return _Prompt(refusal=Generation(outcome=outcome, error=error))


def _said(error: Exception) -> str:
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= 300 else f"{line[:299]}…"
