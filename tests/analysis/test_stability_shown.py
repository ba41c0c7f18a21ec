"""What stands beside a figure of stability: reversals, the floor, the order, and the pairs."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from small_suite import changed, write

import harness
from harness.pipeline import report
from harness.report.page import render
from harness.results import ComparedAnswers, Results, Sentence

# 'turning' denies in the second variant what it said in the first; 'firm' only says it otherwise.
ANSWERS = """
from harness.records import Capabilities, Generation

SAID = "Alcohol can inflame the lining of the stomach. Painkillers such as aspirin may trigger it."
REWORDED = "The stomach lining can be inflamed by alcohol. Aspirin and other painkillers may trigger it."
TURNED = "Alcohol can inflame the lining of the stomach. Painkillers such as aspirin never trigger it. Rest helps."

class Answers:
    capabilities = Capabilities()

    def __init__(self, model):
        self.model = model

    async def generate(self, request):
        if "What of" not in request.messages[-1].text:
            return Generation(SAID)
        return Generation(TURNED if self.model == "turning" else REWORDED)
"""

GOLD = json.dumps(
    [
        {
            "label": label,
            "aspect": "causes",
            "claims": [
                {
                    "id": "a",
                    "text": f"{thing.capitalize()} can cause {label}.",
                    "paraphrases": [f"{label.capitalize()} can be caused by {thing}."],
                    "contradiction": f"{thing.capitalize()} can never cause {label}.",
                },
                {"id": "b", "text": f"Doctors ask about sleep in {label}."},
                {"id": "c", "text": f"Most people with {label} recover."},
            ],
        }
        for label, thing in (("gastritis", "alcohol"), ("indigestion", "coffee"))
    ]
)


def made(folder: Path, **changes: object) -> Results:
    fields: dict[str, object] = {
        "families": [{"family": "small", "variants": ["base", "reworded"], "aspects": ["causes"]}],
        "arms": ["predicted"],
        "models": [
            {"name": name, "backend": "./answers.py:Answers", "model": name}
            for name in ("firm", "turning")
        ],
        "scorers": ["stability"],
        "controls": ["reworded", "one-reversed", "one-dropped", "number-changed"],
        "require": {
            "stability.prompt_reversed_above_floor": 0.1,
            "stability.prompt_reversed_pairs_above_floor@firm": 0.5,
        },
        **changes,
    }
    files = {"answers.py": ANSWERS, "gold__small__gold.json": GOLD}
    path = write(folder, changed(**fields), **files)
    harness.run(path, out=folder / "run")
    return report(folder / "run").results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return made(tmp_path_factory.mktemp("shown"))


def said(results: Results) -> Sentence:
    return next(s for s in results.verdict if s.topic == "stability")


def test_the_verdict_puts_reversals_the_floor_and_the_order_beside_what_is_kept(
    results: Results,
) -> None:
    text = said(results).text
    assert text.startswith("statements kept over wordings (stability.prompt_kept)")
    assert "Statements reversed over wordings: firm .00" in text
    assert "turning .40" in text  # two of five statements
    assert "The floor, repeats of one prompt: kept firm 1.00" in text
    assert "This scorer ranks a reversal below a rewording in" in text
    assert "2 gold records of this run" in text


def test_without_the_controls_the_order_is_that_which_was_measured_once(tmp_path: Path) -> None:
    results = made(tmp_path, controls="none", require=None, repeats=1)
    (order,) = results.orderings
    assert not order.at_hand
    assert "39 records of the gastrointestinal gold" in said(results).text
    assert "floor" not in said(results).text


def test_another_threshold_has_no_order_that_was_measured(tmp_path: Path) -> None:
    scorers = [{"kind": "stability", "kept_at": 0.9}]
    results = made(tmp_path, controls="none", require=None, repeats=1, scorers=scorers)
    assert results.orderings == ()


def pairs(results: Results, model: str, axis: str) -> list[ComparedAnswers]:
    return [
        pair
        for view in results.views
        for pair in view.compared
        if pair.first_cell.model == model and pair.axis == axis
    ]


def test_each_pair_lists_what_was_kept_dropped_added_and_reversed(results: Results) -> None:
    for pair in pairs(results, "turning", "variant"):
        assert pair.level == ("base", "reworded")
        assert [s.state for s in pair.first] == ["kept", "reversed"]
        assert [s.state for s in pair.second] == ["kept", "reversed", "only"]
        assert pair.first[1].other == pair.second[1].text
    assert pairs(results, "turning", "variant")
    assert all(pair.count("reversed") == 0 for pair in pairs(results, "firm", "variant"))
    assert all(pair.count("kept") == 4 for pair in pairs(results, "firm", "repeat"))


def test_pairs_with_reversals_come_first(results: Results) -> None:
    for view in results.views:
        counts = [pair.count("reversed") for pair in view.compared]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > 0


def test_a_bar_for_reversals_is_held_against_the_floor(results: Results) -> None:
    for one in results.requirements:
        floor = one.model == "firm"
        assert one.estimate.value == pytest.approx(0.0 if floor else 0.4)
    assert {one.bar for one in results.requirements} == {0.1, 0.5}


def test_the_page_shows_the_floor_the_order_and_the_pairs(results: Results) -> None:
    page = render(results)
    assert "Stability beside its floor" in page
    assert "reversal below rewording" in page
    assert "The same question again" in page
    assert "1 added" in page


def test_a_run_that_an_older_version_scored_is_read_and_says_so(tmp_path: Path) -> None:
    made(tmp_path, controls="none", require=None, repeats=1)
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as db:
        db.execute("DELETE FROM scores WHERE metric != 'prompt_kept'")
        db.execute("UPDATE scores SET metric = 'prompt_stability', detail = NULL")
    db.close()
    older = report(tmp_path / "run").results
    (warning,) = (text for text in older.warnings if "older version" in text)
    assert "'stability'" in warning
    assert "prompt_stability" in warning
    assert "harness score" in warning
    render(older)


def test_what_gold_cannot_make_a_control_of_is_said(results: Results) -> None:
    (numbers,) = (m for m in results.models if m.name == "control:number-changed")
    assert set(numbers.not_planned) == {
        "it has no answer to give, as no claim holds a number in the gold"
    }
