"""Slots of a template, and masks of an image: what Captum's inputs of these kinds leave and find."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from captum import attr
from PIL import Image
from test_generation import bare, network

import harness
from harness.explainers.division import divide
from harness.explainers.models.generation import LanguageModel
from harness.explainers.models.reading import Removal
from harness.explainers.pictures.draw import draw
from harness.explainers.units.images import Mask
from harness.explainers.units.slots import Slots
from harness.records import HarnessError, Part, Sample

TEMPLATE = "{who} has {sign} since {when}."
FILLED = {"who": "The patient", "sign": "slow emptying", "when": "May"}


def judge(texts: list[str]) -> list[list[float]]:
    """By words, and by how two of them go together."""
    shares = [
        0.2
        + 0.3 * ("slow" in text)
        + 0.1 * ("patient" in text)
        + 0.2 * ("slow" in text and "May" in text)
        - 0.1 * ("has" not in text)
        for text in texts
    ]
    return [[1 - share, share] for share in shares]


def values(explanation: Any) -> np.ndarray[Any, Any]:
    (attribution,) = explanation
    return np.array(attribution.values, dtype=float)


def shapley_of_captum(given: Any, forward: Any) -> np.ndarray[Any, Any]:
    """Exact Shapley values over an input of Captum's, by Captum."""
    rows = attr.ShapleyValues(lambda kept: torch.tensor([forward(given.to_model_input(kept))]))
    return rows.attribute(given.to_tensor(), torch.zeros_like(given.to_tensor()))[0].numpy()


def test_slots_have_the_values_of_captums_template() -> None:
    slots = Slots(TEMPLATE, FILLED)
    (found,) = harness.explain(
        judge, slots.texts, "exact_shapley", slots, target=1, removal="delete"
    )
    wanted = shapley_of_captum(
        attr.TextTemplateInput(TEMPLATE, FILLED), lambda text: judge([text])[0][1]
    )
    np.testing.assert_allclose(found.values, wanted, atol=1e-6)
    assert [unit.text for unit in found.units] == list(FILLED.values())
    assert found.unit == "slots"


def test_the_templates_own_text_is_never_removed() -> None:
    slots = Slots(TEMPLATE, FILLED)
    seen: list[str] = []

    def watched(texts: list[str]) -> list[list[float]]:
        seen.extend(texts)
        return judge(texts)

    harness.explain(watched, slots.texts, "exact_shapley", slots, target=1, removal="delete")
    assert " has  since ." in seen
    assert all(" has " in text and " since " in text for text in seen)


def test_slots_of_a_prompt_are_tokens_of_the_prompt() -> None:
    net, tokenizer = network("llama")
    slots = Slots("{} scan shows {} here", ["the", "no lesion"])
    model = LanguageModel(net, tokenizer, answers=[" seen"])
    (found,) = harness.explain(model, slots.texts, "exact_shapley", slots, removal="delete")
    ids = bare(tokenizer, slots.texts[0])
    pieces = [bare(tokenizer, piece) for piece in ("the", " scan shows", " no lesion", " here")]
    assert [*itertools.chain(*pieces)] == ids
    answer = bare(tokenizer, " seen")

    def worth(first: bool, second: bool) -> float:
        kept = pieces[0] * first + pieces[1] + pieces[2] * second + pieces[3]
        with torch.no_grad():
            logs = net(torch.tensor([kept + answer])).logits[0].log_softmax(-1)
        return float(sum(logs[len(kept) - 1 + i, token] for i, token in enumerate(answer)))

    both, none = worth(True, True), worth(False, False)
    one, other = worth(True, False), worth(False, True)
    wanted = [(one - none + both - other) / 2, (other - none + both - one) / 2]
    np.testing.assert_allclose(found.values, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("template", "given", "text", "parts"),
    [
        ("{} and {}", ["a", "b"], "a and b", ["a", "b"]),
        ("{1} and {0}!", ["a", "b"], "b and a!", ["b", "a"]),
        ("{x:.1f} of {{n}}", {"x": 0.25}, "0.2 of {n}", ["0.2"]),
        ("{s!r}", {"s": "a"}, "'a'", ["'a'"]),
    ],
)
def test_templates_are_filled_as_python_fills_them(
    template: str, given: Any, text: str, parts: list[str]
) -> None:
    slots = Slots(template, given)
    assert slots.texts == (text,)
    assert [text[a:b] for a, b in slots.split(text)] == parts
    wanted = template.format(**given) if isinstance(given, dict) else template.format(*given)
    assert text == wanted


