"""What is shown of concepts, and language models that label, simulate and foresee, by script."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classification_checkpoints import make, pictures, samples
from descents_for_tests import CNN, drawn, tensors

from harness.classifiers.huggingface import HuggingFace
from harness.explainers.concepts.activations import collect
from harness.explainers.concepts.labels import (
    label_request,
    read_label,
    read_ratings,
    simulation_request,
    simulation_score,
)
from harness.explainers.concepts.meaning import (
    content,
    in_context,
    top_samples,
    top_units,
    top_words,
)
from harness.explainers.concepts.simulatability import (
    foresee_request,
    read_class,
    simulatability,
)
from harness.explainers.concepts.spaces.fit import fit
from harness.explainers.models.choose import model_of
from harness.explainers.models.generation import LanguageModel
from harness.explainers.models.reading import Removal
from harness.images import load_array
from harness.records import Generation, HarnessError, Part, Request, Sample, Unit

LAYER = "bert.embeddings.word_embeddings"


@pytest.fixture
def words(tmp_path: Path) -> tuple[Any, Any, Any]:
    """A classifier, its words' activations, and a space in which 'pain' is a concept."""
    folder, _, _ = make("bert", tmp_path / "bert")
    classifier = HuggingFace(str(folder), dtype="float64")
    acts = collect(classifier, samples(), LAYER, "word", tmp_path / "a", shard_rows=9)
    texts = [unit.text.strip() for _, unit in acts.units()]
    known = {name: [text == name for text in texts] for name in ("pain", "scan")}
    return classifier, acts, fit("linear_probe", acts, known=known)


def test_the_strongest_units_are_those_of_a_full_sort(words: Any) -> None:
    _, acts, space = words
    strengths = space.strength(np.concatenate(list(acts)))
    for concept, examples in enumerate(top_units(space, acts, 7)):
        order = np.argsort(-strengths[:, concept], kind="stable")[:7]
        assert [one.row for one in examples] == order.tolist()
        assert [one.strength for one in examples] == strengths[order, concept].tolist()
        assert [(one.sample, one.unit) for one in examples] == acts.units(order.tolist())


def test_the_strongest_samples_are_shown_once_each_by_their_strongest_unit(words: Any) -> None:
    _, acts, space = words
    strengths = space.strength(np.concatenate(list(acts)))
    owner = acts.sample_places()
    for concept, examples in enumerate(top_samples(space, acts, 4)):
        best = sorted(
            (
                -strengths[owner == s, concept].max(),
                int(np.flatnonzero(owner == s)[strengths[owner == s, concept].argmax()]),
            )
            for s in range(len(acts.samples))
        )[:4]
        assert [(-one.strength, one.row) for one in examples] == best
        assert len({one.sample for one in examples}) == 4


def test_the_words_of_a_concept_are_found(words: Any) -> None:
    _, acts, space = words
    pain, scan = top_words(space, acts, count=3)
    assert (pain[0].text, pain[0].count) == ("pain", 3)
    assert (scan[0].text, scan[0].count) == ("scan", 2)
    assert all(word.count >= 2 for word in pain)
    with pytest.raises(HarnessError, match="stands 99 times"):
        top_words(space, acts, least=99)


