"""Metrics of whole calls: what is shared, what is refused, what is said of references and ranks."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from descents_for_tests import CNN, MLP, drawn

import harness
from harness.explainers.games import Played
from harness.explainers.metrics.evaluate import FAITHFULNESS, LOCALISATION, METRICS
from harness.explainers.metrics.metric import Measured
from harness.plugins import registered
from harness.records import Evidence, HarnessError, Metric, Part, Sample

NOTES = ["slow emptying at the scan, long diabetes", "burps after coffee and rich meals at night"]


class Words:
    """The probability of the second class rises with each of some words; counts what it is asked."""

    def __init__(self, **effects: float) -> None:
        self.effects, self.asked = effects, list[str]()

    def __call__(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        shares = [
            0.2 + sum(gain for word, gain in self.effects.items() if word in text) for text in texts
        ]
        return [[1 - share, share] for share in shares]


class Backwards:
    """Leave-one-out with its sign turned round."""

    settings: ClassVar[dict[str, Any]] = {}

    def budget(self, players: int) -> int:
        return players + 1

    least = budget

    def play(self, game: Any) -> Any:
        values = yield np.concatenate([np.ones((1, game.players), bool), ~np.eye(game.players, dtype=bool)])  # fmt: skip
        return Played(values[1:] - values[0])


def values_of(found: Any, metric: str, method: str) -> list[float | None]:
    return [m.value for m in found.measurements if (m.metric, m.method) == (metric, method)]


def test_every_built_in_metric_is_registered_and_described_by_its_name() -> None:
    assert set(METRICS) <= set(registered("metrics"))
    for name in METRICS:
        metric = harness.plugins.create("metrics", name)
        assert metric.metric.name == name
        assert metric.metric.subject == "attribution"
        assert metric.metric.about


def test_methods_and_metrics_never_ask_for_the_same_input_twice() -> None:
    classifier = Words(slow=0.3, scan=0.2, coffee=0.1)
    harness.evaluate(
        classifier, NOTES, ["kernel_shap", "lime", "leave_one_out", "sobol", "rise"],
        metrics=[*FAITHFULNESS, "seed_stability"], target=1,
    )  # fmt: skip
    # one evaluation finds out how many classes there are
    assert len(classifier.asked) - 1 == len(set(classifier.asked))


def test_a_metric_adds_only_the_sets_that_no_method_has_paid_for() -> None:
    alone, beside = Words(slow=0.3), Words(slow=0.3)
    harness.explain(alone, NOTES, "leave_one_out")
    harness.evaluate(beside, NOTES, "leave_one_out", metrics=["tau_loo"], references=())
    assert len(beside.asked) == len(alone.asked)


def test_a_method_that_is_right_is_ranked_above_random_and_one_turned_round_below() -> None:
    words = [f"word{i:02d}" for i in range(40)]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.permutation(words)[:8]) for _ in range(24)]
    effects = dict(zip(words, rng.uniform(-0.05, 0.08, 40), strict=True))
    found = harness.evaluate(
        Words(**effects), texts, {"right": "leave_one_out", "wrong": Backwards()},
        metrics=FAITHFULNESS, target=1,
    )  # fmt: skip
    table = found.ranking()
    ranks = {row.model: (row.rank, row.low, row.high) for row in table.rows}
    assert ranks == {"right": (1, 1, 1), "random": (2, 2, 2), "wrong": (3, 3, 3)}
    assert all(pair.p_adjusted < 0.001 for pair in table.comparisons)
    shown = {(row.method, row.metric): row.shown for row in found.rows}
    for metric in set(FAITHFULNESS) - {"infidelity"}:
        assert shown["right", metric] is True
        assert shown["wrong", metric] is False
        assert shown["everything", metric] is not True or metric in ("sufficiency", "monotonicity")
    assert shown["right", "infidelity"] is True  # its factor turns the wrong one round again
    assert shown["random", "deletion"] is None


def test_numbers_do_not_depend_on_the_order_of_samples_or_the_size_of_batches() -> None:
    network, x = MLP(), drawn(6, 4)
    one = harness.evaluate(network, x, ["kernel_shap", "saliency"], metrics=METRICS)
    two = harness.evaluate(network, x, ["kernel_shap", "saliency"], metrics=METRICS, batch_tokens=1)
    pairs = list(zip(one.measurements, two.measurements, strict=True))
    assert len(pairs) == 6 * 4 * len(METRICS)  # two methods, random and everything
    for a, b in pairs:
        assert (a.sample, a.method, a.metric) == (b.sample, b.method, b.metric)
        assert a.value == (None if b.value is None else pytest.approx(b.value, abs=1e-9))


def test_evidence_that_stands_in_no_record_is_given_beside_the_samples() -> None:
    x = torch.zeros(3, 6, dtype=torch.float64)
    x[:, 2] = 1
    network = torch.nn.Linear(6, 2).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.0] * 6, [0, 0, 5.0, 0, 0, 0]]))
    masks = np.arange(6)[None].repeat(3, 0) == 2
    found = harness.evaluate(
        network, x, "integrated_gradients", metrics=LOCALISATION, evidence=masks, target=1
    )
    for metric in LOCALISATION:
        assert values_of(found, metric, "integrated_gradients") == pytest.approx([1.0] * 3)
    assert values_of(found, "pointing_game", "everything") == pytest.approx([1 / 6] * 3)
    with pytest.raises(HarnessError, match="shape"):
        harness.evaluate(network, x, "saliency", metrics="iou", evidence=np.ones((3, 5)))


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (8, 8, 1)])
def test_a_mask_is_read_with_or_without_axes_of_one(shape: tuple[int, ...]) -> None:
    network, x = CNN(), drawn(1, 3, 8, 8)
    squares = np.arange(64).reshape(8, 8) < 20
    found = harness.evaluate(
        network, x, (), "feature", metrics="relevance_mass", channels="first", references=(),
        attributions={"planted": squares[None].astype(float)}, evidence=squares.reshape(1, *shape),
    )  # fmt: skip
    assert values_of(found, "relevance_mass", "planted") == [1.0]


def test_spans_of_a_text_are_evidence_for_the_words_they_touch() -> None:
    text = "slow emptying at the scan"
    sample = Sample("a", (Part(text),), evidence=(Evidence("spans", "why", ((0, 4), (21, 25))),))
    found = harness.evaluate(
        Words(slow=0.3, scan=0.4), [sample], "leave_one_out", metrics=LOCALISATION, target=1
    )
    assert [m.value for m in found.measurements if m.method == "leave_one_out"] == pytest.approx([1.0] * 6)  # fmt: skip
    given = harness.evaluate(
        Words(slow=0.3, scan=0.4), [text], "leave_one_out", metrics=LOCALISATION, target=1,
        evidence=[[(0, 4), (21, 25)]],
    )  # fmt: skip
    one, two = (
        [m.value for m in f.measurements if m.method == "everything"] for f in (found, given)
    )
    assert one == pytest.approx(two)


def test_evidence_of_several_names_has_metrics_of_its_own() -> None:
    text = "slow emptying at the scan"
    spans = (Evidence("spans", "speed", ((0, 4),)), Evidence("spans", "place", ((21, 25),)))
    sample = Sample("a", (Part(text),), evidence=spans)
    found = harness.evaluate(
        Words(slow=0.5), [sample], "leave_one_out", metrics=["pointing_game", "entropy"], target=1
    )
    assert values_of(found, "pointing_game", "leave_one_out") == [1.0]
    assert values_of(found, "pointing_game[speed]", "leave_one_out") == [1.0]
    assert values_of(found, "pointing_game[place]", "leave_one_out") == [0.0]
    assert "entropy[place]" not in found.metrics


def test_masks_of_an_image_go_the_way_of_the_image() -> None:
    from PIL import Image

    from harness.images import png_medium

    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[4:12, 20:28] = 255
    mask = png_medium(Image.fromarray(pixels[..., 0]))
    sample = Sample(
        "a", (Part(media=png_medium(Image.fromarray(pixels))),),
        evidence=(Evidence("mask", "square", mask),),
    )  # fmt: skip

    def bright(images: list[np.ndarray]) -> list[list[float]]:
        shares = [float(image.mean()) / 255 for image in images]
        return [[1 - share, share] for share in shares]

    found = harness.evaluate(
        bright, [sample], "leave_one_out", {"squares": Grid(10)}, target=1, removal="baseline",
        baseline=0, metrics=["pointing_game", "relevance_mass", "auprc"],
    )  # fmt: skip
    assert values_of(found, "pointing_game", "leave_one_out") == [1.0]
    # a square of 64 pixels lies in two patches of 100: 48 of its pixels in one, 16 in the other
    expected = (48 / 64 * 48 + 16 / 64 * 16) / 100
    assert values_of(found, "relevance_mass", "leave_one_out") == pytest.approx([expected])
    assert values_of(found, "pointing_game", "darkness") == [0.0]
    assert values_of(found, "pointing_game", "everything") == pytest.approx([2 / 16])


class Grid:
    """Squares of some pixels."""

    reads, within = "array", None

    def __init__(self, side: int) -> None:
        self.settings = {"side": side}

    def split(self, array: np.ndarray, sample: str = "") -> np.ndarray:
        rows, columns = (np.arange(n) // self.settings["side"] for n in array.shape[:2])
        return rows[:, None] * (columns.max() + 1) + columns[None]


def test_attributions_that_are_there_already_are_measured_as_those_of_methods() -> None:
    network, x = MLP(), drawn(4, 4)
    made = harness.explain(network, x, ["exact_shapley", "leave_one_out"], target=1)
    asked = [*FAITHFULNESS, "sparseness", "completeness", "max_sensitivity"]
    by_method = harness.evaluate(
        network, x, ["exact_shapley", "leave_one_out"], metrics=asked, target=1
    )
    given = harness.evaluate(network, x, attributions=made, metrics=asked, target=1)
    arrays = {"shap": [np.array(a.values) for a in made if a.method == "exact_shapley"]}
    plain = harness.evaluate(network, x, attributions=arrays, metrics=asked, target=1)
    for metric in asked[:-1]:
        expected = values_of(by_method, metric, "exact_shapley")
        assert values_of(given, metric, "exact_shapley") == pytest.approx(expected)
        assert values_of(plain, metric, "shap") == pytest.approx(expected)
    why = next(m.why for m in given.measurements if m.metric == "max_sensitivity")
    assert "given" in why
    with pytest.raises(HarnessError, match="none for target"):
        harness.evaluate(network, x, attributions=made, metrics="entropy", target=0)
    with pytest.raises(HarnessError, match="3 values for 4 units"):
        harness.evaluate(network, x, attributions={"a": np.ones((4, 3))}, metrics="entropy")


def test_the_agreement_of_methods_is_one_for_the_same_values_and_minus_one_turned_round() -> None:
    found = harness.evaluate(
        Words(slow=0.3, scan=0.2, long=0.1, at=-0.1), NOTES[:1],
        {"one": "leave_one_out", "two": "exact_shapley", "three": Backwards()},
        metrics="entropy", target=1,
    ).agreement.set_index(["a", "b", "measure"])["mean"]  # fmt: skip
    assert found["one", "two", "rank_correlation"] == pytest.approx(1.0)
    assert found["one", "three", "rank_correlation"] == pytest.approx(-1.0)
    assert found["one", "two", "feature_agreement"] == 1.0
    assert found["one", "three", "feature_agreement"] == 1.0
    assert found["one", "three", "sign_agreement"] == 0.0


def test_a_metric_of_ones_own_is_used_beside_those_that_are_built_in() -> None:
    class First:
        metric = Metric("first", "attribution", (None, None), "higher")
        family = "faithfulness"
        settings: ClassVar[dict[str, Any]] = {}

        def look(self, trial: Any) -> Measured:
            return Measured(float(trial.values[0]))

    found = harness.evaluate(Words(slow=0.5), NOTES[:1], "leave_one_out", metrics=[First(), "entropy"], target=1)  # fmt: skip
    assert values_of(found, "first", "leave_one_out") == pytest.approx([0.5])


def test_images_of_a_network_are_measured_by_every_metric() -> None:
    found = harness.evaluate(
        CNN(), drawn(2, 3, 8, 8), ["integrated_gradients", "grad_cam"], metrics=METRICS,
        channels="first", evidence=np.arange(64).reshape(1, 8, 8).repeat(2, 0) < 20,
    )  # fmt: skip
    mine = [m for m in found.measurements if m.method == "integrated_gradients"]
    assert [m for m in mine if m.value is None] == []
    assert np.isfinite([m.value for m in mine]).all()
    assert found.frame.shape == (len(found.measurements), 7)
    assert list(found.table.index) == ["integrated_gradients", "grad_cam", "random", "everything", "darkness"]  # fmt: skip


def test_a_method_that_fails_on_other_weights_loses_that_metric_alone() -> None:
    class Fussy(Backwards):
        def play(self, game: Any) -> Any:
            values = yield np.ones((1, game.players), bool)
            if round(float(values[0, 0]), 9) not in seen:
                raise HarnessError("these are not the weights I know")
            return Played(np.ones((game.players, 1)))

    network, x = MLP(), drawn(1, 4)
    seen = {round(harness.explain(network, x, "leave_one_out", target=0)[0].full or 0.0, 9)}
    found = harness.evaluate(
        network, x, {"fussy": Fussy(), "loo": "leave_one_out"}, target=0,
        metrics=["parameter_randomisation", "entropy"],
    )  # fmt: skip
    assert values_of(found, "parameter_randomisation", "fussy") == [None]
    assert values_of(found, "parameter_randomisation", "loo") != [None]
    assert values_of(found, "entropy", "fussy") == pytest.approx([np.log(4)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "nothing to be measured"),
        ({"method": "leave_one_out", "metrics": "delition"}, "did you mean 'deletion'"),
        ({"method": "leave_one_out", "references": ("all",)}, "references are"),
        ({"method": {"random": "leave_one_out"}}, "stands twice"),
        (
            {"method": "leave_one_out", "metrics": "entropy", "metric_settings": {"iou": {}}},
            "settings of 'iou'",
        ),
        (
            {"method": "leave_one_out", "metrics": "deletion", "metric_settings": {"deletion": {"step": 1}}},
            "step",
        ),
        ({"method": "leave_one_out", "metrics": [object()]}, "none of ask, look and compare"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused_in_a_sentence(options: dict, said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        harness.evaluate(Words(slow=0.1), NOTES, **options)


def test_ranking_needs_a_metric_with_a_better_and_a_worse() -> None:
    found = harness.evaluate(Words(slow=0.1), NOTES, "leave_one_out", metrics=["entropy"])
    assert found.ranking().reason
    for by, said in ((["entropy"], "no better"), (["deletion"], "no metric 'deletion'")):
        with pytest.raises(HarnessError, match=said):
            found.ranking(by)


def test_what_a_language_model_writes_is_measured_too() -> None:
    from test_generation import model_of, sample

    found = harness.evaluate(
        model_of("llama"), [sample()], "leave_one_out", "word",
        metrics=["deletion", "tau_loo", "max_sensitivity", "parameter_randomisation"],
    )  # fmt: skip
    mine = [m for m in found.measurements if m.method == "leave_one_out"]
    assert all(m.value is not None for m in mine), mine


def test_a_sample_of_one_unit_or_a_thousand_is_measured_or_says_why() -> None:
    texts = ["slow", " ".join(f"w{i:04d}" for i in range(1000))]
    found = harness.evaluate(
        Words(slow=0.5, w0007=0.2), texts, "leave_one_out",
        metrics=[*FAITHFULNESS, "seed_stability", "entropy"], target=1,
    )  # fmt: skip
    for one in found.measurements:
        assert (one.value is None) == bool(one.why)
    long = {m.metric: m.value for m in found.measurements if m.sample == "1" and m.method == "leave_one_out"}  # fmt: skip
    assert long["tau_loo"] == pytest.approx(1.0)


def test_evaluations_of_several_targets_hold_each() -> None:
    found = harness.evaluate(
        MLP(), drawn(2, 4), "exact_shapley", metrics=["completeness", "deletion"], target="all"
    )
    keys = [(m.sample, m.target) for m in found.measurements if (m.method, m.metric) == ("exact_shapley", "deletion")]  # fmt: skip
    assert keys == list(itertools.product(["0", "1"], ["0", "1", "2"]))
    assert max(v for v in values_of(found, "completeness", "exact_shapley") if v) < 1e-9
    assert dataclasses.replace(found, seed=1).rows[0].mean.value == found.rows[0].mean.value
