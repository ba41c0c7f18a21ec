"""Where a local model's files lie, what they hash to, and what can be said of them without loading.

A checkpoint is a folder with `config.json`, weights in safetensors, a tokenizer and a chat
template. Whatever is missing is said in one sentence before a model is loaded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from harness.identity import digest
from harness.records import HarnessError

BUILTIN = "builtin:"
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_UNSAFE = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
# All that a tokenizer, processor or template may be made of; cards and training logs are left out.
_BESIDE = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
_FROM_HUB = ("*.safetensors", *_BESIDE, "additional_chat_templates/*")


@dataclass(frozen=True)
class Checkpoint:
    """A folder of model files. `name` is what may stand in a request: never a path.

    `multimodal` says whether the configuration holds a vision part.
    """

    folder: Path
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
        return digest({path.name: _file_hash(path, *_stamp(path)) for path in files})


def find(model: str, commit: str | None = None) -> Checkpoint:
    """The checkpoint that `model` names: a folder, `builtin:NAME`, or a name on the hub.

    Files from the hub are fetched at `commit` (a branch, tag or commit) and kept in its cache.
    Raises `HarnessError` where there is none, where its weights are not safetensors, or where a
    file is missing.
    """
    if model.startswith(BUILTIN):
        folder, name = _builtin(model), model
    elif Path(model).expanduser().is_dir():
        folder, name = Path(model).expanduser(), "local"
    elif model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise HarnessError(f"there is no model folder {model}")
    else:
        folder, name = _from_hub(model, commit), model
    config = _json(folder / "config.json", model)
    return Checkpoint(
        folder=folder,
        name=name,
        multimodal="vision_config" in config,
        weights=_weights(folder, model),
    )


def builtin_names() -> list[str]:
    """The names of the language models that come with the harness."""
    assets = Path(str(resources.files("harness").joinpath("assets")))
    return sorted(path.parent.name for path in assets.glob("*/generation_config.json"))


def _builtin(model: str) -> Path:
    name = model.removeprefix(BUILTIN)
    if name not in builtin_names():
        known = ", ".join(builtin_names()) or "none"
        raise HarnessError(f"there is no built-in language model '{name}'; there are {known}")
    return Path(str(resources.files("harness").joinpath("assets", name)))


def _from_hub(model: str, commit: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=commit, allow_patterns=list(_FROM_HUB)))
    except Exception as error:  # the hub client has a dozen kinds, and none concerns us
        said = " ".join(str(error).split())[:200]
        raise HarnessError(
            f"the model '{model}' is no folder here and cannot be had from the hub: {said}"
        ) from error


def _weights(folder: Path, model: str) -> tuple[Path, ...]:
    if (folder / _INDEX).is_file():
        index = _json(folder / _INDEX, model).get("weight_map", {})
        shards = tuple(folder / name for name in sorted(set(index.values())))
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


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@cache
def _file_hash(path: Path, size: int, changed: int) -> str:  # noqa: ARG001
    """Of the file as it stands; large weights are read once, not once a request."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
