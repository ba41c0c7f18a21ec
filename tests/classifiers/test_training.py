"""The training: its split, its augmentations, its schedule, and that it learns reproducibly."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.classifiers.training import (
    Recipe,
    augmented,
    fit,
    grouped_split,
    normalised,
    rate,
    seeded,
)
from harness.records import HarnessError

ALL = ("flip", "turn", "brightness", "noise")


@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), min_size=2, max_size=60),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_a_split_uses_each_row_once_and_tears_no_cluster(
    rows: list[tuple[str, int]], share: float, seed: int
) -> None:
    labels, clusters = zip(*rows, strict=True)
    if len(set(clusters)) < 2:
        with pytest.raises(HarnessError, match="share one cluster"):
            grouped_split(labels, clusters, share, seed)
        return
    train, valid = grouped_split(labels, clusters, share, seed)
    assert sorted([*train.tolist(), *valid.tolist()]) == list(range(len(rows)))
    assert len(train)
    assert len(valid)
    assert not {clusters[row] for row in train} & {clusters[row] for row in valid}


def test_both_sides_of_a_split_see_a_rare_class() -> None:
    labels = ["common"] * 96 + ["rare"] * 4
    train, valid = grouped_split(labels, range(100), 0.1, seed=3)
    assert Counter(labels[row] for row in valid) == {"common": 10, "rare": 1}
    assert Counter(labels[row] for row in train) == {"common": 86, "rare": 3}


def test_another_seed_splits_otherwise_and_the_same_seed_alike() -> None:
    labels = ["a", "b"] * 50
    first, again, other = (grouped_split(labels, range(100), 0.2, seed)[1] for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_a_share_that_leaves_one_side_empty_is_refused(share: float) -> None:
    with pytest.raises(HarnessError, match="between 0 and 1"):
        grouped_split(["a", "b"], [0, 1], share, seed=0)


def images(count: int = 16, height: int = 8, width: int = 8) -> torch.Tensor:
    stream = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, height, width, generator=stream)


def symmetries(image: torch.Tensor) -> list[torch.Tensor]:
    return [torch.rot90(flipped, k, (1, 2)) for flipped in (image, image.flip(2)) for k in range(4)]


def test_flips_and_turns_give_the_eight_symmetries_and_nothing_else() -> None:
    before = images(200)
    after = augmented(before, ("flip", "turn"), torch.Generator().manual_seed(1))
    seen = Counter(
        next(k for k, turned in enumerate(symmetries(old)) if torch.equal(turned, new))
        for old, new in zip(before, after, strict=True)
    )
    assert set(seen) == set(range(8))


def test_images_that_are_not_square_keep_their_shape_when_turned() -> None:
    before = images(40, 6, 8)
    after = augmented(before, ("turn",), torch.Generator().manual_seed(1))
    kept = [torch.equal(old, new) for old, new in zip(before, after, strict=True)]
    turned = [torch.equal(old.flip(1, 2), new) for old, new in zip(before, after, strict=True)]
    assert any(kept)
    assert any(turned)
    assert all(a or b for a, b in zip(kept, turned, strict=True))


def test_brightness_and_noise_move_no_place_of_an_image() -> None:
    marked = torch.full((50, 3, 8, 8), 0.3)
    marked[:, :, 2, 5] = 0.9
    after = augmented(marked, ("brightness", "noise"), torch.Generator().manual_seed(2))
    assert (after.mean(dim=1).flatten(1).argmax(dim=1) == 2 * 8 + 5).all()
    assert not torch.equal(after, marked)


@pytest.mark.parametrize("names", [(), *((name,) for name in ALL), ALL])
def test_augmented_images_stay_in_range_and_follow_the_seed(names: tuple[str, ...]) -> None:
    first, again = (
        augmented(images(), names, torch.Generator().manual_seed(5))  # type: ignore[arg-type]
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert first.min() >= 0
    assert first.max() <= 1


def test_no_augmentation_leaves_images_alone() -> None:
    assert torch.equal(augmented(images(), (), torch.Generator()), images())


def test_normalised_images_have_mean_zero_and_deviation_one() -> None:
    given_images = images(64)
    mean = given_images.mean(dim=(0, 2, 3)).tolist()
    std = given_images.std(dim=(0, 2, 3)).tolist()
    found = normalised(given_images, mean, std)
    assert found.mean(dim=(0, 2, 3)).numpy() == pytest.approx([0, 0, 0], abs=1e-5)
    assert found.std(dim=(0, 2, 3)).numpy() == pytest.approx([1, 1, 1], abs=1e-5)


def test_the_rate_rises_to_one_and_falls_to_zero() -> None:
    rates = [rate(step, 200, 0.1) for step in range(200)]
    top = rates.index(max(rates))
    assert max(rates) == 1
    assert top in (19, 20)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 <= rates[-1] < 0.001
    assert rates[110] == pytest.approx(0.5)


class Linear(nn.Module):
    """Mean brightness of each half to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        halves = batch.mean(dim=1).split(4, dim=2)
        features = torch.stack([half.mean(dim=(1, 2)) for half in halves], dim=1)
        logits: torch.Tensor = self.layer(features)
        return logits


