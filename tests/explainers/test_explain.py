"""`harness.explain`: classifiers and samples in, records out, each what the classifier itself says."""

from __future__ import annotations

import copy
import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classification_checkpoints import TEXTS, alone, make, make_vit, picture, pictures, samples
from games_for_tests import brute_force_shapley

import harness
from harness import serial
from harness.classifiers.functions import Callable
from harness.classifiers.huggingface import HuggingFace
from harness.classifiers.mobilecoatnet import MobileCoAtNet
from harness.explainers.division import label_map
from harness.explainers.explanation import Explanation
from harness.explainers.models.inputs import UNKNOWN_WORD
from harness.records import Attribution, HarnessError, Part, Sample

# What single precision may leave of outputs of about 10, and of sums of several of them.
SINGLE = 2e-4
PERTURBATIONS = [
    "occlusion", "leave_one_out", "lime", "kernel_shap", "permutation_shap", "exact_shapley",
    "owen_values", "sobol", "rise",
]  # fmt: skip


def weighed(texts: list[str]) -> list[list[float]]:
    """Probability of the second class by the letters that are there: additive on single letters."""
    weights = {"a": 0.1, "b": -0.2, "c": 0.3, "d": 0.05}
    shares = [0.5 + sum(w for letter, w in weights.items() if letter in t) for t in texts]
    return [[1 - share, share] for share in shares]


def values(explanation: Explanation) -> np.ndarray[Any, Any]:
    (attribution,) = explanation
    return np.array(attribution.values, dtype=float)


# --- what is asked ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "gpt2", "llama"])
@pytest.mark.parametrize("removal", ["mask", "delete"])
def test_shapley_values_of_words_are_those_of_the_network_alone(
    tmp_path: Path, kind: str, removal: str
) -> None:
    folder, network, tokenizer = make(kind, tmp_path)
    text = "worn lining  no pain"
    words = ["worn ", "lining  ", "no ", "pain"]
    classifier = HuggingFace(str(folder))
    ids = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    owner = []
    for (start, end), special in zip(
        ids["offset_mapping"], ids["special_tokens_mask"], strict=True
    ):
        bare = text[start:end].lstrip()
        first = end - len(bare) if bare else start
        owner.append(-1 if special else sum(first >= e for e in (5, 13, 16)))
    specials = ("mask_token_id", "unk_token_id", "eos_token_id")
    stand_in = next(one for name in specials if (one := getattr(tokenizer, name)) is not None)

    def logits(kept: np.ndarray[Any, Any]) -> list[float]:
        row = []
        for token, place in zip(ids["input_ids"], owner, strict=True):
            if place < 0 or kept[place]:
                row.append(token)
            elif removal == "mask":
                row.append(stand_in)
        if not row:
            row = [stand_in if stand_in is not None else tokenizer.eos_token_id]
        with torch.no_grad():
            return network(input_ids=torch.tensor([row])).logits[0].tolist()

    found = harness.explain(
        classifier, text, "exact_shapley", "word", removal=removal, target="all"
    )
    expected = brute_force_shapley(lambda s: np.array([logits(kept) for kept in s]), 4)
    assert [unit.text for unit in found[0].units] == words
    for column, attribution in enumerate(found):
        assert attribution.values == pytest.approx(expected[:, column], abs=SINGLE)
        assert attribution.full == pytest.approx(
            alone(network, tokenizer, text)[column], abs=SINGLE
        )


def test_every_method_gives_each_sample_its_record_whatever_shares_its_batch(bert: Path) -> None:
    classifier = HuggingFace(str(bert), dtype="float64")
    texts = TEXTS[:5]
    together = harness.explain(classifier, texts, PERTURBATIONS[:5], "word")
    assert [(a.sample, a.method) for a in together] == list(
        itertools.product([str(i) for i in range(5)], PERTURBATIONS[:5])
    )
    for place, text in enumerate(texts):
        single = harness.explain(
            classifier,
            [Sample(str(place), (Part(text),))],
            PERTURBATIONS[:5],
            "word",
            batch_tokens=1,
        )
        for one, other in zip(together[5 * place : 5 * place + 5], single, strict=True):
            assert one.values == pytest.approx(other.values, abs=1e-9)
            assert one.units == other.units