def test_concepts_of_a_language_model_of_stories_are_kinds_of_words(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "stories260k"
    if not folder.is_dir():
        pytest.skip(f"there is no stories260k in {shared_data}")
    draw = random.Random(0)
    feelings = ["happy", "sad", "scared", "tired"]
    kinds = {
        "names": ["Lily", "Tom", "Ben", "Mia", "Sam"],
        "things": ["dog", "cat", "bird", "ball", "tree", "car"],
    }
    texts = [
        f"One day, {draw.choice(kinds['names'])} saw the {draw.choice(kinds['things'])}. "
        f"The {draw.choice(kinds['things'])} was {draw.choice(feelings)} that day."
        for _ in range(120)
    ]
    model = LanguageModel(str(folder), max_new_tokens=1)
    acts = collect(model, texts, "model.layers.2", "word", tmp_path / "a")
    space = fit("semi_nmf", acts, concepts=8)
    tops = [{word.text.strip(".") for word in words} for words in top_words(space, acts, 4)]
    for kind, words in kinds.items():
        wanted = {word.lower() for word in words}
        assert any(len(top & wanted) >= 3 for top in tops), (kind, tops)


def test_a_unit_is_marked_in_its_text() -> None:
    assert in_context("no pain today", Unit("pain ", 3, 8)) == "no >>pain<< today"
    assert in_context("pain", Unit("pain", 0, 4)) == "pain"
    long = in_context("a" * 500 + " b " + "c" * 500, Unit("b ", 501, 503))
    assert len(long) < 200
    assert ">>b<<" in long


def test_a_patch_is_shown_with_its_neighbourhood(tmp_path: Path) -> None:
    net, x = CNN(), drawn(2, 3, 8, 8)
    model = tensors(net, x, channels="first")
    acts = collect(model, model.samples, "act2", "patch", tmp_path / "a")
    space = fit("pca", acts, concepts=2)
    ((first, *_), _) = top_units(space, acts)
    reading = model.read(next(s for s in model.samples if s.id == first.sample), Removal("mask"))
    (part,) = content(first, reading)
    top, left, _, _ = first.unit.box
    array = reading.parts[0].array
    seen = load_array(part.media)
    wanted = array[max(0, top - 2) : top + 4, max(0, left - 2) : left + 4]
    wanted = np.round(255 * (wanted - array.min()) / np.ptp(array)).astype(np.uint8)
    scale = seen.shape[0] // wanted.shape[0]
    assert min(seen.shape[:2]) >= 128
    assert np.array_equal(seen[::scale, ::scale], wanted)


class Scripted:
    """Answers by what it reads, as a language model might."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def generate(self, request: Request) -> Generation:
        self.asked.append(request)
        text = request.messages[0].text
        if "have in common" in text:
            return Generation('**Label: "Pain"**\nIt hurts.')
        lines = [line for line in text.splitlines() if line.startswith("(")]
        return Generation(
            "\n".join(f"{n}: {9 if '>>pain<<' in line else 1}" for n, line in enumerate(lines, 1))
        )


def test_a_label_is_written_and_simulates_its_concept_better_than_another(words: Any) -> None:
    classifier, acts, space = words
    backend = Scripted()
    model: Any = model_of(classifier, samples())
    readings = {one.id: model.read(one, Removal("mask")) for one in samples()}
    pain, _ = top_units(space, acts, 3)
    request = label_request("scripted", "m", [content(one, readings[one.sample]) for one in pain])
    label = read_label(backend.generate(request))
    assert label == "Pain"
    assert ">>pain<<" in backend.asked[0].messages[0].text

    strengths = space.strength(np.concatenate(list(acts)))
    every = [content_of(acts, readings, row) for row in range(len(acts))]
    ratings = read_ratings(
        backend.generate(simulation_request("scripted", "m", label, every)), len(every)
    )
    own, other = (simulation_score(ratings, strengths[:, k].tolist()) for k in (0, 1))
    said = [9 if unit.text.strip() == "pain" else 1 for _, unit in acts.units()]
    assert own == pytest.approx(np.corrcoef(said, strengths[:, 0])[0, 1])
    assert own is not None
    assert other is not None
    assert own > other + 0.3


def content_of(acts: Any, readings: Any, row: int) -> Any:
    from harness.explainers.concepts.meaning import Example

    ((sample, unit),) = acts.units([row])
    return content(Example(sample, unit, 0.0, row), readings[sample])


def test_pictures_go_along_with_requests() -> None:
    media = [sample.input for sample in pictures()[:2]]
    request = label_request("b", "m", media, [pictures()[3].input])
    assert [p.media for p in request.messages[0].parts if p.media] == [
        *(sample.media[0] for sample in pictures()[:2]), pictures()[3].media[0],
    ]  # fmt: skip
    assert request.sampling.temperature == 0.0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1: 3\n2: 10\n3: 0", (3.0, 10.0, 0.0)),
        ("(1) 3.5\n(3) 12", (3.5, None, 10.0)),
        ("Ratings: [1, 2, 3]", (1.0, 2.0, 3.0)),
        ("[1, 2]", (None, None, None)),
        ("I cannot say.", (None, None, None)),
        ("2. Rating 4\n2. 9", (None, 4.0, None)),
    ],
)
def test_ratings_are_read_as_they_are_written(text: str, wanted: Any) -> None:
    assert read_ratings(Generation(text), 3) == wanted


def test_failed_generations_are_no_labels_and_no_ratings() -> None:
    failed = Generation("1: 3", outcome="server", error="gone")
    assert read_label(failed) is None
    assert read_ratings(failed, 1) == (None,)
    assert read_label(Generation("\n ** \n")) is None
    with pytest.raises(HarnessError, match="cannot be labelled"):
        label_request("b", "m", [])


def test_a_simulation_without_spread_has_no_score() -> None:
    assert simulation_score([1, 1, 1], [1, 2, 3]) is None
    assert simulation_score([1, None, 2], [1, 2, 3]) is None
    assert simulation_score([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert simulation_score([1, 2, 3, None], [6, 4, 2, 9]) == pytest.approx(-1)


def test_concepts_that_tell_the_rule_make_predictions_foreseeable() -> None:
    def rule(text: str) -> str:
        return "ulcer" if "pain" in text else "gastritis"

    def answer(request: Request) -> Generation:
        text = request.messages[0].text
        asked = text.splitlines()[-1]
        knows = "- ulcer: pain (for it)" in text
        return Generation(rule(asked).title() + "." if knows else "Gastritis")

    classes = ("gastritis", "ulcer")
    learned = [(sample, rule(sample.text)) for sample in samples()[:4]]
    concepts = {"ulcer": [("food", -0.1), ("pain", 2.0)], "gastritis": [("pain", -2.0)]}
    asked = samples()[4:]
    answers = [
        [
            read_class(answer(foresee_request("b", "m", one, classes, learned, given)), classes)
            for one in asked
        ]
        for given in (None, concepts)
    ]
    found = simulatability(*answers, [rule(one.text) for one in asked])
    share = np.mean([rule(one.text) == "gastritis" for one in asked])
    assert found.without == pytest.approx(share)
    assert found.with_concepts == 1.0
    assert found.gain == pytest.approx(1 - share)
    assert found.unread == 0


def test_what_is_asked_about_is_never_told() -> None:
    one = samples()[0]
    with pytest.raises(HarnessError, match="is asked about and told at once"):
        foresee_request("b", "m", one, ("a", "b"), [(one, "a")])
    with pytest.raises(HarnessError, match="'c' is none of the classes"):
        foresee_request("b", "m", one, ("a", "b"), [], {"c": []})
    request = foresee_request("b", "m", Sample("x", (Part("hot"),)), ("a", "b"), [(one, "a")])
    assert request.messages[0].text.endswith("hot")


def test_a_class_is_read_by_its_whole_name() -> None:
    classes = ("proliferative", "non-proliferative")
    assert read_class(Generation("Non-proliferative"), classes) == "non-proliferative"
    assert read_class(Generation("it is proliferative"), classes) == "proliferative"
    assert read_class(Generation("proliferativeness"), classes) is None