def test_one_template_serves_several_samples() -> None:
    slots = Slots(TEMPLATE, [FILLED, FILLED | {"sign": "no pain"}])
    found = harness.explain(judge, slots.texts, "exact_shapley", slots, target=1)
    assert [[unit.text for unit in a.units][1] for a in found] == ["slow emptying", "no pain"]
    assert found[0].values[1] > found[1].values[1]


@pytest.mark.parametrize(
    ("template", "given", "message"),
    [
        ("no slot", ["a"], "has no slots"),
        ("{a} {a}", {"a": "x"}, "slot 'a' stands twice"),
        ("{a}", {"b": "x"}, "cannot be filled .* KeyError 'a'"),
        ("{} {}", ["x"], "cannot be filled .* IndexError"),
        ("{a}", {"a": " "}, "slot 'a' is empty"),
        ("{a", {"a": "x"}, "cannot be filled .* ValueError"),
        ("{}", "x", "values are a list or a mapping"),
        ("{}", [], "values are a list or a mapping"),
        ("{}", ["x", ["y"]], "a list or mapping for each"),
    ],
)
def test_what_cannot_be_a_filled_template_is_said(template: str, given: Any, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        Slots(template, given)


def test_another_text_than_the_filled_template_is_refused() -> None:
    with pytest.raises(HarnessError, match="is not the filled template; explain the unit's own"):
        harness.explain(judge, "another text", unit=Slots(TEMPLATE, FILLED))


def test_a_picture_of_slots_shows_that_text_lies_between_them() -> None:
    slots = Slots(TEMPLATE, FILLED)
    (found,) = harness.explain(judge, slots.texts, "exact_shapley", slots, target=1)
    shown = draw(found).html.partition('class="text"')[2]
    places = [shown.index(word) for word in ("patient", "…", "emptying")]
    assert places == sorted(places)


# --- masks of images ----------------------------------------------------------------------


IMAGE = np.random.default_rng(4).integers(0, 200, (6, 8, 3), dtype=np.uint8)
REGIONS = np.array([[3] * 4 + [7] * 4] * 3 + [[9] * 8] * 3)


def redness(images: list[Any]) -> list[list[float]]:
    """Of an image: a share that is not additive in its regions."""
    shares = [float(np.tanh((image[..., 0].astype(float) / 255).mean() ** 2)) for image in images]
    return [[1 - share, share] for share in shares]


def test_regions_of_a_mask_have_the_values_of_captums() -> None:
    white = (255, 255, 255)
    (found,) = harness.explain(
        redness, [IMAGE], "exact_shapley", Mask(REGIONS), target=1, baseline=white
    )
    peer = attr.ImageMaskInput(Image.fromarray(IMAGE), torch.tensor(REGIONS), baseline=white)
    wanted = shapley_of_captum(peer, lambda image: redness([np.asarray(image)])[0][1])
    np.testing.assert_allclose(found.values, wanted, atol=1e-6)


def test_masks_and_words_of_one_prompt_share_its_value() -> None:
    def both(inputs: list[Any]) -> list[list[float]]:
        shares = [
            0.5 * redness([image])[0][1] * (1 + ("red" in text)) for text, image in inputs
        ]  # fmt: skip
        return [[1 - share, share] for share in shares]

    (found,) = harness.explain(
        both, [("is it red", IMAGE)], "exact_shapley", ["word", Mask(REGIONS)], target=1,
        removal="mask",
    )  # fmt: skip
    assert [unit.part for unit in found.units] == [0, 0, 0, 1, 1, 1]
    assert found.values[0] == pytest.approx(0)
    assert found.values[2] > 0
    assert found.completeness_error == pytest.approx(0, abs=1e-9)


def test_slots_and_a_masked_removal_put_the_stand_in_in_the_slot() -> None:
    net, tokenizer = network("llama")
    slots = Slots("{} scan", ["the"])
    model = LanguageModel(net, tokenizer, answers=[" seen"])
    reading = model.read(Sample("0", (Part(slots.texts[0]),)), Removal())
    division = divide(reading, [slots], "slots")
    left = reading.left(division.kept(np.zeros((1, 1), dtype=bool))[0])
    gone = [tokenizer.unk_token_id] * len(bare(tokenizer, "the"))
    assert left.prompt.tolist() == [*gone, *bare(tokenizer, " scan")]