def test_the_classifier_is_left_as_it_was(bert: Path) -> None:
    classifier = HuggingFace(str(bert))
    classifier.module.train()
    before = copy.deepcopy(classifier.module.state_dict())
    size = len(classifier.reader.tokenizer)
    harness.explain(classifier, TEXTS[:2], ["kernel_shap", "leave_one_out"], "token")
    assert classifier.module.training
    assert all(part.training for part in classifier.module.modules())
    assert all(value.requires_grad for value in classifier.module.parameters())
    assert len(classifier.reader.tokenizer) == size
    after = classifier.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_no_input_is_evaluated_twice_by_methods_and_units_that_share_it() -> None:
    asked: list[str] = []

    def counted(texts: list[str]) -> list[list[float]]:
        asked.extend(texts)
        return weighed(texts)

    classifier = Callable(function=counted, classes=["no", "yes"])
    text = "a. b c. d."
    harness.explain(classifier, text, PERTURBATIONS, "word", removal="delete")
    harness_rows = len(asked)
    assert harness_rows == len(set(asked)) == 2**4


def test_a_pair_of_words_and_sentences_that_leave_the_same_text_is_paid_for_once() -> None:
    rows = 0

    def counted(texts: list[str]) -> list[list[float]]:
        nonlocal rows
        rows += len(texts)
        return weighed(texts)

    from harness.explainers.division import divide
    from harness.explainers.engine import Engine
    from harness.explainers.models.choose import model_of
    from harness.explainers.models.reading import Removal
    from harness.explainers.units.text import Sentence, Word

    sample = Sample("x", (Part("Pain came. Scan done."),))
    model = model_of(counted, [sample], ["no", "yes"])
    engine, reading = Engine(model), model.read(sample, Removal())
    words, sentences = divide(reading, [Word()], "word"), divide(reading, [Sentence()], "sentence")
    of_words = engine.outputs(reading, words, np.array([[1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool))
    paid = rows
    of_sentences = engine.outputs(reading, sentences, np.array([[1, 0]], dtype=bool))
    assert rows == paid == 2
    assert of_words[0] == pytest.approx(of_sentences[0])


# --- targets and outputs ------------------------------------------------------------------


def test_targets_are_named_by_class_place_rank_or_contrast(bert: Path) -> None:
    classifier = HuggingFace(str(bert))
    by_class = {
        a.target: np.array(a.values) for a in harness.explain(classifier, TEXTS[0], target="all")
    }
    names = list(classifier.classes)
    probabilities = classifier.predict(samples(TEXTS[:1]))[0].probabilities
    ranked = sorted(names, key=lambda name: -probabilities[name])
    told = {
        "predicted": ranked[0], None: ranked[0], "runner_up": ranked[1], names[1]: names[1], 2: names[2],
    }  # fmt: skip
    for target, name in told.items():
        (attribution,) = harness.explain(classifier, TEXTS[0], target=target)
        assert attribution.target == name
        assert attribution.values == pytest.approx(by_class[name], abs=SINGLE)
    for wrong in ("nobody", 7, (names[0], names[0])):
        with pytest.raises(HarnessError, match="sample '0'"):
            harness.explain(classifier, TEXTS[0], target=wrong)


@pytest.mark.parametrize(
    "method",
    ["kernel_shap", "permutation_shap", "owen_values", "lime", "occlusion", "rise", "saliency",
     "integrated_gradients"],
)  # fmt: skip
def test_a_contrast_is_the_difference_of_its_two_classes_at_every_budget(
    bert: Path, method: str
) -> None:
    # 14 words: far more sets than the default budget pays for. A method that is linear in the
    # output is so in its estimates, since all targets share the same sets.
    classifier, text = HuggingFace(str(bert), dtype="float64"), TEXTS[6]
    options: dict[str, Any] = {"reduce": "sum"}
    if method == "saliency":
        options["settings"] = {"absolute": False}
    if method == "integrated_gradients":
        options["settings"] = {"steps": 20, "nodes": "midpoint", "incomplete": True}
    (contrast,) = harness.explain(
        classifier, text, method, target=("predicted", "runner_up"), **options
    )
    by_class = {
        a.target: np.array(a.values)
        for a in harness.explain(classifier, text, method, target="all", **options)
    }
    first, second = contrast.target.split(" - ")
    assert contrast.values == pytest.approx(by_class[first] - by_class[second], abs=1e-9)


def test_a_number_as_target_stands_for_the_same_class_in_many_texts(bert: Path) -> None:
    classifier = HuggingFace(str(bert))
    found = harness.explain(classifier, TEXTS, "leave_one_out", target=1)
    assert {a.target for a in found} == {classifier.classes[1]}
    assert len(found) == len(TEXTS)


@pytest.mark.parametrize(
    ("output", "of"),
    [
        ("logit", lambda z: z),
        ("probability", lambda z: np.exp(z) / np.exp(z).sum()),
        ("log_probability", lambda z: z - np.log(np.exp(z).sum())),
    ],
)
def test_outputs_are_on_the_scale_that_is_asked_for(bert: Path, output: str, of: Any) -> None:
    classifier = HuggingFace(str(bert))
    network, tokenizer = classifier.module, classifier.reader.tokenizer
    found = harness.explain(classifier, TEXTS[0], "leave_one_out", output=output, target="all")
    logits = np.array(alone(network, tokenizer, TEXTS[0]))
    assert [a.full for a in found] == pytest.approx(of(logits), abs=SINGLE)


def test_the_default_output_is_the_logit_where_there_is_one(bert: Path) -> None:
    assert harness.explain(HuggingFace(str(bert)), "pain")[0].output == "logit"
    assert harness.explain(weighed, "a b")[0].output == "probability"
    with pytest.raises(HarnessError, match="no logits; use output probability"):
        harness.explain(weighed, "a b", output="logit")


def test_a_single_logit_is_the_log_odds_of_the_second_class(tmp_path: Path) -> None:
    folder, network, tokenizer = make("bert", tmp_path, num_labels=1)
    classifier = HuggingFace(str(folder), classes=["no", "yes"])
    no, yes = harness.explain(classifier, TEXTS[0], target="all")
    (logit,) = alone(network, tokenizer, TEXTS[0])
    assert (no.full, yes.full) == pytest.approx((-logit, logit), abs=SINGLE)
    assert np.array(no.values) == pytest.approx(-np.array(yes.values))
    (share,) = harness.explain(classifier, TEXTS[0], target="yes", output="probability")
    assert share.full == pytest.approx(1 / (1 + np.exp(-logit)), abs=SINGLE)


# --- inputs of every kind -----------------------------------------------------------------


def test_a_function_of_texts_is_explained_exactly() -> None:
    (found,) = harness.explain(weighed, "a b c", "kernel_shap", target=1)
    assert [u.text for u in found.units] == ["a ", "b ", "c"]
    assert found.values == pytest.approx([0.1, -0.2, 0.3])
    assert (found.completeness_error, found.evaluations) == (pytest.approx(0, abs=1e-9), 8)


@pytest.mark.parametrize(
    ("removal", "baseline", "left"),
    [
        ("mask", None, f"a  {UNKNOWN_WORD} c"),
        ("delete", None, "a  c"),
        ("mask", "?", "a  ? c"),
        ("baseline", "", "a   c"),
    ],
)
def test_a_removed_word_leaves_what_the_removal_says(
    removal: str, baseline: Any, left: str
) -> None:
    seen: list[str] = []

    def noted(texts: list[str]) -> list[list[float]]:
        seen.extend(texts)
        return weighed(texts)

    harness.explain(noted, "a  b c", "leave_one_out", removal=removal, baseline=baseline)
    assert left in seen
    assert "a  b c" in seen


def test_images_are_explained_on_the_pixels_of_the_network(tmp_path: Path) -> None:
    network = make_vit(tmp_path)
    from transformers import ViTImageProcessorPil

    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    classifier = HuggingFace(str(tmp_path))
    sample = pictures()[4]
    (found,) = harness.explain(
        classifier, [sample], "leave_one_out", harness_patch(16), target=0, baseline=51
    )
    assert [u.box for u in found.units] == [
        (0, 0, 16, 16),
        (0, 16, 16, 16),
        (16, 0, 16, 16),
        (16, 16, 16, 16),
    ]
    (encoded,) = classifier.reader.encode([sample])
    pixels = encoded.tensors["pixel_values"][None]
    with torch.no_grad():
        full = network(pixel_values=pixels).logits[0, 0].item()
        for place, (top, left, height, width) in enumerate(u.box for u in found.units if u.box):
            changed = pixels.clone()
            changed[:, :, top : top + height, left : left + width] = (51 / 255 - 0.5) / 0.5
            value = full - network(pixel_values=changed).logits[0, 0].item()
            assert found.values[place] == pytest.approx(value, abs=SINGLE)
    assert np.array_equal(np.unique(label_map(found.segmentation[0])), [0, 1, 2, 3])


def harness_patch(size: int) -> Any:
    from harness.explainers.units.images import Patch

    return Patch(size)


def test_the_projects_own_image_classifier_is_explained() -> None:
    classifier = MobileCoAtNet("builtin:octa")
    (sample,) = [picture(np.random.default_rng(5).integers(0, 256, (128, 128, 3), dtype=np.uint8))]
    found = harness.explain(classifier, [sample], "permutation_shap", ["superpixel"], target="all")
    told = classifier.predict([sample])[0].probabilities
    logits = np.array([a.full for a in found])
    assert list(np.exp(logits) / np.exp(logits).sum()) == pytest.approx(
        list(told.values()), abs=1e-9
    )
    assert all(a.completeness_error < 1e-9 for a in found if a.completeness_error is not None)


def test_text_and_image_together_are_divided_each_by_its_own_unit() -> None:
    def judged(inputs: list[Any]) -> list[list[float]]:
        rows = []
        for image, text in inputs:
            share = 0.2 + 0.3 * ("pain" in text) + 0.4 * (image[0, 0, 0] > 100)
            rows.append([1 - share, share])
        return rows

    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[:16, :16] = 255
    (found,) = harness.explain(
        judged, [(image, "some pain")], "exact_shapley", [harness_patch(16), "word"],
        target=1, removal="mask",
    )  # fmt: skip
    texts = [(unit.part, unit.text) for unit in found.units]
    assert texts == [(0, "")] * 4 + [(1, "some "), (1, "pain")]
    by_unit = np.array(found.values, dtype=float)
    assert by_unit[5] == pytest.approx(0.3)
    assert by_unit[4] == pytest.approx(0)
    assert by_unit.sum() == pytest.approx(found.full - found.empty)


def test_a_torch_module_of_a_table_is_explained_by_column() -> None:
    torch.manual_seed(0)
    module = torch.nn.Linear(4, 3).double()
    rows = torch.randn(5, 4, dtype=torch.float64)
    baseline = torch.randn(1, 4, dtype=torch.float64)
    found = harness.explain(
        module, rows, "kernel_shap", target=2, baseline=baseline, names=list("abcd")
    )
    for attribution, row in zip(found, rows, strict=True):
        assert [u.text for u in attribution.units] == list("abcd")
        truth = module.weight[2] * (row - baseline[0])
        assert attribution.values == pytest.approx(truth.tolist(), abs=1e-9)


def test_a_pandas_frame_is_explained_by_column() -> None:
    import pandas as pd

    frame = pd.DataFrame({"age": [0.5, 1.0], "dose": [2.0, 3.0]})

    def risk(rows: pd.DataFrame) -> Any:
        share = 0.1 + 0.2 * rows["age"] + 0.1 * rows["dose"]
        return np.stack([1 - share, share], axis=1)

    first, second = harness.explain(risk, frame, "kernel_shap", target=1, classes=["no", "yes"])
    assert [unit.text for unit in first.units] == ["age", "dose"]
    assert (first.target, first.output) == ("yes", "probability")
    assert first.values == pytest.approx([0.1, 0.2])
    assert second.values == pytest.approx([0.2, 0.3])
    module = torch.nn.Linear(2, 2)
    (of_module, _) = harness.explain(module, frame, "integrated_gradients", target=0)
    truth = (module.weight[0] * torch.tensor([0.5, 2.0])).tolist()
    assert of_module.values == pytest.approx(truth, abs=SINGLE)
    with pytest.raises(HarnessError, match="holds what is no number"):
        harness.explain(risk, frame.assign(sex=["f", "m"]))
    with pytest.raises(HarnessError, match="takes samples; a table is for"):
        harness.explain(3, frame)


def test_several_tensors_further_arguments_and_masks_of_features_go_through() -> None:
    class Two(torch.nn.Module):
        def forward(
            self, x: torch.Tensor, y: torch.Tensor, scale: torch.Tensor, sign: int
        ) -> torch.Tensor:
            total = x.sum(1) * scale + y.flatten(1).sum(1)
            return torch.stack([total * sign, -total], dim=1)

    from harness.explainers.units.images import Mask

    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    y = torch.tensor([[[1.0], [5.0]], [[2.0], [6.0]]])
    scale = torch.tensor([10.0, 100.0])
    first, second = harness.explain(Two(), (x, y), "exact_shapley", target=0, arguments=(scale, 1))
    assert first.values == pytest.approx([10, 20, 1, 5])
    assert second.values == pytest.approx([300, 400, 2, 6])
    named = harness.explain(
        Two(), {"x": x, "y": y}, "exact_shapley", target=1, arguments={"scale": scale, "sign": 1}
    )
    assert named[0].values == pytest.approx([-10, -20, -1, -5])
    module = torch.nn.Linear(3, 2)
    (grouped,) = harness.explain(
        module, torch.ones(1, 3), "exact_shapley", Mask([0, 1, 1]), target=0
    )
    weights = module.weight[0].tolist()
    assert grouped.values == pytest.approx([weights[0], weights[1] + weights[2]], abs=SINGLE)


def test_token_ids_are_explained_as_they_are(tmp_path: Path) -> None:
    _, network, tokenizer = make("gpt2", tmp_path)
    network.config.pad_token_id = -1
    ids = torch.tensor(
        [tokenizer("no pain")["input_ids"], tokenizer("in the scan")["input_ids"][:3]]
    )
    unknown = tokenizer.unk_token_id
    found = harness.explain(network, ids, "leave_one_out", target=0, baseline=unknown)
    for attribution, row in zip(found, ids, strict=True):
        with torch.no_grad():
            full = network(input_ids=row[None]).logits[0, 0].item()
            for place in range(len(row)):
                changed = row.clone()
                changed[place] = unknown
                value = full - network(input_ids=changed[None]).logits[0, 0].item()
                assert attribution.values[place] == pytest.approx(value, abs=SINGLE)


def test_a_module_with_its_preprocessing_has_logits_of_samples() -> None:
    torch.manual_seed(1)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 2))

    def prepared(arrays: list[Any]) -> torch.Tensor:
        return torch.stack([torch.from_numpy(a).permute(2, 0, 1).float() / 255 for a in arrays])

    classifier = Callable(module=module, preprocess=prepared, classes=["no", "yes"])
    array = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    (found,) = harness.explain(classifier, [array], "exact_shapley", harness_patch(2), target="yes")
    weights = module[1].weight[1].reshape(3, 4, 4)
    image = prepared([array])[0]
    truth = [
        (weights * image)[:, t : t + 2, s : s + 2].sum().item() for t in (0, 2) for s in (0, 2)
    ]
    (zeroed,) = harness.explain(
        classifier, [array], "exact_shapley", harness_patch(2), target="yes", baseline=0.0
    )
    assert zeroed.values == pytest.approx(truth, abs=SINGLE)
    assert found.output == "logit"


