"""A local model's files: where they lie, what they hash to, and how they are loaded.

A checkpoint is a folder with `config.json`, weights in safetensors, a tokenizer and a chat
template. Whatever is missing or does not fit is said in one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from harness.identity import digest, file_hash
from harness.records import HarnessError

BUILTIN = "builtin:"
_GENERATION = "generation_config.json"
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_UNSAFE = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
# All that a tokenizer, processor or template may be made of; cards and training logs are left out.
_BESIDE = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
_FROM_HUB = ("*.safetensors", *_BESIDE, "additional_chat_templates/*")


@dataclass(frozen=True)
class Defaults:
    """What a checkpoint's own generation settings say where a suite says nothing.

    `ends` are the token ids after which the model stops of itself.
    """

    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A folder of model files.

    `model` is what it was asked for by, for errors; `name` is what may stand in a request: never a
    path. `multimodal` says whether the configuration holds a vision part.
    """

    folder: Path
    model: str
    name: str
    multimodal: bool
    weights: tuple[Path, ...]

    @property
    def revision(self) -> str:
        """SHA-256 over the hashes of weights, configuration, tokenizer and template."""
        beside = {
            path
            for pattern in _BESIDE
            for path in self.folder.glob(pattern)
            if path.name not in (_INDEX, "trainer_state.json", "training_args.json")
        }
        files = sorted({*self.weights, *beside})
        return digest({path.name: file_hash(path) for path in files})

    @cached_property
    def config(self) -> Any:
        """The configuration as transformers reads it; code that comes with it is never run."""
        from transformers import AutoConfig

        try:
            with quiet():
                # Asked for code of the checkpoint's own, transformers would wait for an answer.
                return AutoConfig.from_pretrained(
                    self.folder, local_files_only=True, trust_remote_code=False
                )
        except Exception as error:
            if "trust_remote_code" in str(error):
                raise HarnessError(
                    f"model '{self.model}' needs code of its own, which is never run here"
                ) from error
            raise HarnessError(
                f"the configuration of model '{self.model}' cannot be read: {said(error)}"
            ) from error

    @property
    def positions(self) -> int | None:
        """How many tokens the model can take, prompt and answer together."""
        return getattr(self.config.get_text_config(), "max_position_embeddings", None)

    def load_processor(self) -> Any:
        """The tokenizer, or the processor of a model that sees; it pads on the left.

        Raises `HarnessError` where it cannot be loaded or has no chat template.
        """
        from transformers import AutoProcessor, AutoTokenizer

        auto: Any = AutoProcessor if self.multimodal else AutoTokenizer
        try:
            with quiet():
                processor = auto.from_pretrained(
                    self.folder, local_files_only=True, trust_remote_code=False
                )
        except Exception as error:  # a missing file, a missing package, a format unknown to it
            raise HarnessError(
                f"the tokenizer or processor of model '{self.model}' cannot be loaded: "
                f"{said(error)}"
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

    def load_network(self, dtype: str) -> Any:
        """The model with its weights. Raises `HarnessError` where they do not fill it."""
        import torch
        from transformers import (
            AutoModelForCausalLM,
            AutoModelForImageTextToText,
            GenerationConfig,
        )

        auto: Any = AutoModelForImageTextToText if self.multimodal else AutoModelForCausalLM
        try:
            with quiet():
                network, loading = auto.from_pretrained(
                    self.folder,
                    dtype=getattr(torch, dtype),
                    use_safetensors=True,
                    local_files_only=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                )
        except Exception as error:  # a cut-off file, an unknown architecture, a wrong shape
            raise HarnessError(f"model '{self.model}' cannot be loaded: {said(error)}") from error
        lacking = sorted(loading["missing_keys"]) + sorted(
            str(entry) for entry in loading["mismatched_keys"]
        )
        if lacking:
            raise HarnessError(
                f"the weights of model '{self.model}' lack {len(lacking)} tensors of its "
                f"architecture, {lacking[0]} among them; the answers would be noise"
            )
        plain: Any = GenerationConfig
        network.generation_config = plain()  # the checkpoint's own settings are in `defaults`
        return network.eval()

    def defaults(self, tokenizer: Any) -> Defaults:
        """The generation settings that come with the weights; greedy where they do not sample.

        Raises `HarnessError` where their file cannot be read.
        """
        from transformers import GenerationConfig

        try:
            if (self.folder / _GENERATION).is_file():
                own = GenerationConfig.from_pretrained(self.folder, local_files_only=True)
            else:  # the configuration has what there is
                own = GenerationConfig.from_model_config(self.config)
        except Exception as error:
            raise HarnessError(
                f"the generation settings of model '{self.model}' cannot be read: {said(error)}"
            ) from error
        ends = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
        drawn = bool(own.do_sample)
        return Defaults(
            temperature=_or(own.temperature, 1.0) if drawn else 0.0,
            top_p=_or(own.top_p, 1.0) if drawn else 1.0,
            top_k=_or(own.top_k, 0) if drawn else 0,
            repetition_penalty=_or(own.repetition_penalty, 1.0),
            ends=tuple(ends) if isinstance(ends, list) else () if ends is None else (ends,),
        )


def find(model: str, revision: str | None = None) -> Checkpoint:
    """The checkpoint that `model` names: a folder, `builtin:NAME`, or a name on the hub.

    Files from the hub are fetched at `revision` (a branch, tag or commit) and kept in its cache.
    Raises `HarnessError` where there is none, where its weights are not safetensors, where a file
    is missing, and for a revision of what is not on the hub.
    """
    here = Path(model).expanduser()
    if revision is not None and (model.startswith(BUILTIN) or here.is_dir()):
        raise HarnessError(f"model '{model}' is not on the hub, so it has no revision to name")
    if model.startswith(BUILTIN):
        folder, name = _builtin(model), model
    elif here.is_dir():
        folder, name = here, "local"
    elif model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise HarnessError(f"there is no model folder {model}")
    else:
        folder, name = _from_hub(model, revision), model
    config = _json(folder / "config.json", model)
    return Checkpoint(
        folder=folder,
        model=model,
        name=name,
        multimodal="vision_config" in config,
        weights=_weights(folder, model),
    )


def pick_device(where: str, device: str) -> Any:
    """The torch device of this name. Raises `HarnessError` where it cannot be used."""
    import torch

    try:
        picked = torch.device(device)
        torch.empty(0, device=picked)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise HarnessError(
            f"{where}: the device '{device}' cannot be used: {said(error)}"
        ) from error
    return picked


def move(network: Any, device: Any, where: str) -> Any:
    """The network on the device. Raises `HarnessError` where there is too little memory."""
    try:
        return network.to(device)
    except RuntimeError as error:
        raise HarnessError(f"{where} cannot be put on {device}: {said(error)}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and no reports of transformers for the block; what matters is raised or noted."""
    from transformers.utils import logging

    hidden: Any = logging
    verbosity, bars = hidden.get_verbosity(), hidden.is_progress_bar_enabled()
    hidden.set_verbosity(hidden.CRITICAL)
    hidden.disable_progress_bar()
    try:
        yield
    finally:
        hidden.set_verbosity(verbosity)
        if bars:
            hidden.enable_progress_bar()


def said(error: Exception) -> str:
    """What an error of another library says, on one line of at most 300 characters."""
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= 300 else f"{line[:299]}…"


def builtin_names() -> list[str]:
    """The names of the language models that come with the harness."""
    assets = Path(str(resources.files("harness").joinpath("assets")))
    return sorted(path.parent.name for path in assets.glob(f"*/{_GENERATION}"))


def _builtin(model: str) -> Path:
    name = model.removeprefix(BUILTIN)
    if name not in builtin_names():
        known = ", ".join(builtin_names()) or "none"
        raise HarnessError(f"there is no built-in language model '{name}'; there are {known}")
    return Path(str(resources.files("harness").joinpath("assets", name)))


def _from_hub(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(_FROM_HUB)))
    except Exception as error:  # the hub client has a dozen kinds, and none concerns us
        raise HarnessError(
            f"the model '{model}' is no folder here and cannot be had from the hub: {said(error)}"
        ) from error


def _weights(folder: Path, model: str) -> tuple[Path, ...]:
    if (folder / _INDEX).is_file():
        index = _json(folder / _INDEX, model).get("weight_map")
        if not isinstance(index, dict) or not index:
            raise HarnessError(f"{_INDEX} of model '{model}' names no weights files")
        shards = tuple(folder / str(name) for name in sorted(set(index.values())))
    else:
        shards = (folder / _SINGLE,)
    missing = [path.name for path in shards if not path.is_file()]
    if not missing:
        return shards
    unsafe = sorted(path.name for pattern in _UNSAFE for path in folder.glob(pattern))
    if unsafe:
        raise HarnessError(
            f"the weights of model '{model}' are {unsafe[0]}; only safetensors are read, because "
            "other formats can run code: save the model with save_pretrained first"
        )
    raise HarnessError(f"the weights file {missing[0]} of model '{model}' is missing")


def _json(path: Path, model: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise HarnessError(f"model '{model}' has no {path.name}") from error
    except ValueError as error:
        raise HarnessError(f"{path.name} of model '{model}' is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise HarnessError(f"{path.name} of model '{model}' is no JSON object")
    return value


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
