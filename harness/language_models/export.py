"""Writes a trained model out as a checkpoint that transformers and vLLM load, with its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.language_models.evaluation import shown
from harness.results import Estimate

COMMAND = "python -m harness.language_models"


@dataclass(frozen=True)
class Card:
    """What a model's README says."""

    name: str
    about: str
    data: str
    training: str
    seed: int
    parameters: int
    arms: Sequence[tuple[str, Sequence[tuple[str, Estimate]]]]
    evaluated_on: str


def save(model: Any, tokenizer: Any, processor: Any | None, folder: Path) -> None:
    """Weights in bf16, configuration, tokenizer, chat template, generation settings and, for a
    model that sees, the processor."""
    import torch
    from transformers import GenerationConfig

    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).eval()
    settings: Any = GenerationConfig
    model.generation_config = settings(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
        processor.image_processor.save_pretrained(folder)  # where older releases look for it


def write_card(card: Card, folder: Path) -> None:
    """The README of a model."""
    import torch
    import transformers

    lines = [
        "---",
        "license: apache-2.0",
        "library_name: transformers",
        "---",
        f"# {card.name}",
        "",
        card.about,
        "",
        "It knows nothing but images that this project draws. It is no medical device.",
        "",
        f"- Made by: `{COMMAND}` (torch {torch.__version__}, transformers "
        f"{transformers.__version__}, on a CPU), seed {card.seed}",
        f"- Parameters: {card.parameters:,}, stored as bfloat16",
        f"- Data: {card.data}",
        f"- Training: {card.training}",
        "",
        "## Scores",
        "",
        f"{card.evaluated_on} Greedy answers, 95 % intervals by forest.",
        "",
        "| figure | " + " | ".join(name for name, _ in card.arms) + " |",
        "| --- |" + " --- |" * len(card.arms),
    ]
    for i, (name, _) in enumerate(card.arms[0][1]):
        values = " | ".join(shown(rows[i][1]) for _, rows in card.arms)
        lines.append(f"| {name} | {values} |")
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