def halves(count: int, noisy: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose left (class 0) or right (class 1) half is bright; labels by chance if noisy."""
    stream = torch.Generator().manual_seed(7)
    targets = torch.randint(2, (count,), generator=stream)
    values = 60 + 20 * torch.rand(count, 3, 8, 8, generator=stream)
    for image, target in zip(values, targets, strict=True):
        image[:, :, 4 * int(target) : 4 * int(target) + 4] += 100
    if noisy:
        targets = torch.randint(2, (count,), generator=stream)
    return values.to(torch.uint8), targets


def trained(recipe: Recipe, noisy: bool = False) -> tuple[Linear, tuple[float, ...], int]:
    values, targets = halves(60, noisy)
    with seeded(recipe.seed):
        module = Linear()
    rows = np.arange(60)
    mean_std = ((0.4,) * 3, (0.2,) * 3)
    fitted = fit(module, values, targets, rows[:40], rows[40:], *mean_std, recipe)
    return module, fitted.losses, fitted.best_epoch


def test_training_learns_what_is_to_be_seen_and_leaves_evaluation_mode() -> None:
    module, losses, _ = trained(Recipe(epochs=20, learning_rate=0.1, batch_size=8, patience=20))
    values, targets = halves(60)
    told = module(normalised(values.float() / 255, (0.4,) * 3, (0.2,) * 3)).argmax(dim=1)
    assert (told == targets).all()
    assert losses[-1] < losses[0]
    assert not module.training


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before() -> None:
    recipe = Recipe(epochs=3, seed=4)
    first = trained(recipe)[0].state_dict()
    torch.rand(17)
    again = trained(recipe)[0].state_dict()
    other = trained(Recipe(epochs=3, seed=5))[0].state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_leaves_the_callers_random_stream_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    trained(Recipe(epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_training_stops_early_where_nothing_can_be_learned_and_keeps_the_best_epoch() -> None:
    recipe = Recipe(epochs=200, learning_rate=0.5, batch_size=8, patience=3)
    module, losses, best = trained(recipe, noisy=True)
    assert len(losses) == best + 3 < 200
    values, targets = halves(60, noisy=True)
    logits = module(normalised(values[40:].float() / 255, (0.4,) * 3, (0.2,) * 3))
    weight = 40 / (2 * torch.bincount(targets[:40]).float())
    smoothed = 0.9 * nn.functional.one_hot(targets[40:], 2) + 0.1 / 2
    each = weight[targets[40:]] * -(smoothed * logits.log_softmax(dim=1)).sum(dim=1)
    again = each.sum() / weight[targets[40:]].sum()
    assert again.item() == pytest.approx(min(losses), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1}, "batch_size"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"augmentation": ("crop",)}, "crop"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(options: dict[str, object], named: str) -> None:
    with pytest.raises(HarnessError, match=named):
        Recipe(**options)  # type: ignore[arg-type]


def test_a_training_that_diverges_says_what_to_change() -> None:
    values, targets = halves(20)
    with seeded(0):
        module = Linear()
    with torch.no_grad():
        module.layer.weight.fill_(float("nan"))
    rows = np.arange(20)
    with pytest.raises(HarnessError, match="lower learning_rate"):
        fit(module, values, targets, rows[:10], rows[10:], (0.4,) * 3, (0.2,) * 3, Recipe())


def test_norms_hold_the_average_of_the_training_images_after_few_steps() -> None:
    module = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * 64, 2))
    values, targets = halves(60)
    rows = np.arange(60)
    recipe = Recipe(epochs=1, batch_size=32, augmentation=())
    fit(module, values, targets, rows[:40], rows[40:], (0.0,) * 3, (1.0,) * 3, recipe)
    norm = module[0]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    expected = (values[:40].float() / 255).mean(dim=(0, 2, 3))
    assert torch.allclose(norm.running_mean, expected, atol=1e-5)
    assert norm.momentum == nn.BatchNorm2d(3).momentum


def test_a_rare_class_weighs_as_much_as_a_common_one() -> None:
    values = torch.zeros(100, 3, 8, 8, dtype=torch.uint8)  # nothing to be seen in them
    targets = torch.tensor([0] * 90 + [1] * 10)
    with seeded(0):
        module = Linear()
    rows = np.arange(100)
    recipe = Recipe(epochs=60, learning_rate=0.1, batch_size=100, augmentation=(), patience=60)
    fit(module, values, targets, rows, rows, (0.4,) * 3, (0.2,) * 3, recipe)
    shares = module(normalised(values[:1].float(), (0.4,) * 3, (0.2,) * 3)).softmax(dim=1)
    assert shares[0].tolist() == pytest.approx([0.5, 0.5], abs=0.02)
