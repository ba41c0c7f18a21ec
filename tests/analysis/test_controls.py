"""What a metric's validity lacks is said in the unit that counts, and by how much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_suite import GOLD, changed, write

import harness
from harness.results import Results

# `share` is 1 for gold's own text and 0 for all others, so its controls separate perfectly.
SCORER = """
from harness.gold import gold_text
from harness.records import Metric, Score, Separation

class Perfect:
    metrics = (
        Metric("share", separates=(Separation("gold", "empty", 0.2),), headline="accuracy"),
        Metric("strict", separates=(Separation("gold", "empty", 0.5),)),
        Metric("reversed", direction="lower", separates=(Separation("empty", "gold", 0.2),)),
        Metric("untested", separates=(Separation("gold", "negated", 0.2),)),
        Metric("unpromising"),
    )

    def requests(self, subject):
        return ()

    def score(self, subject, generations):
        own = subject.gold_true is not None and generations[0].text == gold_text(subject.gold_true)
        return [Score(metric.name, float(own)) for metric in self.metrics]
"""

NOTES = "id,note,label,predicted\n" + "".join(
    f"s{i},Note number {i}.,{label},{label}\n"
    for i, label in enumerate(["gastritis", "indigestion", "ulcer"] * 20)
)


def of(label: str, aspect: str, text: str = "") -> dict[str, Any]:
    """A gold record of one claim."""
    return {"label": label, "aspect": aspect,
            "claims": [{"id": "a", "text": text or f"The {aspect} of {label} involve much."}]}  # fmt: skip


def made(folder: Path, scorer: str = SCORER, **changes: Any) -> Results:
    given: dict[str, Any] = {
        "source": {"kind": "table", "path": "./notes.csv", "text": "note", "label": "label",
                   "id": "id"},
        "classifier": {"kind": "recorded", "path": "./notes.csv", "sample": "id",
                       "label": "predicted"},
        "families": [{"family": "small", "variants": ["reworded"], "aspects": ["causes"]}],
        "arms": ["predicted"],
        "repeats": 1,
        "models": None,
        "scorers": ["./perfect.py:Perfect"],
        "controls": ["gold", "empty"],
    }  # fmt: skip
    gold = changes.pop("gold", None) or [*GOLD, of("ulcer", "causes")]
    files = {
        "notes.csv": changes.pop("notes", NOTES),
        "perfect.py": scorer,
        "gold__small__gold.json": json.dumps(gold),
    }
    family = changes.pop("family", None)
    if family:
        files["prompts__small__family.yaml"] = family
    return harness.run(
        write(folder, changed(**(given | changes)), **files), out=folder / "run"
    ).results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return made(tmp_path_factory.mktemp("three"))


def test_sixty_samples_of_three_gold_records_lack_records_and_not_samples(results: Results) -> None:
    reasons = {m.metric.name: m.reason for m in results.metrics}
    assert results.samples == 60
    assert reasons["share"] == "3 gold records; at least 6 are needed for this margin"
    assert reasons["reversed"] == "3 gold records; at least 6 are needed for this margin"
    assert reasons["strict"] == "3 gold records; at least 11 are needed for this margin"
    assert {m.metric.name: m.validity for m in results.metrics}["share"] == "not shown"


def test_what_no_control_tested_says_which_control_is_missing(results: Results) -> None:
    reasons = {m.metric.name: m.reason for m in results.metrics}
    assert reasons["untested"] == "the suite asks no control 'negated'"
    assert reasons["unpromising"] == "the metric promises nothing that controls could test"


def test_the_page_and_the_verdict_say_it_in_these_words(results: Results, tmp_path: Path) -> None:
    from harness.report.page import render

    html = render(results)
    assert html.count("3 gold records; at least 6 are needed for this margin") == 1
    assert "too few samples" not in html
    model = {"name": "m", "backend": "./parrot.py:Parrot"}
    accuracy = made(tmp_path, models=[model]).verdict[0]
    assert accuracy.topic == "accuracy"
    assert (
        "validity is not shown: 3 gold records; at least 6 are needed for this margin."
        in accuracy.text
    )


def test_differences_that_vary_need_about_as_many_as_the_interval_says(tmp_path: Path) -> None:
    varied = SCORER.replace("float(own)", "float(own) * levels[subject.sample.label]")
    varied += "\nlevels = {'gastritis': 0.9, 'indigestion': 0.1, 'ulcer': 0.3}\n"
    found = made(tmp_path, scorer=varied)
    reason = next(m.reason for m in found.metrics if m.metric.name == "share")
    assert reason.startswith("3 gold records; about ")
    assert reason.endswith("are needed for this margin if others differ as these do")


ASPECTS = ["causes", "treatment", "course", "signs", "prevention"]
FAMILY = "family: small\nquestion: Why?\naspects: [{}]\nuser: 'The {{{{ aspect }}}} of {{{{ label }}}}?'\n"


def five(folder: Path, gold: list[dict[str, Any]], **changes: Any) -> Results:
    """The controls over five aspects of two labels."""
    family = FAMILY.format(", ".join(ASPECTS))
    notes = "\n".join(line for line in NOTES.splitlines() if "ulcer" not in line) + "\n"
    suite = {"families": [{"family": "small", "variants": ["reworded"]}], **changes}
    return made(folder, gold=gold, notes=notes, family=family, **suite)


LABELS = ("gastritis", "indigestion")


def test_a_binary_classifier_with_five_aspects_has_ten_records_and_is_shown_valid(
    tmp_path: Path,
) -> None:
    found = five(tmp_path, [of(label, aspect) for label in LABELS for aspect in ASPECTS])
    metrics = {m.metric.name: m for m in found.metrics}
    assert metrics["share"].validity == metrics["reversed"].validity == "valid"
    difference = next(s.difference for s in found.separations if s.metric == metrics["share"].id)
    assert (difference.n, difference.clusters) == (10, 10)
    assert next(s for s in found.separations if s.metric == metrics["share"].id).sign_flip == 2**-10
    scorers = next(s.text for s in found.verdict if s.topic == "scorers")
    assert "valid on this gold" in scorers


def test_records_with_the_same_claims_count_once(tmp_path: Path) -> None:
    gold = [of(label, aspect, f"The same of all {aspect}.") for label in LABELS
            for aspect in ASPECTS]  # fmt: skip
    found = five(tmp_path, gold)
    separation = next(s for s in found.separations if s.validity != "no controls")
    assert separation.difference.clusters == 5
    assert separation.needed.startswith("5 gold records; at least 6")


def test_promises_about_texts_that_gold_has_no_part_in_go_by_sample(tmp_path: Path) -> None:
    silent = SCORER.replace('"gold", "empty", 0.2', '"echo", "empty", 0.2')
    silent = silent.replace("float(own)", "float(bool(generations[0].text))")
    found = made(tmp_path, scorer=silent, controls=["echo", "empty"])
    separation = next(s for s in found.separations if s.better == "echo")
    assert separation.difference.clusters == 60
    assert separation.validity == "valid"


@pytest.mark.parametrize("worse", ["one-dropped", "one-reversed", "number-changed"])
def test_every_control_that_speaks_from_gold_counts_by_gold_record(
    tmp_path: Path, worse: str
) -> None:
    gold = [of(label, "causes") for label in (*LABELS, "ulcer")]
    for record in gold:
        label = record["label"]
        record["claims"] = [
            {"id": name, "text": f"{number} {name} come with {label}.",
             "paraphrases": [f"With {label} come {number} {name}."],
             "contradiction": f"No {name} come with {label}."}
            for name, number in (("fevers", 4), ("rashes", 7))
        ]  # fmt: skip
    scorer = SCORER.replace('"gold", "empty", 0.2', f'"reworded", "{worse}", 0.0')
    scorer = scorer.replace("float(own)", "min(1.0, len(generations[0].text) / 1000)")
    found = made(tmp_path, scorer=scorer, gold=gold, controls=["reworded", worse])
    separation = next(s for s in found.separations if s.worse == worse)
    assert separation.difference.clusters == 3
