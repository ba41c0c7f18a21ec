"""The network, its weights file, its training, and the built-in weights on forests never seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from harness import contracts
from harness.classifiers.mobilecoatnet import MobileCoAtNet
from harness.classifiers.mobilecoatnet.model import (
    SIZES,
    MobileCoAtNetModule,
    RelativeAttention,
    resized_table,
)
from harness.identity import sha256
from harness.images import to_png
from harness.octa.generator import generate_dataset
from harness.records import HarnessError, Media, Part, Sample

WEIGHTS = {"small": 1_185_927, "base": 3_202_897, "large": 5_879_657}
"""Numbers that training sets at 128 pixels and 3 classes, as the documentation states them."""


def network(size: str = "small", classes: int = 3, image_size: int = 64) -> MobileCoAtNetModule:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MobileCoAtNetModule(SIZES[size], classes, image_size).eval()


def randomised(module: nn.Module) -> nn.Module:
    """Bias tables away from their small beginnings, so that a wrong place in them shows."""
    stream = torch.Generator().manual_seed(3)
    for part in module.modules():
        if isinstance(part, RelativeAttention):
            part.table.data = torch.randn(part.table.shape, generator=stream)
    return module


def sample(pixels: np.ndarray, name: str = "s", label: str | None = None) -> Sample:  # type: ignore[type-arg]
    from PIL import Image

    png = to_png(Image.fromarray(pixels))
    return Sample(name, (Part(media=Media(sha256(png), "image/png", data=png)),), label=label)


def squares(count: int, seed: int = 0) -> list[Sample]:
    """Grey images with a bright square in the left or the right half."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        pixels = rng.integers(0, 80, (32, 32), dtype=np.uint8)
        label = ("left", "right")[index % 2]
        row, column = rng.integers(0, 24), rng.integers(0, 8) + 16 * (index % 2)
        pixels[row : row + 8, column : column + 8] = 230
        found.append(sample(pixels, f"{seed}-{index}", label))
    return found


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights trained on squares for a few epochs."""
    path = tmp_path_factory.mktemp("toy") / "toy.safetensors"
    MobileCoAtNet.train(
        squares(160), weights=str(path), image_size=32, epochs=8, seed=1, batch_size=16
    )
    return path


@pytest.mark.parametrize(("size", "expected"), WEIGHTS.items())
def test_each_size_has_the_stated_number_of_parameters(size: str, expected: int) -> None:
    counted = sum(p.numel() for p in MobileCoAtNetModule(SIZES[size], 3, 128).parameters())
    assert counted == expected


@pytest.mark.parametrize("size", SIZES)
def test_every_stage_halves_the_resolution_and_has_its_width_and_depth(size: str) -> None:
    module = network(size)
    x = torch.zeros(1, 3, 64, 64)
    stages = (module.stem, module.stage1, module.stage2, module.stage3, module.stage4)
    for number, stage in enumerate(stages):
        x = stage(x)
        assert x.shape == (1, SIZES[size].widths[number], 32 >> number, 32 >> number)
    depths = [
        sum(isinstance(layer, nn.Conv2d) for layer in module.stem),
        *(len(stage) for stage in stages[1:]),
    ]
    assert depths == list(SIZES[size].depths)


@pytest.mark.parametrize("shape", [(32, 32), (96, 96), (160, 64), (50, 77), (304, 304)])
@pytest.mark.parametrize("classes", [2, 7])
def test_any_image_size_and_class_count_works(shape: tuple[int, int], classes: int) -> None:
    with torch.no_grad():
        logits = network(classes=classes)(torch.rand(2, 3, *shape))
    assert logits.shape == (2, classes)
    assert logits.isfinite().all()


def test_the_gradient_reaches_every_parameter() -> None:
    module = network().train()
    logits = module(torch.rand(4, 3, 64, 64))
    functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    without = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_attention_equals_its_definition_written_out() -> None:
    height, width = 3, 4
    attention = randomised(RelativeAttention(8, 64, 4))
    assert isinstance(attention, RelativeAttention)
    x = torch.rand(1, 8, height, width)
    table = resized_table(attention.table, height, width)
    weight, shift = attention.queries_keys_values.weight, attention.queries_keys_values.bias
    places = [(r, c) for r in range(height) for c in range(width)]
    projected = torch.stack([weight @ x[0, :, r, c] + shift for r, c in places])
    query, key, value = projected.split(64, dim=1)
    expected = torch.zeros(len(places), 64)
    for head in range(2):
        part = slice(32 * head, 32 * head + 32)
        for i, (r, c) in enumerate(places):
            logits = torch.stack(
                [
                    query[i, part] @ key[j, part] / 32**0.5
                    + table[head, s - r + height - 1, d - c + width - 1]
                    for j, (s, d) in enumerate(places)
                ]
            )
            expected[i, part] = logits.softmax(dim=0) @ value[:, part]
    found = attention(x)[0].flatten(1).T
    assert torch.allclose(found, attention.out(expected), atol=1e-5)


def test_the_bias_depends_on_the_offset_between_two_places_alone() -> None:
    attention = randomised(RelativeAttention(8, 32, 4))
    assert isinstance(attention, RelativeAttention)
    bias = attention.bias(5, 6)[0].view(5, 6, 5, 6)
    assert torch.allclose(bias[:-1, :-1, :-1, :-1], bias[1:, 1:, 1:, 1:])
    assert not torch.allclose(bias[0, 0], bias[2, 2])


def test_bias_tables_are_untouched_at_their_own_size() -> None:
    table = torch.randn(4, 15, 15)
    assert resized_table(table, 8, 8) is table


@pytest.mark.parametrize(("height", "width"), [(4, 4), (16, 16), (11, 5), (1, 3), (1, 1)])
def test_a_resized_table_keeps_its_middle_and_a_linear_slope(height: int, width: int) -> None:
    across = torch.linspace(-1, 1, 15)
    table = (2 * across[:, None] + 3 * across[None, :] + 5)[None]
    found = resized_table(table, height, width)[0]
    rows = torch.linspace(-1, 1, 2 * height - 1) if height > 1 else torch.zeros(1)
    columns = torch.linspace(-1, 1, 2 * width - 1) if width > 1 else torch.zeros(1)
    assert torch.allclose(found, 2 * rows[:, None] + 3 * columns[None, :] + 5, atol=1e-5)


def test_training_finds_the_bright_square(toy: Path) -> None:
    unseen = squares(40, seed=9)
    told = [prediction.label for prediction in MobileCoAtNet(str(toy)).predict(unseen)]
    right = [label == one.label for label, one in zip(told, unseen, strict=True)]
    assert sum(right) >= 36


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        path = tmp_path / f"{name}.safetensors"
        MobileCoAtNet.train(squares(24), weights=str(path), image_size=32, epochs=1, seed=seed)
        written.append(path.read_bytes())
    assert written[0] == written[1] != written[2]


def test_the_card_states_what_was_trained_and_whose_design_it_is(toy: Path) -> None:
    card = toy.with_suffix(".md").read_text()
    assert sha256(toy.read_bytes()) in card
    parameters = sum(p.numel() for p in MobileCoAtNet(str(toy)).module.parameters())
    assert f"| parameters, counted | {parameters:,} |" in card
    for stated in ("left 80, right 80", "| seed | 1 |", "no figure of any paper", "best"):
        assert stated in card


def test_the_file_brings_back_the_network_and_its_classes(toy: Path) -> None:
    classifier = MobileCoAtNet(str(toy))
    assert isinstance(classifier, contracts.Classifier)
    assert classifier.classes == ("left", "right")
    assert classifier.image_size == 32
    assert classifier.revision == sha256(toy.read_bytes())
    with safe_open(toy, "pt") as opened:
        state = classifier.module.state_dict()
        assert set(opened.keys()) == set(state)
        for name, value in state.items():
            assert torch.equal(opened.get_tensor(name).to(value.dtype), value)


def test_half_precision_on_file_hardly_moves_the_output(toy: Path) -> None:
    module = MobileCoAtNet(str(toy)).module
    x = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        before = module(x).softmax(dim=1)
        for parameter in module.parameters():
            parameter.copy_(parameter * (1 + 2**-12))  # half a unit in the last place of 16 bits
        after = module(x).softmax(dim=1)
    assert (after - before).abs().max() < 0.02


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches_change_nothing(toy: Path, batch_size: int) -> None:
    samples = squares(20, seed=5)
    whole = MobileCoAtNet(str(toy), batch_size=32).predict(samples)
    split = MobileCoAtNet(str(toy), batch_size=batch_size).predict(samples[::-1])[::-1]
    for a, b in zip(whole, split, strict=True):
        assert a.sample == b.sample
        assert a.probabilities == pytest.approx(b.probabilities, abs=1e-6)
    assert MobileCoAtNet(str(toy)).predict([]) == []


def test_grey_and_colour_of_the_same_picture_are_told_alike(toy: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (32, 32), dtype=np.uint8)
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    first, second = MobileCoAtNet(str(toy)).predict([sample(grey, "g"), sample(colour, "c")])
    assert first.probabilities == second.probabilities


def test_an_enlarged_picture_is_told_like_the_small_one(toy: Path) -> None:
    small = np.random.default_rng(1).integers(0, 256, (32, 32), dtype=np.uint8)
    large = small.repeat(3, axis=0).repeat(3, axis=1)
    first, second = MobileCoAtNet(str(toy)).predict([sample(small, "s"), sample(large, "l")])
    assert first.probabilities == pytest.approx(second.probabilities, abs=1e-6)


def test_the_image_size_may_differ_from_that_of_training(toy: Path) -> None:
    classifier = MobileCoAtNet(str(toy), image_size=64)
    (prediction,) = classifier.predict(squares(1))
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert classifier.image_size == 64


def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"no weights file .*none\.safetensors.*harness train"):
        MobileCoAtNet(str(tmp_path / "none.safetensors"))


def test_unknown_built_in_weights_are_refused_with_those_there_are() -> None:
    with pytest.raises(HarnessError, match="'builtin:octo'; known are builtin:octa"):
        MobileCoAtNet("builtin:octo")


def test_wrong_files_are_refused(toy: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.safetensors"
    path.write_bytes(b"no weights at all")
    with pytest.raises(HarnessError, match="no readable safetensors"):
        MobileCoAtNet(str(path))
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(HarnessError, match="holds no MobileCoAtNet"):
        MobileCoAtNet(str(path))
    with safe_open(toy, "pt") as opened:
        header = json.loads(opened.metadata()["mobilecoatnet"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    for changed, message in (
        ({"size": "base"}, "does not hold the MobileCoAtNet"),
        ({"size": "huge"}, "no size 'huge'"),
        ({"classes": ["left", "left"]}, "listed twice"),
        ({"classes": ["a", "b", "c"]}, "does not hold the MobileCoAtNet"),
        ({"mean": None}, "damaged"),
    ):
        save_file(tensors, path, {"mobilecoatnet": json.dumps({**header, **changed})})
        with pytest.raises(HarnessError, match=message):
            MobileCoAtNet(str(path))


def test_what_is_not_one_image_is_refused_by_its_id(toy: Path) -> None:
    picture = squares(1)[0].input[0]
    for parts in ((Part("words"),), (picture, picture), (), (picture, Part("and words"))):
        with pytest.raises(HarnessError, match="odd-one"):
            MobileCoAtNet(str(toy)).predict([Sample("odd-one", parts)])


@pytest.mark.parametrize(("name", "value"), [("image_size", 16), ("batch_size", 0)])
def test_options_out_of_range_are_refused(toy: Path, name: str, value: int) -> None:
    with pytest.raises(HarnessError, match=name):
        MobileCoAtNet(str(toy), **{name: value})  # type: ignore[arg-type]


def test_training_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    path = str(tmp_path / "w.safetensors")
    with pytest.raises(HarnessError, match="cannot write 'builtin:octa'"):
        MobileCoAtNet.train(squares(8), weights="builtin:octa")
    with pytest.raises(HarnessError, match="'bare' has no label"):
        MobileCoAtNet.train([sample(np.zeros((32, 32), np.uint8), "bare")], weights=path)
    with pytest.raises(HarnessError, match="needs two or more"):
        MobileCoAtNet.train(squares(8)[::2], weights=path)
    with pytest.raises(HarnessError, match="no size 'tiny'"):
        MobileCoAtNet.train(squares(8), weights=path, image_size=32, size="tiny")
    torn = [replace(one, cluster=str(one.label)) for one in squares(8)]
    with pytest.raises(HarnessError, match="class '(left|right)' lies in a cluster"):
        MobileCoAtNet.train(torn, weights=path, image_size=32)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["fast", "full"])
def test_the_built_in_weights_know_the_stages_of_forests_never_seen(preset: str) -> None:
    samples = [
        sample(image.image, f"{image.forest}-{image.draw}", image.label)
        for image in generate_dataset(8, 3, 424_242, preset)  # type: ignore[arg-type]
    ]
    told = MobileCoAtNet("builtin:octa").predict(samples)
    recalls = []
    for label in ("healthy", "non-proliferative", "proliferative"):
        own = [p.label == label for p, s in zip(told, samples, strict=True) if s.label == label]
        assert len(own) == 8
        recalls.append(sum(own) / len(own))
    assert sum(recalls) / 3 >= 0.75


def test_the_built_in_weights_are_small_and_carry_their_card_and_scores() -> None:
    from harness.classifiers.mobilecoatnet.weights import locate

    path = locate("builtin:octa")
    assert path.stat().st_size < 6_000_000
    assert MobileCoAtNet("builtin:octa").revision in path.with_suffix(".md").read_text()
    measured = json.loads((path.parent / "scores.json").read_text())
    assert measured["weights_sha256"] == MobileCoAtNet("builtin:octa").revision
    for found in measured["scores"].values():
        assert found["forests"] >= 60
        assert found["mobilecoatnet"]["value"] >= 0.90
        assert found["difference"]["low"] > 0
