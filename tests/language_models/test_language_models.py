"""What the built-in language models are trained on, how, and that the built-in ones can see."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness
from harness import suite
from harness.backends.chat import Chat
from harness.backends.transformers import Transformers
from harness.language_models import evaluation, images, vision
from harness.language_models.architecture import (
    VOCABULARY,
    make_processor,
    make_tokenizer,
    make_vision_model,
)
from harness.language_models.corpus import PICTURE, Corpus, Example
from harness.language_models.language import prompt_text, tokenised
from harness.octa.findings import parse
from harness.octa.generator import generate_dataset, transform
from harness.octa.pathology import LABELS, LESIONS
from harness.prompts import Family
from harness.records import Media, Message, Part

ASSETS = Path(harness.__file__).parent / "assets"


@pytest.fixture(scope="module")
def drawn() -> images.Images:
    return images.draw_images(2, 6, seed=5)


@pytest.fixture(scope="module")
def family() -> Family:
    return next(s.family for s in suite.load("octa").families if s.family.name == "octa")


@pytest.fixture(scope="module")
def corpus(drawn: images.Images, family: Family) -> Corpus:
    return Corpus(family, drawn.findings)


@pytest.fixture(scope="module")
def tokenizer(corpus: Corpus) -> Any:
    return make_tokenizer(corpus.texts(800, np.random.default_rng(0)))


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- images -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "flip"), [(1, False), (2, True), (3, True), (0, False)])
def test_turning_a_training_image_is_turning_what_was_drawn(k: int, flip: bool) -> None:
    for one in generate_dataset(1, 3, seed=5, preset="fast"):
        before = images._gathered(iter([one]))
        pixels, places, cover, findings = before.turned(0, k, flip)
        after = images._gathered(iter([transform(one, k, flip)]))
        assert findings == after.findings[0]
        assert np.array_equal(places, after.places[0])
        np.testing.assert_allclose(cover, after.cover[0] / 255.0, atol=1 / 255)
        difference = np.abs(pixels.astype(int) - after.pixels[0].astype(int))
        assert difference.mean() < 0.5  # the filter rounds twice, and in another order


def test_the_grid_names_the_very_sectors_of_the_findings(drawn: images.Images) -> None:
    from harness.octa.geometry import SECTORS

    for index, findings in enumerate(drawn.findings):
        for number, lesion in enumerate(LESIONS):
            marked = drawn.places[index][:, :, number].any(axis=(0, 1))
            named = tuple(s for s, there in zip(SECTORS, marked, strict=True) if there)
            assert named == findings.of(lesion).sectors


# --- prompts and reports ----------------------------------------------------------------------


def test_every_variant_and_arm_is_asked_and_the_answer_is_always_the_images_own(
    corpus: Corpus, family: Family, drawn: images.Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.language_models import corpus as module

    asked: Counter[str] = Counter()
    render = module.render

    def recorded(template: Any, context: Any, name: str) -> Any:
        told = context.get("label")
        arm = "none" if told is None else "right" if told == findings.stage else "wrong"
        asked[f"{name}/{arm}"] += 1
        return render(template, context, name)

    monkeypatch.setattr(module, "render", recorded)
    rng = np.random.default_rng(1)
    lengths = set()
    for i in range(2000):
        findings = drawn.findings[i % len(drawn)]
        example = corpus.seeing(findings, rng)
        assert parse(example.report).findings == findings
        lengths.add(len(example.messages))
    for variant in family.variants:
        arms = ("right", "wrong", "none") if variant.none is not None else ("right", "wrong")
        assert all(asked[f"octa/{variant.name}/{arm}"] > 10 for arm in arms), variant.name
    assert lengths == {2, 4}  # asked once, or again after an answer


def test_a_blind_model_learns_reports_of_the_label_it_is_told(corpus: Corpus) -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        example = corpus.blind(rng)
        assert all(part.media is None for m in example.messages for part in m.parts)
        question = example.messages[1].text
        said = [label for label in LABELS if f" {label}" in question]
        if len(said) == 1:
            assert parse(example.report).findings.stage == said[0]


def test_training_prompts_are_those_that_the_backend_makes(tokenizer: Any, corpus: Corpus) -> None:
    chat = Chat(make_processor(tokenizer), True, "model", {})
    rng = np.random.default_rng(3)
    picture = next(iter(evaluation.unseen_samples(1, 1))).input[0]
    for _ in range(40):
        example = corpus.blind(rng) if rng.random() < 0.2 else _seen(corpus, rng)
        asked = tuple(
            replace(m, parts=tuple(picture if p == PICTURE else p for p in m.parts))
            for m in example.messages
        )
        ids = chat.encode([asked])["input_ids"][0].tolist()
        assert tokenizer(prompt_text(example, tokenizer))["input_ids"] == ids


def _seen(corpus: Corpus, rng: np.random.Generator) -> Example:
    return corpus.seeing(corpus._reports[int(rng.integers(len(corpus._reports)))], rng)


def test_loss_is_taken_on_the_report_and_its_end_alone(tokenizer: Any, corpus: Corpus) -> None:
    rng = np.random.default_rng(4)
    examples = [_seen(corpus, rng) for _ in range(6)]
    tokens = tokenised(examples, tokenizer)
    for row, example in enumerate(examples):
        learned = tokens.labels[row][tokens.labels[row] != -100].tolist()
        assert learned[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(learned[:-1]) == example.report
        assert int(tokens.mask[row].sum()) >= len(learned)


def test_the_vocabulary_is_small_and_holds_each_sector_in_one_token(tokenizer: Any) -> None:
    assert len(tokenizer) <= VOCABULARY  # make_tokenizer itself refuses a sector in pieces
    text = "Mild – 3 µm, “north-west”…"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


# --- training ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
def test_half_a_training_begins_as_the_whole_one_does(tokenizer: Any, drawn: images.Images) -> None:
    whole = vision.Schedule(steps=8, batch=2, rate=1e-3, warmup=2)
    half = replace(whole, steps=4)

    def begun() -> vision.EyeTraining:
        torch.manual_seed(0)
        return vision.EyeTraining(make_vision_model(tokenizer), whole, seed=0)

    shared = begun()
    shared.run(drawn, whole, half.decay_start, lambda _: None)
    branch = copy.deepcopy(shared)
    shared.run(drawn, whole, whole.steps, lambda _: None)
    branch.run(drawn, half, half.steps, lambda _: None)
    alone = begun()
    alone.run(drawn, half, half.steps, lambda _: None)
    pairs = zip(branch.model.parameters(), alone.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    differing = zip(branch.model.parameters(), shared.model.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in differing)


def test_pixels_are_normalised_as_the_processor_does(tokenizer: Any, drawn: images.Images) -> None:
    from PIL import Image

    processor = make_processor(tokenizer).image_processor
    made = processor(Image.fromarray(drawn.pixels[0]), return_tensors="pt")["pixel_values"][0, 0]
    torch.testing.assert_close(made, vision.pixel_values(drawn.pixels[:1])[0].contiguous())


# --- the built-in models ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def unseen() -> list[Any]:
    return evaluation.unseen_samples(20, 3, seed=77)


def test_the_built_in_models_are_small_enough_to_ship() -> None:
    sizes = [path.stat().st_size for path in ASSETS.glob("octa-*/model.safetensors")]
    assert len(sizes) == 3
    assert sum(sizes) < 14e6


def test_the_best_model_sees_where_lesions_are(unseen: list[Any], family: Family) -> None:
    answers = evaluation.ask(Transformers("builtin:octa-vlm"), family, unseen, "wrong")
    for lesion in LESIONS:
        metric = f"{lesion}_sector_f1"
        above = evaluation.estimate(answers, metric, less=f"{metric}_all_eight")
        moved = evaluation.estimate(answers, metric, less=f"{metric}_moved")
        assert above.low is not None
        assert moved.low is not None
        assert above.low > 0
        assert moved.low > 0.1


def test_the_blind_model_follows_the_label(unseen: list[Any], family: Family) -> None:
    answers = evaluation.ask(Transformers("builtin:octa-text"), family, unseen, "wrong")
    told = evaluation.stage_told(answers).value
    assert told is not None
    assert told > 0.9


@pytest.mark.parametrize("shade", [0, 64, 255])
def test_a_picture_of_one_shade_is_answered(shade: int) -> None:
    from PIL import Image

    from harness.identity import sha256
    from harness.images import to_png
    from harness.records import Request, Sampling

    data = to_png(Image.new("L", (304, 304), shade))
    part = Part(media=Media(sha256(data), "image/png", data=data))
    message = Message("user", (part, Part("\nStage and findings, with number and sectors?")))
    asked = Request("transformers", "m", (message,), sampling=Sampling(0.0, max_tokens=96))
    answer = Transformers("builtin:octa-vlm").generate_batch([asked])[0]
    assert answer.outcome in ("ok", "truncated")  # no image of its kind was ever seen in training
    assert answer.text.strip()
