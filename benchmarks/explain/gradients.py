"""Integrated gradients at a number of steps: rows, padding, and CPU time over plain torch's.

Plain torch: the same points of the same texts, in batches of the same tokens, one forward and one
backward pass each and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peers
import torch

import harness


def figures(
    checkpoint: Path, classifier: Any, texts: list[str], steps: int, tokens: int,
    python: str | None, threads: int,
) -> dict[str, float]:  # fmt: skip
    """Ratios, and the share of tokens that is padding."""
    module = classifier.module
    settings = {"steps": steps, "nodes": "midpoint"}

    def ours(some: list[str]) -> None:
        harness.explain(
            classifier, some, "integrated_gradients", target=classifier.classes[0],
            batch_tokens=tokens, settings=settings,
        )  # fmt: skip

    encoded = [classifier_ids(checkpoint, text) for text in texts]
    runs: dict[str, Callable[[], None]] = {
        "ours": lambda: ours(texts),
        "plain torch": lambda: _plain(module, encoded, steps, tokens),
        "captum": lambda: _captum(module, encoded, steps, tokens),
    }
    ours(texts[:1])  # whatever is loaded late
    seconds, count = {}, {"rows": 0, "tokens": 0, "padding": 0}
    for name, run in runs.items():
        handle = module.register_forward_pre_hook(
            lambda _, __, given: _count(count, given), with_kwargs=True
        )
        before = dict(count)
        start = time.process_time()
        run()
        seconds[name] = time.process_time() - start
        if name == "ours":
            mine = {key: count[key] - before[key] for key in count}
        handle.remove()
    found = {
        # The two ends of each text are forwarded as well, without a backward pass.
        "rows / (texts x steps)": (mine["rows"] - 2 * len(texts)) / (len(texts) * steps),
        "padding": mine["padding"] / mine["tokens"],
        "time / plain torch": seconds["ours"] / seconds["plain torch"],
        "time / captum": seconds["ours"] / seconds["captum"],
    }
    if python:
        answer = peers.interpreto(
            python, "integrated_gradients", checkpoint=str(checkpoint), texts=texts,
            threads=threads, batch=4, amount=steps,
        )  # fmt: skip
        found["time / interpreto"] = seconds["ours"] / answer["seconds"]
        found["interpreto / plain torch"] = answer["seconds"] / seconds["plain torch"]
    return found


def classifier_ids(checkpoint: Path, text: str) -> torch.Tensor:
    """Token ids of a text, 1 x tokens."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    ids: torch.Tensor = tokenizer(text, return_tensors="pt")["input_ids"]
    return ids


def _ends(module: Any, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of a text and of the same with every word masked (token 4)."""
    masked = ids.clone()
    masked[:, 1:-1] = 4
    embedding = module.get_input_embeddings()
    return embedding(ids).detach(), embedding(masked).detach()


def _plain(module: Any, encoded: list[torch.Tensor], steps: int, tokens: int) -> None:
    for ids in encoded:
        full, empty = _ends(module, ids)
        rows = max(1, tokens // ids.shape[1])
        for places in torch.split((torch.arange(steps) + 0.5) / steps, rows):
            points = (empty + places[:, None, None] * (full - empty)).requires_grad_()
            mask = torch.ones(points.shape[:2], dtype=torch.long)
            value = module(inputs_embeds=points, attention_mask=mask).logits[:, 0].sum()
            torch.autograd.grad(value, points)


def _captum(module: Any, encoded: list[torch.Tensor], steps: int, tokens: int) -> None:
    from captum.attr import IntegratedGradients

    def forward(points: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(points.shape[:2], dtype=torch.long)
        logits: torch.Tensor = module(inputs_embeds=points, attention_mask=mask).logits
        return logits

    for ids in encoded:
        full, empty = _ends(module, ids)
        IntegratedGradients(forward).attribute(
            full, empty, target=0, n_steps=steps, method="riemann_middle",
            internal_batch_size=max(1, tokens // ids.shape[1]),
        )  # fmt: skip


def _count(count: dict[str, int], given: dict[str, Any]) -> None:
    mask = given["attention_mask"]
    count["rows"] += mask.shape[0]
    count["tokens"] += mask.numel()
    count["padding"] += int((mask == 0).sum())
