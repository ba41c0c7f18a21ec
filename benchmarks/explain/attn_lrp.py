"""How near AttnLRP comes to exact Shapley values, beside other methods: Spearman's rank correlation
over the ten words of a text, on a small transformer trained here.

    python benchmarks/explain/attn_lrp.py [--texts 60] [--steps 400] [--seed 0]

The classifier is a BERT of two layers, trained on texts of ten invented words of which some count
for a class, some against it, and some turn the word behind them round. Shapley values are exact
(all 1,024 sets, removal by the mask token, logit of the predicted class), of the same classifier.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from scipy.stats import spearmanr

import harness
from harness.classifiers.huggingface import HuggingFace
from harness.explainers.attributions.attn_lrp import AttnLRP

WORDS = [f"w{place}" for place in range(24)]
WORTH = np.array([1.0] * 6 + [-1.0] * 6 + [0.0] * 8 + [0.0] * 4)
TURNING = set(range(20, 24))  # a word that turns the next one's worth round
UNITS = 10


def drawn(count: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Words of each text by number, and its class."""
    words = draw.integers(0, len(WORDS), (count, UNITS))
    signs = np.ones(words.shape)
    signs[:, 1:] = np.where(np.isin(words[:, :-1], list(TURNING)), -1, 1)
    worth = (WORTH[words] * signs).sum(axis=1)
    return words, (worth + draw.normal(0, 0.1, count) > 0).astype(int)


def trained(folder: Path, steps: int, draw: np.random.Generator) -> float:
    """Writes a trained classifier to a folder; its accuracy on texts that it has not seen."""
    hf: Any = transformers
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = hf.BertTokenizer(vocab={word: at for at, word in enumerate([*special, *WORDS])})
    config = hf.BertConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=128, max_position_embeddings=16, num_labels=2,
    )  # fmt: skip
    net = hf.BertForSequenceClassification(config)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def ids(words: np.ndarray) -> torch.Tensor:
        inner = torch.from_numpy(words) + len(special)
        ends = torch.ones(len(words), 1, dtype=torch.long)
        return torch.cat([2 * ends, inner, 3 * ends], dim=1)

    net.train()
    for _ in range(steps):
        words, classes = drawn(64, draw)
        given = ids(words)
        # A tenth of the words are masked, so that texts with removed words are not out of the way.
        hidden = torch.rand(given.shape) < 0.1
        hidden[:, [0, -1]] = False
        loss = net(input_ids=given.masked_fill(hidden, 4), labels=torch.from_numpy(classes)).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()
    words, classes = drawn(1000, draw)
    with torch.no_grad():
        found = net(input_ids=ids(words)).logits.argmax(dim=1).numpy()
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return float((found == classes).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=60)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    draw = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        accuracy = trained(Path(folder), options.steps, draw)
        words, _ = drawn(options.texts, draw)
        texts = [" ".join(WORDS[word] for word in row) for row in words]
        classifier = HuggingFace(folder)
        methods = {
            "attn_lrp": AttnLRP(),
            "attn_lrp, softmax constant": AttnLRP(softmax="constant"),
            "input_x_gradient": "input_x_gradient",
            "integrated_gradients": "integrated_gradients",
            "attention_rollout": "attention_rollout",
            "leave_one_out": "leave_one_out",
        }
        made = {
            name: harness.explain(classifier, texts, one, "word").attributions
            for name, one in {"exact": "exact_shapley", **methods}.items()
        }
    print(f"accuracy {accuracy:.3f} on 1,000 new texts; {options.texts} texts of {UNITS} words")
    print("| method | mean Spearman | standard error | worst tenth |\n| --- | --- | --- | --- |")
    for name in methods:
        each = np.array(
            [
                spearmanr(one.values, exact.values).statistic
                for one, exact in zip(made[name], made["exact"], strict=True)
            ]
        )
        error = each.std(ddof=1) / np.sqrt(len(each))
        print(f"| {name} | {each.mean():.3f} | {error:.3f} | {np.quantile(each, 0.1):.3f} |")


if __name__ == "__main__":
    main()
