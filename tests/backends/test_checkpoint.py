"""A language model's files: their hash, and one sentence for what cannot be used."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from language_checkpoints import request, texts

from harness.backends.checkpoint import find
from harness.backends.transformers import Transformers
from harness.records import (
    HarnessError,
)


def test_the_revision_changes_with_weights_tokenizer_and_template_alone(
    llama: Path, tmp_path: Path
) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    backend = Transformers(str(tmp_path))
    assert backend.model_id == "local"
    same = backend.revision
    assert same == Transformers(str(llama)).revision
    (tmp_path / "README.md").write_text("a card")
    assert Transformers(str(tmp_path)).revision == same
    revisions = {same}
    for name in ("chat_template.jinja", "tokenizer_config.json", "model.safetensors"):
        path = tmp_path / name
        before = path.read_bytes()
        changed = bytearray(before)
        changed[-2] = 32 if before[-2] != 32 else 10
        path.write_bytes(bytes(changed))

        revisions.add(find(str(tmp_path)).revision)
        path.write_bytes(before)
    assert len(revisions) == 4


def test_settings_that_a_suite_leaves_out_are_the_checkpoints(llama: Path, tmp_path: Path) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    own = {"do_sample": True, "temperature": 0.6, "top_k": 5, "eos_token_id": 2}
    (tmp_path / "generation_config.json").write_text(json.dumps(own))
    left_out = request(temperature=None, seed=4)
    spelt_out = request(temperature=0.6, top_k=5, seed=4)
    backend = Transformers(str(tmp_path))
    assert texts(backend.generate_batch([left_out])) == texts(backend.generate_batch([spelt_out]))
    greedy = Transformers(str(llama)).generate_batch([replace(left_out)])
    assert greedy == Transformers(str(llama)).generate_batch([request(seed=4)])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "chat_template.jinja").unlink(), "has no chat template"),
        (lambda f: (f / "config.json").unlink(), "has no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
        (lambda f: (f / "generation_config.json").write_text("[]"), "generation settings of model"),
        (lambda f: (f / "model.safetensors.index.json").write_text("{}"), "names no weights files"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors of model .* is missing"),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            "only safetensors are read",
        ),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer or processor of model"),
        (
            lambda f: (f / "chat_template.jinja").write_text("{{ raise_exception('no') }}"),
            "fails on a plain question",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_before_anything_is_asked(
    llama: Path, tmp_path: Path, spoil: Any, said: str
) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    spoil(tmp_path)
    with pytest.raises(HarnessError, match=said):
        Transformers(str(tmp_path))


def test_weights_that_do_not_fill_the_model_are_refused(llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(HarnessError, match="lack 1 tensors"):
        asyncio.run(Transformers(str(tmp_path)).start())
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(HarnessError, match="cannot be loaded"):
        asyncio.run(Transformers(str(tmp_path)).start())


def test_code_that_comes_with_a_checkpoint_is_never_run(llama: Path, tmp_path: Path) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    (tmp_path / "own.py").write_text("raise SystemExit('this ran')\n")
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(HarnessError, match="needs code of its own, which is never run here"):
        find(str(tmp_path)).config  # noqa: B018


def test_a_revision_is_for_the_hub_alone(llama: Path) -> None:
    for model in (str(llama), "builtin:octa-text"):
        with pytest.raises(HarnessError, match="is not on the hub, so it has no revision"):
            find(model, "main")
