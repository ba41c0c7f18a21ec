"""What a run warns of when answers are no answers, repeats no repeats, and failures no accident."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from small_suite import changed, write

import harness
from harness.analysis import answer_sets
from harness.analysis.anomalies import Answer
from harness.analysis.failures import words_of
from harness.analysis.warnings import classifier_warnings, heeded, lines, planned
from harness.pipeline import report
from harness.records import Generation, Message, Request, Sampling
from harness.results import ClassifierPage, Estimate, Results, RunWarning, Sentence

# Each model errs in one way; 'good' does not.
ANSWERS = """
from harness.records import Capabilities, Generation

class Answers:
    capabilities = Capabilities(seed=True)

    def __init__(self, model):
        self.model = model

    async def generate(self, request):
        asked = request.messages[-1].text
        told = f"Note {request.repeat}: {sum(map(ord, asked))} speaks of gastritis, and rest helps."
        usage = {"prompt_tokens": 50, "completion_tokens": 20}
        if self.model == "cut":
            return Generation(told[:30], finish_reason="MAX_TOKENS", **usage)
        if self.model == "cached":
            return Generation(f"It is {sum(map(ord, asked))}, and rest helps.", **usage)
        if self.model == "constant":
            return Generation("It is what it is, and rest helps.", **usage)
        if self.model == "thinker":
            return Generation("", reasoning=told, finish_reason="stop", **usage)
        if self.model == "leaky":
            return Generation(told + "<|im_end|>", finish_reason="stop", **usage)
        if self.model == "odd":
            return Generation(told, finish_reason="banana", **usage)
        if self.model == "broken" and "calmly" in asked:
            raise ValueError(f"worker {id(request):#x} died after {len(asked)} tokens")
        return Generation(told, finish_reason="stop", **usage)