def test_images_of_a_module_are_divided_into_patches_unless_they_are_a_single_one() -> None:
    torch.manual_seed(1)
    for side, unit, count in [(40, "patch", 9), (16, "feature", 256)]:
        module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * side**2, 2)).double()

        def prepared(arrays: list[Any]) -> torch.Tensor:
            return torch.stack(
                [torch.from_numpy(a).permute(2, 0, 1) / 255 for a in arrays]
            ).double()

        array = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        classifier = Callable(module=module, preprocess=prepared, classes=["no", "yes"])
        image = torch.from_numpy(array).permute(2, 0, 1)[None].double()
        own = harness.explain(classifier, [array], "input_x_gradient", target="yes")
        plain = harness.explain(module, image / 255, "input_x_gradient", channels="first", target=1)
        assert {found.unit for found in (*own, *plain)} == {unit}
        assert len(values(own)) == len(values(plain)) == count
        truth = (module[1].weight[1].reshape(3, side, side) * image[0] / 255).sum(dim=0)
        first = slice(0, 16 if unit == "patch" else 1)
        assert values(plain)[0] == pytest.approx(truth[first, first].sum().item(), abs=1e-9)
        np.testing.assert_allclose(values(own), values(plain), atol=1e-4)


def test_tensors_that_are_no_images_or_not_all_are_divided_into_features() -> None:
    class Both(torch.nn.Module):
        def forward(self, image: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
            return torch.cat([image.mean(dim=(2, 3)), row], dim=1)

    image, row = torch.ones(1, 2, 20, 20), torch.ones(1, 2)
    (without,) = harness.explain(Both(), (image, row), "leave_one_out", target=0)
    assert (without.unit, len(without.units)) == ("feature", 2 * 400 + 2)
    (both,) = harness.explain(Both(), (image, row), "leave_one_out", target=2, channels="first")
    assert (both.unit, len(both.units)) == ("feature", 400 + 2)
    assert both.values == pytest.approx((0.0,) * 400 + (1.0, 0.0))


# --- lengths ------------------------------------------------------------------------------


def test_empty_text_one_word_and_a_thousand_words(bert: Path) -> None:
    classifier = HuggingFace(str(bert), max_length=64)
    for empty in ("", "  \n"):
        with pytest.raises(HarnessError, match="sample '0' is empty|no word to be explained"):
            harness.explain(classifier, empty)
        with pytest.raises(HarnessError, match="no word to be explained"):
            harness.explain(weighed, empty if not empty else "")
    (single,) = harness.explain(classifier, "pain")
    assert single.values == pytest.approx([single.full - single.empty])
    (long,) = harness.explain(classifier, "pain scan " * 500, "leave_one_out")
    assert len(long.values) == 1000
    seen = [value is not None for value in long.values]
    assert any(seen)
    assert seen == sorted(seen, reverse=True)
    assert not all(seen)
    assert "the rest is not seen" in long.notes[0]


def test_units_beyond_the_models_positions_are_not_seen_and_never_zero(bert: Path) -> None:
    classifier = HuggingFace(str(bert), max_length=6)
    text = "no pain in the evening after coffee"
    (found,) = harness.explain(classifier, text, "kernel_shap", "word")
    whole = HuggingFace(str(bert))
    (unlimited,) = harness.explain(whole, text, "kernel_shap", "word")
    assert None in found.values
    assert None not in unlimited.values
    assert len(found.values) == len(unlimited.values)
    (tokens,) = harness.explain(classifier, text, "kernel_shap", "token")
    assert "".join(unit.text for unit in tokens.units) == text
    assert tokens.values[-1] is None


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2", "llama"])
@pytest.mark.parametrize("unit", ["token", "word", "sentence", "paragraph"])
def test_units_put_together_give_back_the_text(tmp_path: Path, kind: str, unit: str) -> None:
    folder, _, _ = make(kind, tmp_path)
    text = "  no pain.  In the\tevening,\n\nscan! 😀 café "
    (found,) = harness.explain(
        HuggingFace(str(folder)), text, "leave_one_out", unit, removal="delete"
    )
    assert "".join(u.text for u in found.units) == text
    assert all(text[u.start : u.end] == u.text for u in found.units)


# --- records ------------------------------------------------------------------------------


def test_attributions_round_trip_through_json_and_safetensors(bert: Path, tmp_path: Path) -> None:
    classifier = HuggingFace(str(bert), max_length=8)
    found = harness.explain(classifier, TEXTS[:3], ["kernel_shap", "leave_one_out"], target="all")
    for attribution in found:
        assert serial.loads(Attribution, serial.dumps(attribution)) == attribution
    found.save(tmp_path / "why.safetensors")
    assert Explanation.load(tmp_path / "why.safetensors") == found
    frame = found.frame
    assert len(frame) == sum(len(a.units) for a in found)
    assert set(frame["method"]) == {"kernel_shap", "leave_one_out"}
    assert frame["value"].isna().sum() == sum(a.values.count(None) for a in found)
    (tmp_path / "why.safetensors.json").unlink()
    with pytest.raises(HarnessError, match="an explanation is two files"):
        Explanation.load(tmp_path / "why.safetensors")


def test_one_seed_repeats_exactly_and_another_does_not(bert: Path) -> None:
    classifier, text = HuggingFace(str(bert)), TEXTS[6]
    first = harness.explain(classifier, text, "kernel_shap", seed=3)
    assert harness.explain(classifier, text, "kernel_shap", seed=3) == first
    assert values(harness.explain(classifier, text, "kernel_shap", seed=4)).tolist() != list(
        first[0].values
    )


def test_explainers_and_explanations_can_be_sent_to_another_process(bert: Path) -> None:
    from harness.explainers.attributions.kernel_shap import KernelShap

    classifier = HuggingFace(str(bert))
    sent_method, sent_classifier = pickle.loads(pickle.dumps((KernelShap(), classifier)))
    found = harness.explain(sent_classifier, TEXTS[0], sent_method)
    assert pickle.loads(pickle.dumps(found)) == found
    assert found[0].values == harness.explain(classifier, TEXTS[0], "kernel_shap")[0].values
    assert found[0].method == "kernel_shap"


def test_progress_is_told_until_all_is_done(bert: Path) -> None:
    told: list[tuple[int, int]] = []
    harness.explain(HuggingFace(str(bert)), TEXTS[:2], progress=lambda *now: told.append(now))
    assert told
    assert all(done <= total for done, total in told)
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)


