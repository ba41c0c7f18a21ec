"""What a network is given: texts cut to its positions, images as its processor is configured."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classification_checkpoints import (
    LARGE_INIT,
    TEXTS,
    alone,
    edit,
    hf,
    make,
    make_vit,
    normalised,
    picture,
    pictures,
    resized,
    samples,
    softmax,
    table,
)
from PIL import Image

from harness.classifiers.huggingface import HuggingFace
from harness.records import HarnessError, Part, Sample

# --- texts --------------------------------------------------------------------------------


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


def test_a_checkpoint_without_its_tokenizer_is_refused(copy: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        (copy / name).unlink(missing_ok=True)
    with pytest.raises(HarnessError, match="has no tokenizer: none of"):
        HuggingFace(str(copy))


# --- images -------------------------------------------------------------------------------


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
    with pytest.raises(
        HarnessError, match="classifies texts, and sample 'p0' is none; its input has image/png"
    ):
        HuggingFace(str(bert[0])).predict([image])
    for wrong in (samples()[0], both, Sample("two", image.input * 2)):
        with pytest.raises(
            HarnessError, match=f"classifies single images, and sample '{wrong.id}' is none"
        ):
            HuggingFace(str(tmp_path)).predict([wrong])
    with pytest.raises(HarnessError, match="reads images, which have no max_length"):
        HuggingFace(str(tmp_path), max_length=8)


def reader_of(folder: Path, **processor: Any) -> Any:
    make_vit(folder)
    hf.ViTImageProcessorPil(**processor).save_pretrained(folder)
    return HuggingFace(str(folder)).reader


def black(height: int, width: int) -> Sample:
    return picture(np.zeros((height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(32, 32), (61, 33), (300, 200)])
def test_an_image_that_is_only_resized_is_shown_whole(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    reader = reader_of(tmp_path, size={"height": 32, "width": 32})
    assert reader.extent(black(*size)) is None


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # The shorter edge becomes 48, and the middle 32 x 32 are kept.
        ((40, 40), (8 / 48, 8 / 48, 40 / 48, 40 / 48)),
        ((40, 80), (8 / 48, 32 / 96, 40 / 48, 64 / 96)),
        ((300, 100), (56 / 144, 8 / 48, 88 / 144, 40 / 48)),
    ],
)
def test_edges_that_are_cut_off_are_measured(
    tmp_path: Path, size: tuple[int, int], expected: tuple[float, ...]
) -> None:
    reader = reader_of(
        tmp_path, size={"shortest_edge": 48}, do_center_crop=True,
        crop_size={"height": 32, "width": 32},
    )  # fmt: skip
    assert reader.extent(black(*size)) == pytest.approx(expected, abs=0.01)


def test_a_border_that_is_added_is_measured(tmp_path: Path) -> None:
    reader = reader_of(
        tmp_path, do_resize=False, do_center_crop=True, crop_size={"height": 64, "width": 32}
    )
    # An image of 32 x 32 stands in the middle of 64 x 32, zeros above and below.
    assert reader.extent(black(32, 32)) == pytest.approx((-0.5, 0, 1.5, 1), abs=0.01)
