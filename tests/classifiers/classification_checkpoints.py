"""Small random classifiers of texts and images, and what each network alone would say.

The oracle is the network as it was before it was saved, given one unpadded input at a time; images
are prepared for it by Pillow and NumPy.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from harness.identity import sha256
from harness.images import to_png
from harness.records import Media, Part, Prediction, Sample

hf: Any = transformers
TEXTS = [
    "burning pain in the stomach after painkillers",
    "full",
    "vomits food eaten hours before and again at night",
    "red lining",
    "slow emptying at the scan of the stomach",
    "worn lining",
    "burps in the evening after rich meals and after every coffee of the day",
    "no pain",
    "pain in the evening",
    "scan",
]
NAMES = ("gastritis", "indigestion", "ulcer")
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LARGE_INIT = {"initializer_range": 0.5}  # so that random networks tell their inputs apart


def samples(texts: list[str] = TEXTS) -> list[Sample]:
    return [Sample(f"s{i}", (Part(text),)) for i, text in enumerate(texts)]


def picture(array: NDArray[np.uint8], name: str = "p") -> Sample:
    png = to_png(Image.fromarray(array))
    return Sample(name, (Part(media=Media(sha256(png), "image/png", data=png)),))


def wordpiece() -> Any:
    """Every other word as a whole, the others as their first four letters and the rest: a trainer
    of word pieces breaks ties by chance, so that each run would have another network."""
    words = sorted({word for text in TEXTS for word in text.split()})
    letters = sorted(set("".join(words)))
    split = [word for word in words[::2] if len(word) > 4]
    pieces = sorted({word[:4] for word in split} | {f"##{word[4:]}" for word in split})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    known = [*special, *letters, *(f"##{letter}" for letter in letters), *pieces, *words[1::2]]
    return hf.BertTokenizer(vocab={piece: at for at, piece in enumerate(dict.fromkeys(known))})


def byte_pairs(kind: Any, special: list[str]) -> Any:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(TEXTS, trainer)
    model = json.loads(core.to_str())["model"]
    return kind(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])


def make(kind: str, folder: Path, **options: Any) -> tuple[Path, Any, Any]:
    """A random text classifier in a folder: the folder, its network and its tokenizer."""
    torch.manual_seed(7)
    options = options if "id2label" in options else {"num_labels": 3, **options}
    if kind in ("bert", "distilbert"):
        tokenizer = wordpiece()
    elif kind == "roberta":
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        tokenizer = byte_pairs(hf.RobertaTokenizer, special)
    else:
        tokenizer = byte_pairs(hf.GPT2Tokenizer, ["<|endoftext|>"])
    options["vocab_size"] = len(tokenizer)
    if kind == "bert":
        config = hf.BertConfig(**SMALL, intermediate_size=48, **LARGE_INIT, **options)
        network = hf.BertForSequenceClassification(config)
    elif kind == "distilbert":
        config = hf.DistilBertConfig(
            dim=32, n_layers=2, n_heads=2, hidden_dim=48, **LARGE_INIT, **options
        )
        network = hf.DistilBertForSequenceClassification(config)
    elif kind == "roberta":
        options = {"max_position_embeddings": 64, **options}
        config = hf.RobertaConfig(**SMALL, intermediate_size=48, **LARGE_INIT, **options)
        network = hf.RobertaForSequenceClassification(config)
    elif kind == "gpt2":
        config = hf.GPT2Config(n_embd=32, n_layer=2, n_head=2, **LARGE_INIT, **options)
        network = hf.GPT2ForSequenceClassification(config)
    else:
        config = hf.LlamaConfig(**SMALL, intermediate_size=48, **LARGE_INIT, **options)
        network = hf.LlamaForSequenceClassification(config)
    network.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, network, tokenizer


def edit(folder: Path, file: str = "config.json", **fields: Any) -> Path:
    """Changes fields of a JSON file, or with None removes them."""
    value = json.loads((folder / file).read_text())
    value = {key: item for key, item in (value | fields).items() if item is not None}
    (folder / file).write_text(json.dumps(value))
    return folder


def alone(network: Any, tokenizer: Any, text: str, **options: Any) -> list[float]:
    """The logits of one text, from a forward pass with nothing beside it."""
    ids = tokenizer(text, return_tensors="pt", **options)["input_ids"]
    with torch.no_grad():
        logits: list[float] = network(input_ids=ids).logits[0].tolist()
    return logits


def softmax(logits: Any) -> NDArray[np.float64]:
    powers = np.exp(np.asarray(logits, dtype=np.float64) - np.max(logits))
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares


def table(found: list[Prediction]) -> NDArray[np.float64]:
    return np.array([list(prediction.probabilities.values()) for prediction in found])


def pictures() -> list[Sample]:
    draw = np.random.default_rng(3)
    sizes = [(40, 40), (61, 33), (20, 75), (3, 3), (32, 32), (50, 50)]
    arrays = [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    arrays += [np.full((32, 32, 3), level, dtype=np.uint8) for level in (0, 255)]
    return [picture(array, f"p{i}") for i, array in enumerate(arrays)]


def resized(sample: Sample, width: int, height: int, how: Image.Resampling) -> Image.Image:
    with Image.open(io.BytesIO(sample.media[0].read())) as image:
        return image.convert("RGB").resize((width, height), how)


def normalised(image: Image.Image, mean: list[float], std: list[float]) -> torch.Tensor:
    values = (np.asarray(image, dtype=np.float64) / 255 - mean) / std
    return torch.from_numpy(values).permute(2, 0, 1).float()[None]


def make_vit(folder: Path, **options: Any) -> Any:
    torch.manual_seed(11)
    config = hf.ViTConfig(
        **SMALL,
        **LARGE_INIT,
        intermediate_size=48,
        image_size=32,
        patch_size=8,
        num_labels=3,
        **options,
    )
    network = hf.ViTForImageClassification(config)
    network.eval().save_pretrained(folder)
    return network
