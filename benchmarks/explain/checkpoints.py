"""Classifiers with random weights and texts to try them on, made here and from one seed.

`small` is a BERT of 4 layers, 256 wide; `distilbert` has the sizes of distilbert-base; `steep` is
`small` with weights five times as large, so that words act on each other in all orders. A word of
the made-up vocabulary is a token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("small", "distilbert", "steep")
TEXTS, SHORTEST, LONGEST = 32, 10, 200  # tokens, [CLS] and [SEP] counted
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SYLLABLES = ("ba", "co", "di", "fe", "gu", "ha", "ki", "lo", "mu", "ne", "pa", "ro", "si")


def words() -> list[str]:
    """2,197 words of three syllables."""
    return [a + b + c for a in _SYLLABLES for b in _SYLLABLES for c in _SYLLABLES]


def text(count: int, seed: int) -> str:
    """A text of so many words, none twice."""
    return " ".join(np.random.default_rng(seed).choice(words(), count, replace=False))


def texts() -> list[str]:
    """32 texts, 10 to 200 tokens long, in steps of one length."""
    lengths = np.linspace(SHORTEST, LONGEST, TEXTS).round().astype(int)
    return [text(int(length) - 2, seed) for seed, length in enumerate(lengths)]


def make(kind: str, folder: Path) -> Path:
    """Saves a checkpoint with its tokenizer."""
    import torch
    import transformers

    hf: Any = transformers
    torch.manual_seed(0)
    # No dropout, so that gradients of every library are those of the same function.
    if kind != "distilbert":
        config = hf.BertConfig(
            hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            initializer_range=0.1 if kind == "steep" else 0.02,
        )  # fmt: skip
        network = hf.BertForSequenceClassification(config)
    else:
        config = hf.DistilBertConfig(dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0)
        network = hf.DistilBertForSequenceClassification(config)
    vocabulary = {piece: at for at, piece in enumerate((*_SPECIAL, *words()))}
    network.eval().save_pretrained(folder)
    hf.BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    return folder