# --- mistakes -----------------------------------------------------------------------------


def test_a_budget_that_is_too_small_is_refused_with_the_number_needed() -> None:
    with pytest.raises(
        HarnessError, match="a budget of 5 evaluations is too small for the 6 units .* it needs 8"
    ):
        harness.explain(weighed, "a b c d e f", "kernel_shap", budget=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "kernel_shapp"}, "did you mean 'kernel_shap'"),
        ({"unit": "wird"}, "did you mean 'word'"),
        ({"method": "saliency"}, "has none that can be had; use a perturbation method"),
        ({"removal": "erase"}, "removal is one of mask, delete, baseline"),
        ({"removal": "delete", "baseline": "x"}, "delete has no baseline"),
        ({"removal": "baseline"}, "needs 'baseline'"),
        ({"output": "odds"}, "output is one of"),
        ({"reduce": "median"}, "reduce"),
        ({"seed": -1}, "seed"),
        ({"method": ["lime", "rise"], "settings": {"sobol": {}}}, "settings of 'sobol'"),
        ({"settings": {"depth": 3}}, "no field 'depth'"),
        ({"unit": "token"}, "no tokens that can be seen"),
        ({"unit": "patch"}, "no patch to be explained: its input is text"),
        ({"method": object()}, "none of play, descend and attribute"),
    ],
)
def test_mistakes_are_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        harness.explain(weighed, "a b", **options)


