"""Checkpoints of transformers: each answer is what the network alone, unpadded, would say.

The checkpoints are small random ones made here. The oracle is the network as it was before it was
saved, given one input at a time; images are prepared for it by Pillow and NumPy.
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from small_suite import changed, write
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import harness
from harness.classifiers.huggingface import HuggingFace
from harness.identity import sha256
from harness.images import to_png
from harness.records import HarnessError, Media, Part, Prediction, Sample
from harness.store import Store

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
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    core.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=90, special_tokens=special)
    )
    return hf.BertTokenizer(vocab=core.get_vocab())


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


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    folder = tmp_path_factory.mktemp("bert")
    return make("bert", folder, id2label=dict(enumerate(NAMES)))


@pytest.fixture
def copy(bert: tuple[Path, Any, Any], tmp_path: Path) -> Path:
    """A copy of the BERT checkpoint that a test may change."""
    return Path(shutil.copytree(bert[0], tmp_path / "copy"))


# --- texts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bert", {}),
        ("distilbert", {}),
        ("roberta", {}),
        ("gpt2", {}),
        ("gpt2", {"pad_token_id": 0}),
        ("llama", {}),
        ("bert", {"num_labels": 2}),
    ],
)
def test_a_batch_says_what_each_text_alone_is_told(
    tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    folder, network, tokenizer = make(kind, tmp_path, **options)
    expected = np.array([softmax(alone(network, tokenizer, text)) for text in TEXTS])
    assert (
        np.ptp(expected, axis=0).max() > 0.2
    )  # a network that told all the same would show nothing
    for budget in (1, 30, 4096):
        # Each text twice, so that there are batches of several whatever the lengths are.
        found = HuggingFace(str(folder), batch_tokens=budget).predict(samples(TEXTS * 2))
        assert table(found) == pytest.approx(np.tile(expected, (2, 1)), abs=1e-5)
    assert [prediction.sample for prediction in found] == [f"s{i}" for i in range(2 * len(TEXTS))]
    backwards = HuggingFace(str(folder)).predict(samples(TEXTS[::-1]))
    assert table(backwards[::-1]) == pytest.approx(expected, abs=1e-5)


def test_texts_share_batches_within_the_budget_and_are_never_padded(
    bert: tuple[Path, Any, Any],
) -> None:
    folder, _, tokenizer = bert
    classifier = HuggingFace(str(folder), batch_tokens=40)
    shapes: list[tuple[int, int]] = []
    masks: list[bool] = []

    def note(_: Any, __: Any, given: Any) -> None:
        shapes.append(tuple(given["input_ids"].shape))
        masks.append(bool(given["attention_mask"].all()))

    classifier.module.register_forward_pre_hook(note, with_kwargs=True)
    texts = TEXTS * 5
    classifier.predict(samples(texts))
    assert all(masks)
    assert all(rows * length <= 40 or rows == 1 for rows, length in shapes)
    assert sum(rows * length for rows, length in shapes) == sum(
        len(tokenizer(text)["input_ids"]) for text in texts
    )
    assert len(shapes) < len(texts) / 2


def test_no_samples_are_no_predictions(bert: tuple[Path, Any, Any]) -> None:
    assert HuggingFace(str(bert[0])).predict([]) == []


def test_a_text_longer_than_the_model_is_cut_and_noted(tmp_path: Path) -> None:
    # RoBERTa counts positions from its pad token's number on: 64 of them hold 62 tokens.
    folder, network, tokenizer = make("roberta", tmp_path)
    classifier = HuggingFace(str(folder))
    classifier.predict(samples())
    assert classifier.notes == []
    long = " ".join(TEXTS * 3)
    length = len(tokenizer(long)["input_ids"])
    for _ in range(2):  # asked again, a text is still one text
        found = classifier.predict([*samples(), Sample("long", (Part(long),))])
    cut = alone(network, tokenizer, long, truncation=True, max_length=62)
    assert table(found)[-1] == pytest.approx(softmax(cut), abs=1e-5)
    (note,) = classifier.notes
    assert "reads 62 tokens of a text: the end of one text was not read" in note
    assert f"'long', has {length:,}" in note


def test_a_smaller_max_length_holds_and_a_larger_one_is_refused(tmp_path: Path) -> None:
    folder, network, tokenizer = make("roberta", tmp_path)
    classifier = HuggingFace(str(folder), max_length=5)
    found = classifier.predict(samples())
    expected = [
        softmax(alone(network, tokenizer, text, truncation=True, max_length=5)) for text in TEXTS
    ]
    assert table(found) == pytest.approx(np.array(expected), abs=1e-5)
    cut = sum(len(tokenizer(text)["input_ids"]) > 5 for text in TEXTS)
    assert f"the end of {cut} texts was not read" in classifier.notes[0]
    with pytest.raises(HarnessError, match="max_length is 63, but the model has 62 positions"):
        HuggingFace(str(folder), max_length=63)
    with pytest.raises(HarnessError, match="more than its 2 special tokens, not 2"):
        HuggingFace(str(folder), max_length=2)


def test_the_tokenizers_own_limit_counts_too(copy: Path) -> None:
    edit(copy, "tokenizer_config.json", model_max_length=6)
    classifier = HuggingFace(str(copy))
    classifier.predict(samples())
    assert "reads 6 tokens" in classifier.notes[0]


def test_a_text_without_a_token_is_refused(tmp_path: Path) -> None:
    folder, _, _ = make("gpt2", tmp_path)
    with pytest.raises(HarnessError, match="the text of sample 's1' is empty"):
        HuggingFace(str(folder)).predict(samples(["full", ""]))


# --- classes ------------------------------------------------------------------------------


def test_classes_follow_the_number_of_the_output_not_the_order_in_the_file(
    bert: tuple[Path, Any, Any], copy: Path
) -> None:
    edit(copy, id2label={"2": "ulcer", "0": "gastritis", "1": "indigestion"})
    classifier = HuggingFace(str(copy))
    assert classifier.classes == NAMES
    for prediction, text in zip(classifier.predict(samples()), TEXTS, strict=True):
        logits = alone(bert[1], bert[2], text)
        assert prediction.label == NAMES[int(np.argmax(logits))]
        assert list(prediction.probabilities) == list(NAMES)


@pytest.mark.parametrize(
    ("id2label", "classes", "named"),
    [
        ({"0": "a", "2": "c"}, ("a", "LABEL_1", "c"), "names 2; the others are called LABEL_1"),
        ({"1": "b"}, ("LABEL_0", "b", "LABEL_2"), "the others are called LABEL_0, LABEL_2"),
        ({"0": "a"}, ("a", "LABEL_1", "LABEL_2"), "the others are called LABEL_1, LABEL_2"),
        ({}, ("LABEL_0", "LABEL_1", "LABEL_2"), None),
        (None, ("LABEL_0", "LABEL_1", "LABEL_2"), None),
        ({"0": 10, "1": 20, "2": 30}, ("10", "20", "30"), None),
    ],
)
def test_outputs_without_a_name_keep_their_number(
    bert: tuple[Path, Any, Any],
    copy: Path,
    id2label: dict[str, Any] | None,
    classes: tuple[str, ...],
    named: str | None,
) -> None:
    edit(copy, id2label=id2label, label2id=None)
    classifier = HuggingFace(str(copy))
    assert classifier.classes == classes
    assert len(classifier.notes) == (named is not None)
    assert named is None or named in classifier.notes[0]
    expected = [softmax(alone(bert[1], bert[2], text)) for text in TEXTS]
    assert table(classifier.predict(samples())) == pytest.approx(np.array(expected), abs=1e-5)


@pytest.mark.parametrize("number", ["3", "-1"])
def test_a_name_for_an_output_that_is_not_there_is_refused(copy: Path, number: str) -> None:
    edit(copy, id2label={"0": "a", "1": "b", number: "c"})
    with pytest.raises(HarnessError, match="which names 4 outputs|names an output -1 in id2label"):
        HuggingFace(str(copy))


def test_one_name_for_two_outputs_is_refused(copy: Path) -> None:
    edit(copy, id2label={"0": "a", "1": "b", "2": "a"})
    with pytest.raises(HarnessError, match="the class 'a' is listed twice"):
        HuggingFace(str(copy))


def test_classes_in_another_order_are_matched_by_name(bert: tuple[Path, Any, Any]) -> None:
    given = HuggingFace(str(bert[0]), classes=NAMES[::-1])
    assert given.predict(samples()) == HuggingFace(str(bert[0])).predict(samples())
    with pytest.raises(HarnessError, match="the model's own are gastritis, indigestion, ulcer"):
        HuggingFace(str(bert[0]), classes=["a", "b", "c"])


def test_classes_name_outputs_that_have_only_numbers(tmp_path: Path) -> None:
    folder, _, _ = make("bert", tmp_path)
    numbered = HuggingFace(str(folder))
    own = HuggingFace(str(folder), classes=["LABEL_2", "LABEL_0", "LABEL_1"])
    assert own.predict(samples()) == numbered.predict(samples())
    named = HuggingFace(str(folder), classes=NAMES)
    assert named.classes == NAMES
    assert (table(named.predict(samples())) == table(numbered.predict(samples()))).all()
    with pytest.raises(HarnessError, match="has 3 outputs, but 2 classes are given"):
        HuggingFace(str(folder), classes=["a", "b"])


def test_a_single_output_is_the_log_odds_of_the_second_class(tmp_path: Path) -> None:
    folder, network, tokenizer = make("bert", tmp_path, num_labels=1)
    with pytest.raises(HarnessError, match="a single output; if it is the log-odds"):
        HuggingFace(str(folder))
    found = HuggingFace(str(folder), classes=["healthy", "ill"]).predict(samples())
    for prediction, text in zip(found, TEXTS, strict=True):
        (logit,) = alone(network, tokenizer, text)
        assert prediction.probabilities["ill"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)
        assert prediction.label == ("ill" if logit > 0 else "healthy")
    with pytest.raises(HarnessError, match="leave multi_label out"):
        HuggingFace(str(folder), classes=["healthy", "ill"], multi_label=True)


def test_regression_is_no_classification(copy: Path) -> None:
    edit(copy, problem_type="regression")
    with pytest.raises(HarnessError, match="was trained for regression"):
        HuggingFace(str(copy))


def test_several_labels_at_once_are_told_only_when_asked_for(
    bert: tuple[Path, Any, Any], copy: Path
) -> None:
    edit(copy, problem_type="multi_label_classification")
    with pytest.raises(HarnessError, match="set multi_label: true"):
        HuggingFace(str(copy))
    found = HuggingFace(str(copy), multi_label=True).predict(samples())
    for prediction, text in zip(found, TEXTS, strict=True):
        logits = np.array(alone(bert[1], bert[2], text))
        assert prediction.output == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)
        assert (prediction.kind, prediction.probabilities) == ("array", {})
        assert prediction.label == NAMES[int(logits.argmax())]


# --- images -------------------------------------------------------------------------------


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


def test_vit_sees_the_image_as_its_processor_is_configured(tmp_path: Path) -> None:
    network = make_vit(tmp_path)
    mean, std = [0.2, 0.4, 0.6], [0.3, 0.5, 0.7]
    processor = hf.ViTImageProcessorPil(
        size={"height": 32, "width": 32}, image_mean=mean, image_std=std, resample=3
    )
    processor.save_pretrained(tmp_path)
    expected = []
    for sample in pictures():
        pixels = normalised(resized(sample, 32, 32, Image.Resampling.BICUBIC), mean, std)
        with torch.no_grad():
            expected.append(softmax(network(pixels).logits[0].tolist()))
    assert np.ptp(np.array(expected), axis=0).max() > 0.2
    for budget in (1, 40, 4096):
        found = HuggingFace(str(tmp_path), batch_tokens=budget).predict(pictures())
        assert table(found) == pytest.approx(np.array(expected), abs=1e-5)


@pytest.mark.parametrize(
    "names",
    [
        {"image_processor_type": "ViTImageProcessorFast"},
        {"image_processor_type": None, "feature_extractor_type": "ViTFeatureExtractor"},
        {"image_processor_type": None},
    ],
)
def test_processors_saved_under_older_names_are_read(
    tmp_path: Path, names: dict[str, str | None]
) -> None:
    make_vit(tmp_path)
    processor = hf.ViTImageProcessorPil(size={"height": 32, "width": 32}, image_mean=[0.1] * 3)
    processor.save_pretrained(tmp_path)
    expected = HuggingFace(str(tmp_path)).predict(pictures())
    edit(tmp_path, "preprocessor_config.json", **names)
    assert HuggingFace(str(tmp_path)).predict(pictures()) == expected


def test_mobilenet_sees_the_centre_of_the_image(tmp_path: Path) -> None:
    torch.manual_seed(12)
    config = hf.MobileNetV2Config(
        image_size=32, depth_multiplier=0.35, num_labels=3, initializer_range=0.3
    )
    network = hf.MobileNetV2ForImageClassification(config)
    for _ in range(50):  # batch norms learn what random layers give
        network.train()(torch.randn(16, 3, 32, 32))
    network.classifier.weight.data /= 10  # as in a trained network, whose logits are moderate
    network.eval().save_pretrained(tmp_path)
    hf.MobileNetV2ImageProcessorPil(
        size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(tmp_path)
    half = [0.5, 0.5, 0.5]
    expected = []
    for sample in pictures():
        with Image.open(io.BytesIO(sample.media[0].read())) as image:
            width, height = image.size
        short = min(width, height)
        width, height = int(36 * width / short), int(36 * height / short)
        left, top = (width - 32) // 2, (height - 32) // 2
        scaled = resized(sample, width, height, Image.Resampling.BILINEAR)
        pixels = normalised(scaled.crop((left, top, left + 32, top + 32)), half, half)
        with torch.no_grad():
            expected.append(softmax(network(pixels).logits[0].tolist()))
    assert np.ptp(np.array(expected), axis=0).max() > 0.2
    found = HuggingFace(str(tmp_path)).predict(pictures())
    assert table(found) == pytest.approx(np.array(expected), abs=1e-5)


def test_images_of_several_sizes_are_batched_by_size(tmp_path: Path) -> None:
    torch.manual_seed(13)
    config = hf.ConvNextConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 16, 32], num_labels=3, **LARGE_INIT
    )
    network = hf.ConvNextForImageClassification(config)
    network.eval().save_pretrained(tmp_path)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    hf.ConvNextImageProcessorPil(do_resize=False, image_mean=mean, image_std=std).save_pretrained(
        tmp_path
    )
    large = [sample for sample in pictures() if sample.id not in ("p2", "p3")]  # 32 pixels or more
    expected = []
    for sample in large:
        with Image.open(io.BytesIO(sample.media[0].read())) as image:
            pixels = normalised(image.convert("RGB"), mean, std)
        with torch.no_grad():
            expected.append(softmax(network(pixels).logits[0].tolist()))
    classifier = HuggingFace(str(tmp_path))
    assert table(classifier.predict(large)) == pytest.approx(np.array(expected), abs=1e-5)


def test_a_network_of_one_channel_sees_grey(tmp_path: Path) -> None:
    network = make_vit(tmp_path, num_channels=1)
    hf.ViTImageProcessorPil(
        size={"height": 32, "width": 32}, image_mean=[0.5], image_std=[0.5]
    ).save_pretrained(tmp_path)
    levels = np.random.default_rng(5).integers(0, 256, (32, 32), dtype=np.uint8)
    pixels = torch.from_numpy(levels / 127.5 - 1).float()[None, None]
    with torch.no_grad():
        expected = softmax(network(pixels).logits[0].tolist())
    found = HuggingFace(str(tmp_path)).predict([picture(levels)])
    assert table(found)[0] == pytest.approx(expected, abs=1e-5)


def test_each_kind_of_classifier_refuses_the_others_input(
    bert: tuple[Path, Any, Any], tmp_path: Path
) -> None:
    make_vit(tmp_path)
    with pytest.raises(HarnessError, match="image processor .* cannot be loaded"):
        HuggingFace(str(tmp_path))
    hf.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    image = pictures()[0]
    both = Sample("both", (*image.input, Part("words")))
    with pytest.raises(HarnessError, match="classifies texts, and 'p0' is none"):
        HuggingFace(str(bert[0])).predict([image])
    for wrong in (samples()[0], both, Sample("two", image.input * 2)):
        with pytest.raises(HarnessError, match=f"classifies images, and '{wrong.id}' is not one"):
            HuggingFace(str(tmp_path)).predict([wrong])
    with pytest.raises(HarnessError, match="reads images, which have no max_length"):
        HuggingFace(str(tmp_path), max_length=8)


# --- state --------------------------------------------------------------------------------


def test_predicting_changes_nothing(bert: tuple[Path, Any, Any]) -> None:
    classifier = HuggingFace(str(bert[0]))
    first = classifier.predict(samples())
    classifier.module.train()
    classifier.module.bert.encoder.eval()
    flags = [part.training for part in classifier.module.modules()]
    weights = {name: value.clone() for name, value in classifier.module.state_dict().items()}
    torch_state, numpy_state = torch.get_rng_state(), str(np.random.get_state())
    assert classifier.predict(samples()) == first  # without the dropout of training
    assert [part.training for part in classifier.module.modules()] == flags
    assert torch.is_grad_enabled()
    assert all(value.grad is None for value in classifier.module.parameters())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert str(np.random.get_state()) == numpy_state
    now = classifier.module.state_dict()
    assert all(torch.equal(now[name], value) for name, value in weights.items())


def test_loading_draws_no_random_numbers_and_says_nothing(
    copy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_rng_state()
    HuggingFace(str(copy)).predict(samples([" ".join(TEXTS * 20)]))
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


def test_the_revision_is_that_of_weights_configuration_and_tokenizer(
    bert: tuple[Path, Any, Any], copy: Path
) -> None:
    revision = HuggingFace(str(bert[0])).revision
    assert HuggingFace(str(copy)).revision == revision
    (copy / "README.md").write_text("A card.")
    assert HuggingFace(str(copy)).revision == revision
    seen = {revision}
    edit(copy, "tokenizer_config.json", model_max_length=99)
    seen.add(HuggingFace(str(copy)).revision)
    edit(copy, id2label={"0": "a", "1": "b", "2": "c"})
    seen.add(HuggingFace(str(copy)).revision)
    tensors = load_file(copy / "model.safetensors")
    tensors["classifier.bias"] += 1e-3
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    seen.add(HuggingFace(str(copy)).revision)
    assert len(seen) == 4


def test_doubled_numbers_leave_no_rounding_of_batches(bert: tuple[Path, Any, Any]) -> None:
    together, single = (
        HuggingFace(str(bert[0]), dtype="float64", batch_tokens=budget).predict(samples())
        for budget in (4096, 1)
    )
    exact = [softmax(alone(bert[1].double(), bert[2], text)) for text in TEXTS]
    bert[1].float()
    assert table(together) == pytest.approx(np.array(exact), abs=1e-12)
    assert table(single) == pytest.approx(np.array(exact), abs=1e-12)


def test_halved_numbers_say_nearly_the_same(bert: tuple[Path, Any, Any]) -> None:
    exact = table(HuggingFace(str(bert[0])).predict(samples()))
    rounded = HuggingFace(str(bert[0]), dtype="bfloat16")
    assert rounded.module.dtype == torch.bfloat16
    found = table(rounded.predict(samples()))
    assert (found != exact).any()
    assert found == pytest.approx(exact, abs=0.15)


# --- checkpoints that will not do ---------------------------------------------------------


def test_a_folder_that_is_not_there_and_files_that_are_missing_are_told(copy: Path) -> None:
    with pytest.raises(HarnessError, match="there is no model folder ./none"):
        HuggingFace("./none")
    (copy / "model.safetensors").rename(copy / "aside")
    with pytest.raises(HarnessError, match=r"the weights file model\.safetensors .* is missing"):
        HuggingFace(str(copy))
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(HarnessError, match=r"are pytorch_model\.bin; only safetensors are read"):
        HuggingFace(str(copy))
    (copy / "config.json").unlink()
    with pytest.raises(HarnessError, match=r"has no config\.json"):
        HuggingFace(str(copy))


def test_a_name_that_cannot_be_had_from_the_hub_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HarnessError, match="no folder here and cannot be had from the hub"):
        HuggingFace("nobody/no-such-classifier")


def test_damaged_weights_are_one_sentence(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HarnessError, match="cannot be loaded"):
        HuggingFace(str(copy))


def test_a_network_without_a_trained_head_is_refused(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    del tensors["classifier.weight"], tensors["classifier.bias"]
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(HarnessError, match="lack 2 tensors .* classifier.bias among them"):
        HuggingFace(str(copy))
    for architecture in ("BertForMaskedLM", "BertModel", "BertForTokenClassification"):
        edit(copy, architectures=[architecture])
        with pytest.raises(HarnessError, match=f"is a {architecture}, which is no sequence"):
            HuggingFace(str(copy))


def test_code_that_comes_with_a_checkpoint_is_never_run(copy: Path) -> None:
    (copy / "own.py").write_text("raise SystemExit('this ran')\n")
    edit(copy, model_type="own", auto_map={"AutoConfig": "own.Config"})
    with pytest.raises(HarnessError, match="needs code of its own, which is never run"):
        HuggingFace(str(copy))


def test_without_an_architecture_the_model_type_decides(copy: Path) -> None:
    edit(copy, architectures=None)
    assert HuggingFace(str(copy)).classes == NAMES


def test_tensors_that_have_no_place_are_noted(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["second_head.weight"] = torch.zeros(2, 2)
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    assert "1 tensors of the weights have no place" in HuggingFace(str(copy)).notes[0]


def test_a_checkpoint_without_its_tokenizer_is_refused(copy: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        (copy / name).unlink(missing_ok=True)
    with pytest.raises(HarnessError, match="has no tokenizer: none of"):
        HuggingFace(str(copy))


def test_a_tokenizer_of_another_model_is_one_sentence(copy: Path) -> None:
    byte_pairs(hf.GPT2Tokenizer, ["<|endoftext|>"]).save_pretrained(copy)
    with pytest.raises(HarnessError, match="failed on the samples 's0' to .*: IndexError"):
        HuggingFace(str(copy)).predict(samples())


def test_logits_that_are_no_numbers_are_told(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["classifier.bias"][1] = float("nan")
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    for multi_label in (False, True):
        with pytest.raises(HarnessError, match=r"sample 's0'.*the probability is nan"):
            HuggingFace(str(copy), multi_label=multi_label).predict(samples())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_tokens": 0}, "batch_tokens is a whole number of at least 1, not 0"),
        ({"max_length": True}, "max_length is a whole number of at least 1, not True"),
        ({"dtype": "int8"}, "dtype is one of float64, float32, bfloat16, float16, not 'int8'"),
        ({"device": "abacus"}, "the device 'abacus' cannot be used"),
        ({"classes": "gastritis"}, "must list the names"),
    ],
)
def test_fields_that_cannot_be_right_are_refused(
    bert: tuple[Path, Any, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(HarnessError, match=message):
        HuggingFace(str(bert[0]), **options)


# --- in a suite ---------------------------------------------------------------------------


def test_a_suite_runs_with_a_checkpoint_and_maps_its_labels(tmp_path: Path) -> None:
    _, network, tokenizer = make("bert", tmp_path / "checkpoint", num_labels=2)
    kind = "harness.classifiers.huggingface:HuggingFace"
    suite = write(
        tmp_path,
        changed(
            classifier={"kind": kind, "model": "./checkpoint"},
            label_map={"LABEL_0": "gastritis", "LABEL_1": "indigestion"},
            arms=["predicted"],
        ),
    )
    result = harness.run(suite, out=tmp_path / "out")
    assert result.not_run == 0
    notes = {
        "s1": "Burning after painkillers.",
        "s2": "Red lining at endoscopy.",
        "s3": "Full after rich meals.",
        "s4": "Burps in the evening.",
    }
    with Store.read(tmp_path / "out") as store:
        predictions = store.predictions("classifier")
    assert set(predictions) == set(notes)
    for sample, text in notes.items():
        shares = softmax(alone(network, tokenizer, text))
        found = predictions[sample]
        assert found.probabilities["indigestion"] == pytest.approx(shares[1], abs=1e-5)
        assert found.label == ("gastritis", "indigestion")[int(shares.argmax())]


def test_a_suite_with_a_checkpoint_that_is_not_there_sends_nothing(tmp_path: Path) -> None:
    kind = "harness.classifiers.huggingface:HuggingFace"
    suite = write(tmp_path, changed(classifier={"kind": kind, "model": "./none"}))
    with pytest.raises(HarnessError, match="there is no model folder .*none"):
        harness.run(suite, out=tmp_path / "out")
    assert not (tmp_path / "out" / "run.sqlite").exists()