"""
NAMES = ("good", "cut", "cached", "constant", "thinker", "leaky", "odd", "broken")
PROMPTS = {
    f"prompts__small__{name}.yaml": f"variant: {name}\nof: base\naxis: wording\n"
    f"preserves_meaning: true\nuser: '{words} {{{{ input }}}} {{{{ aspect }}}} {{{{ label }}}}'\n"
    for name, words in (("plain", "Explain this."), ("calm", "Tell calmly."))
}
NOTES = "id,note,label,predicted\n" + "".join(
    f"s{i},Note number {i}.,{label},{label}\n"
    for i, label in enumerate(["gastritis", "indigestion"] * 4)
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("warned")
    text = changed(
        source={"kind": "table", "path": "./notes.csv", "text": "note", "label": "label", "id": "id"},
        classifier={
            "kind": "recorded", "path": "./notes.csv", "sample": "id", "label": "predicted"
        },
        families=[{"family": "small", "variants": ["plain", "calm"], "aspects": ["causes"]}],
        arms=["predicted"],
        repeats=2,
        sampling={"temperature": 0.7},
        models=[
            {"name": name, "backend": "./answers.py:Answers", "model": name} for name in NAMES
        ],
        scorers=["label"],
        controls=[],
    )  # fmt: skip
    harness.run(
        write(folder, text, **{"notes.csv": NOTES, "answers.py": ANSWERS}, **PROMPTS),
        out=folder / "run",
    )
    return report(folder / "run").results


def of(results: Results, model: str) -> list[str]:
    return [w for w in results.warnings if w.startswith(f"Model {model}:")]


def test_a_good_model_is_warned_of_in_no_way(results: Results) -> None:
    assert of(results, "good") == []
    assert not [a for a in results.anomalies if a.model == "good"]
    assert not [f for f in results.failures if f.model == "good"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("cut", "32 of 32 answers were cut off by a limit; half an answer is scored as it stands: "
                "raise sampling.max_tokens"),
        ("thinker", "32 of 32 answers are empty although there is reasoning; the answer may stand in "
                    "it: look at the server's reasoning parser, at chat_template_kwargs and at "
                    "max_tokens"),
        ("leaky", "32 of 32 answers hold marks of a chat template"),
        ("odd", "32 of 32 answers: 'the finish reason 'banana' is unknown here"),
        ("cached", "the repeats are the same text in 16 of 16 cells although the temperature is 0.7"),
        ("constant", "32 of 32 answers are the same text ('It is what it is, and rest helps.')"),
        ("broken", "cells without a score fall on variants unequally: 16 of 16 of small/calm, 0 of 16 "
                   "of small/plain"),
    ],
)  # fmt: skip
def test_each_fault_is_counted_and_said_with_what_to_look_at(
    results: Results, model: str, words: str
) -> None:
    assert any(words in warning for warning in of(results, model))


@pytest.mark.parametrize("model", ["cut", "cached", "thinker", "leaky", "odd"])
def test_a_fault_is_said_once(results: Results, model: str) -> None:
    assert len(of(results, model)) == 1


def test_half_answers_and_missing_ones_leave_coverage_without_a_tick(results: Results) -> None:
    coverage = next(s for s in results.verdict if s.topic == "coverage")
    assert coverage.tone == "unsure"
    assert (
        "240 of 256 cells of models have an answer (32 are cut off, 32 are empty)" in coverage.text
    )
    assert "16 could not be scored" in coverage.text
    assert (
        "Most often (16 of broken): backend 'Answers' failed: ValueError: worker" in coverage.text
    )


def test_failures_are_told_by_kind_with_one_example_each(results: Results) -> None:
    (failure,) = results.failures
    assert (failure.model, failure.outcome, failure.count) == ("broken", "server", 16)
    assert failure.why == "backend 'Answers' failed: ValueError: worker … died after … tokens"
    cell, said = failure.example
    assert cell.startswith("broken/")
    assert re.search(r"worker 0x[0-9a-f]+ died after \d+ tokens", said)


def test_the_report_shows_why_cells_failed_and_what_they_fall_on(results: Results) -> None:
    from harness.report.page import render

    page = render(results)
    assert "Why cells have no score" in page
    assert "worker … died after … tokens" in page
    assert "What they fall on" in page
    assert "Answers in doubt" in page


def test_failures_that_fall_on_all_alike_are_tested_and_not_warned_of(results: Results) -> None:
    tested = {share.axis: share.p_adjusted for share in results.failure_shares}
    assert tested["variant"] < 0.05
    assert tested["label"] > 0.5
    assert not [w for w in results.warnings if "fall on labels" in w]


# --- no tick where a warning is about -----------------------------------------------------


def test_no_line_stays_favourable_that_a_warning_is_about() -> None:
    lines = [Sentence(topic, "All is well.", "good") for topic in ("accuracy", "gold", "coverage")]
    lines.append(Sentence("scorers", "None is valid.", "bad"))
    warned = [
        RunWarning("a", ("accuracy", "scorers")),
        RunWarning("b", ("accuracy",)),
        RunWarning("c"),
    ]
    found = {s.topic: s for s in heeded(lines, warned)}
    assert [s.tone for s in found.values()] == ["unsure", "good", "good", "bad"]
    assert found["accuracy"].text == "All is well. But 2 warnings are about this."
    assert found["gold"].text == "All is well."


def test_a_terminal_shows_the_first_warnings_and_counts_the_rest() -> None:
    assert lines([]) == ()
    assert lines(["a"]) == ("Warning: a",)
    assert lines(list("abcdefg"))[4:] == ("Warning: e", "Warning: 2 more warnings in the report")


def test_labels_without_gold_take_the_tick_from_the_gold(tmp_path: Path) -> None:
    notes = NOTES + "s9,Note number 9.,colic,colic\n"
    text = changed(
        source={"kind": "table", "path": "./notes.csv", "text": "note", "label": "label", "id": "id"},
        classifier={"kind": "recorded", "path": "./notes.csv", "sample": "id", "label": "predicted"},
        arms=["predicted"], repeats=1, controls=[], scorers=["label"],
    )  # fmt: skip
    found = harness.run(write(tmp_path, text, **{"notes.csv": notes}), out=tmp_path / "run").results
    assert any("has no gold for the labels colic" in w for w in found.warnings)
    assert next(s for s in found.verdict if s.topic == "gold").tone != "good"


@pytest.mark.parametrize(
    ("note", "topics"),
    [
        ("a.csv: 5 predictions are of samples that the source does not have.", ("classifier", "coverage")),
        ("Family gi has no gold for 2 of 9 samples.", ("gold",)),
        ("report.group_by: 3 of 9 samples have no 'site' and are in no group.", ()),
        ("5 of 8 samples have no recorded answer.", ("coverage",)),
    ],
)  # fmt: skip
def test_a_note_on_what_goes_in_is_about_the_line_that_it_puts_in_doubt(
    note: str, topics: tuple[str, ...]
) -> None:
    assert planned([note], {})[0].topics == topics
    assert planned([note], {note: ("accuracy",)})[0].topics == ("accuracy",)


# --- prompts and usage --------------------------------------------------------------------


def asked(prompt: str, tokens: int | None, text: str = "An answer of its own.", cell: str = "c"):
    request = Request("openai", "m", (Message.of("user", prompt),), sampling=Sampling())
    return answer_sets.Prompted(cell, Answer(Generation(text, prompt_tokens=tokens), "ok"), request)


def words(count: int, language: str = "en") -> str:
    return "胃炎是炎症。" * (count // 6) if language == "zh" else " ".join(["stomach"] * count)


@pytest.mark.parametrize(
    ("prompt", "tokens", "warned"),
    [
        (words(8_000), 2_050, True),
        (words(8_000), 8_011, False),
        (words(8_000), 4_500, False),  # a tokenizer of whole phrases
        (words(8_000, "zh"), 1_000, True),
        (words(8_000, "zh"), 5_000, False),
        (words(100), 7, False),  # too short to say
        (words(8_000), None, False),
    ],
)
def test_a_server_that_counts_fewer_tokens_than_a_prompt_has_cuts_it(
    prompt: str, tokens: int | None, warned: bool
) -> None:
    found = answer_sets.cut_prompts("m", [asked(prompt, tokens)])
    assert (found is not None) == warned
    if found is not None:
        assert "the server cuts prompts: raise its context" in found.text
        assert "1 of 1 prompt" in found.text


def test_prompts_of_all_lengths_with_one_count_are_cut_to_it() -> None:
    cut = [asked(words(n), 2_048) for n in (1_500, 2_000, 2_400)] + [asked(words(300), 310)]
    assert answer_sets.cut_prompts("m", cut) is not None
    whole = [asked(words(n), n + 10) for n in (1_500, 2_000, 2_400, 300)]
    assert answer_sets.cut_prompts("m", whole) is None
    alike = [asked(words(299) + f" {i}", 310) for i in range(5)]  # one length, one count
    assert answer_sets.cut_prompts("m", alike) is None


def test_an_answer_that_repeats_its_prompt_is_an_echo_and_one_that_quotes_it_is_not() -> None:
    prompt = "Finding: gastritis. " + words(40) + " Explain its causes to the patient."
    assert answer_sets.echoes("m", [asked(prompt, None, prompt)]) is not None
    assert answer_sets.echoes("m", [asked(prompt, None, f"{prompt} It is common.")]) is not None
    quoted = "It is said that 'Explain its causes' asks for bacteria and painkillers."
    assert answer_sets.echoes("m", [asked(prompt, None, quoted)]) is None


def test_a_limit_of_cost_without_a_count_of_tokens_is_warned_of() -> None:
    answers = [Answer(Generation("a"), "ok"), Answer(Generation("a", prompt_tokens=1, completion_tokens=1), "ok")]  # fmt: skip
    found = answer_sets.missing_usage("m", answers, 0.05, True)
    assert found is not None
    assert "1 of 2 answers came without usage" in found.text
    assert answer_sets.missing_usage("m", answers, None, True) is None
    assert answer_sets.missing_usage("m", answers, 0.05, False) is None
    assert answer_sets.missing_usage("m", answers[1:], 0.05, True) is None


@pytest.mark.parametrize("temperature", [0.0, None])
def test_repeats_that_are_alike_at_no_temperature_are_as_they_should_be(
    temperature: float | None,
) -> None:
    assert answer_sets.identical_repeats("m", [], temperature) is None


# --- the classifier -----------------------------------------------------------------------

PAGE = ClassifierPage("c", ("a", "b"), ((0, 9), (9, 0)), Estimate(0.0), Estimate(0.0), None)


def test_a_classifier_is_below_chance_by_a_test_and_not_by_its_point() -> None:
    assert classifier_warnings(replace(PAGE, p_below_chance=0.2)) == []
    (found,) = classifier_warnings(replace(PAGE, p_below_chance=0.001))
    assert "are `classes` in the order of the outputs" in found.text
    assert "classifier" in found.topics
    assert classifier_warnings(None) == []


def test_two_classes_that_look_exchanged_are_named() -> None:
    (found,) = classifier_warnings(replace(PAGE, p_below_chance=0.9, exchanged=(("a", "b", 0.01),)))
    assert "mostly predicts a for b and b for a" in found.text


# --- kinds of failures --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the server answered HTTP 500: out of memory at 0x7f3a", "the server answered HTTP 500: out of memory at 0x91"),
        ("timed out after 30.5 s", "timed out after 31 s"),
        ("request req_8fA2 failed", "request req_91bc failed"),
        ("trace 3f2b1c9a-1c2d-4e5f-8a9b-0c1d2e3f4a5b", "trace 00000000-1c2d-4e5f-8a9b-0c1d2e3f4a5b"),
        ("id 7f3a9b2c1d is unknown", "id 11aa22bb33 is unknown"),
    ],
)  # fmt: skip
def test_failures_that_differ_in_ids_and_numbers_are_of_one_kind(one: str, other: str) -> None:
    assert words_of(one) == words_of(other)


def test_failures_of_different_statuses_are_different() -> None:
    assert words_of("the server answered HTTP 500") != words_of("the server answered HTTP 404")
    assert words_of("the server answered HTTP 500") == "the server answered HTTP 500"