def test_what_cannot_be_explained_is_said() -> None:
    recorded = Callable(function=lambda texts: [[0.9, 0.1]] * len(texts), classes=["a", "b"])
    assert values(harness.explain(recorded, "x y")).tolist() == [0, 0]
    with pytest.raises(HarnessError, match="cannot be explained: give a classifier"):
        harness.explain(3, "a")
    with pytest.raises(HarnessError, match="no samples to explain"):
        harness.explain(weighed, [])
    with pytest.raises(HarnessError, match="the sample id 'x' stands 2 times"):
        harness.explain(weighed, [Sample("x", (Part("a"),))] * 2)
    with pytest.raises(HarnessError, match="takes tensors with one example a row"):
        harness.explain(torch.nn.Linear(2, 2), ["a"])
    with pytest.raises(HarnessError, match="NaN or infinity"):
        harness.explain(torch.nn.Linear(2, 2), torch.full((1, 2), float("nan")))


def test_units_of_a_cropped_image_say_what_of_it_they_cover(tmp_path: Path) -> None:
    make_vit(tmp_path)
    from transformers import ViTImageProcessorPil

    crop = {"height": 32, "width": 32}
    ViTImageProcessorPil(
        size={"shortest_edge": 64}, do_center_crop=True, crop_size=crop
    ).save_pretrained(tmp_path)
    (found,) = harness.explain(
        HuggingFace(str(tmp_path)), [pictures()[0]], "leave_one_out", harness_patch(16)
    )
    assert found.segmentation[0].extent == pytest.approx((0.25, 0.25, 0.75, 0.75), abs=0.01)
    assert found.segmentation[0].shape == (32, 32)
