"""Remove and retrain, on data whose one telling feature is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.explainers.metrics.removed import sample_without
from harness.explainers.metrics.roar import roar
from harness.images import load_array, png_medium
from harness.records import HarnessError, Part, Sample

TELLING = {"pain": "a", "cough": "b", "itch": "c"}
FILL = [f"word{i}" for i in range(12)]


def notes(count: int, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        word = list(TELLING)[number % 3]
        words = [*rng.choice(FILL, 9, replace=False), word]
        text = " ".join(rng.permutation(words))
        found.append(Sample(f"{seed}-{number}", (Part(text),), TELLING[word]))
    return found


class Bayes:
    """Counts words by class, and says which class its words speak for."""

    classes = tuple(TELLING.values())

    def __init__(self, samples: list[Sample]) -> None:
        self.counts: dict[str, np.ndarray] = {}
        for sample in samples:
            for word in set(sample.text.split()):
                row = self.counts.setdefault(word, np.ones(3))
                row[self.classes.index(sample.label or "")] += 1

    def __call__(self, texts: list[str]) -> list[dict[str, float]]:
        rows = []
        for text in texts:
            logs = sum(
                (np.log(self.counts.get(word, np.ones(3))) for word in set(text.split())),
                np.zeros(3),
            )
            shares = np.exp(logs - logs.max())
            rows.append(dict(zip(self.classes, shares / shares.sum(), strict=True)))
        return rows


def test_accuracy_falls_to_chance_where_the_telling_word_goes_first() -> None:
    found = roar(Bayes, notes(90, 1), notes(60, 2), "leave_one_out", shares=(0.1, 0.5))
    assert found.before.value == 1.0
    frame = found.frame.set_index(["method", "share"])["accuracy"]
    # one word in ten is the telling one; without it the three classes are alike
    assert frame["leave_one_out", 0.1] < 0.6
    assert frame["random", 0.1] > 0.8
    below = found.below_random["leave_one_out"]
    assert below.low is not None
    assert below.low > 0
    assert {row.share for row in found.rows} == {0.1, 0.5}


def test_a_method_that_is_turned_round_leaves_the_telling_word() -> None:
    class Last:
        settings: Any = {}  # noqa: RUF012

        def budget(self, players: int) -> int:
            return players + 1

        least = budget

        def play(self, game: Any) -> Any:
            from harness.explainers.games import Played

            every = np.ones((1, game.players), bool)
            values = yield np.concatenate([every, ~np.eye(game.players, dtype=bool)])
            return Played(values[1:] - values[0])

    found = roar(Bayes, notes(60, 3), notes(60, 4), {"last": Last()}, shares=(0.5,))
    assert found.frame.set_index("method")["accuracy"]["last"] == 1.0
    high = found.below_random["last"].high
    assert high is not None
    assert high < 0


def test_rows_of_a_tensor_are_removed_to_the_mean_of_the_training_data() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(120, 6, generator=generator, dtype=torch.float64) + 3
    labels = (x[:, 2] > 3).long()
    given: list[torch.Tensor] = []

    def train(data: tuple[torch.Tensor, torch.Tensor]) -> torch.nn.Module:
        given.append(data[0])
        torch.manual_seed(0)
        network = torch.nn.Linear(6, 2).double()
        optimiser = torch.optim.LBFGS(network.parameters(), max_iter=30)

        def loss() -> torch.Tensor:
            optimiser.zero_grad()
            value = torch.nn.functional.cross_entropy(network(data[0] - 3), data[1])
            value.backward()
            return value

        optimiser.step(loss)
        with torch.no_grad():
            network.bias -= network.weight @ torch.full((6,), 3.0, dtype=torch.float64)
        return network

    found = roar(
        train, (x[:60], labels[:60]), (x[60:], labels[60:]), "integrated_gradients",
        shares=(1 / 6,), baseline=3.0,
    )  # fmt: skip
    frame = found.frame.set_index("method")["accuracy"]
    assert found.before.value > 0.9
    assert frame["integrated_gradients"] < frame["random"] - 0.1
    changed = given[1] != given[0]
    assert changed.sum(dim=1).max() == 1
    assert torch.equal(given[1][changed], given[0].mean(0).expand(60, 6)[changed])


def test_a_removed_patch_is_gone_from_the_picture_and_the_rest_is_as_before() -> None:
    from PIL import Image

    import harness

    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3)).astype(np.uint8)
    sample = Sample("a", (Part(media=png_medium(Image.fromarray(pixels))),), "x")
    (one,) = harness.explain(
        lambda images: [[0.5 + image[0, 0, 0] / 1000, 0.5 - image[0, 0, 0] / 1000] for image in images],
        [sample], "leave_one_out", "patch",
    )  # fmt: skip
    left = load_array(sample_without(sample, one, [1], "baseline", 7).media[0])
    box = one.units[1].box
    assert box is not None
    top, start, height, width = box
    inside = np.zeros((32, 48), bool)
    inside[top : top + height, start : start + width] = True
    assert (left[inside] == 7).all()
    assert (left[~inside] == pixels[~inside]).all()


@pytest.mark.parametrize(
    ("train", "shares", "said"),
    [
        ([Sample("a", (Part("x"),))], (0.5,), "labels"),
        (["text"], (0.5,), "labels"),
        ([], (0.5,), "labels"),
        ((torch.ones(2, 3), [1]), (0.5,), "2 rows came with 1 labels"),
        (notes(3, 0), (0.0,), "shares"),
    ],
)
def test_data_without_labels_and_strange_shares_are_refused(
    train: Any, shares: Any, said: str
) -> None:
    with pytest.raises(HarnessError, match=said):
        roar(Bayes, train, notes(3, 0), shares=shares)
