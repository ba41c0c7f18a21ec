"""What each control says follows from gold alone, and its request from all that it reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from harness.backends.control import Control
from harness.backends.gold_edits import with_other_numbers
from harness.records import Cell, Claim, GoldRecord, HarnessError, Message, Request, Sample
from harness.sentences import sentences

CELL = Cell("control:x", "s1", "f", "base", "predicted", "causes", 1)


def record(thing: str, paraphrases: tuple[str, ...] = (), label: str = "x") -> GoldRecord:
    return GoldRecord(
        "causes",
        (
            Claim("a", f"It is {thing}", "must", paraphrases=paraphrases, contradiction=f"It is never {thing}."),
            Claim("b", f"It may be old {thing}.", "nice"),
            Claim("c", f"It is poison {thing}.", "must_not", contradiction=f"It is no poison {thing}."),
        ),
        label=label,
    )  # fmt: skip


class Context:
    """What a plan hands to a control, with one sample."""

    seed = 5

    def __init__(self, **said: Any) -> None:
        self.said = {
            "true": record("true"), "told": record("told"), "other": record("other"),
            "evidence": "pain", "evidence_other": "reflux",
        } | said  # fmt: skip

    def sample(self, cell: Cell) -> Sample:
        return Sample(cell.sample, ())

    def told(self, cell: Cell) -> str | None:
        return "x"

    def gold_true(self, cell: Cell) -> Any:
        return self.said["true"]

    def gold_told(self, cell: Cell) -> Any:
        return self.said["told"]

    def gold_other(self, cell: Cell) -> Any:
        return self.said["other"]

    def evidence(self, cell: Cell) -> Any:
        return self.said["evidence"]

    def evidence_other(self, cell: Cell) -> Any:
        return self.said["evidence_other"]


def control(kind: str, **said: Any) -> Control:
    made = Control(kind)
    made.bind(Context(**said))
    return made


def says(
    made: Control, cell: Cell = CELL, schema: Mapping[str, Any] | None = None, *before: Message
) -> str:
    messages = (Message.of("system", "Be brief."), *before, Message.of("user", "Why?"))
    request = Request("control", "x", messages, schema=schema, cell=cell.id)
    return asyncio.run(made.generate(request)).text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("gold", "It is true. It may be old true."),
        ("told", "It is told. It may be old told."),
        ("other-label", "It is other. It may be old other."),
        ("negated", "It is never true."),
        ("evidence", "The classifier relied on pain."),
        ("other-evidence", "The classifier relied on reflux."),
        ("echo", "Why?"),
        ("empty", ""),
        ("mix(1)", "It is true. It may be old true."),
        ("mix(0)", "It is other. It may be old other."),
    ],
)
def test_a_control_says_what_its_name_says_and_never_what_must_not_be_said(
    kind: str, text: str
) -> None:
    assert says(control(kind)) == text


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("gold", "true"),
        ("paraphrase", "true"),
        ("negated", "true"),
        ("told", "told"),
        ("other-label", "other"),
        ("evidence", "evidence"),
        ("other-evidence", "evidence_other"),
    ],
)
def test_a_control_has_no_answer_where_what_it_would_say_is_missing(
    kind: str, missing: str
) -> None:
    given = record("true", ("The truth is so.",))
    assert control(kind, true=given).answers(CELL)
    assert not control(kind, **{"true": given, missing: None}).answers(CELL)
    for always in ("empty", "echo"):
        assert control(always, **{missing: None}).answers(CELL)


def test_a_paraphrase_is_drawn_anew_for_each_variant_and_repeat_and_the_same_twice() -> None:
    made = control("paraphrase", true=record("true", tuple(f"Way {i}." for i in range(20))))
    cells = [
        Cell("m", sample, "f", variant, "predicted", "causes", repeat)
        for sample in ("s1", "s2")
        for variant in ("base", "v")
        for repeat in (1, 2)
    ]
    texts = [says(made, cell) for cell in cells]
    assert texts == [says(made, cell) for cell in cells]
    drawn = dict(zip(cells, texts, strict=True))
    for axis in ("sample", "variant", "repeat"):
        changes = [
            drawn[a] != drawn[b]
            for a in cells
            for b in cells
            if [f for f in vars(a) if vars(a)[f] != vars(b)[f]] == [axis]
        ]
        assert any(changes), axis
    assert not control("paraphrase", true=record("true")).answers(CELL)


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_a_mix_says_gold_as_often_as_its_share(share: float) -> None:
    made = control(f"mix({share})")
    texts = [
        says(made, Cell("m", f"s{i}", "f", "base", "predicted", "causes", 1)) for i in range(400)
    ]
    found = sum("true" in text for text in texts) / len(texts)
    # The standard error of such a share is at most .02.
    assert abs(found - share) < 0.1
    assert {text.split()[2] for text in texts} == {"true.", "other."}


@pytest.mark.parametrize(
    "kind", ["mix(2)", "mix(-1)", "mix(0.5)0", "mix", "mix()", "Gold", "gold "]
)
def test_a_control_that_there_is_not_is_refused(kind: str) -> None:
    with pytest.raises(HarnessError, match="there is no control"):
        Control(kind)


def test_a_control_that_was_given_no_gold_says_so() -> None:
    with pytest.raises(HarnessError, match="before it is bound to gold"):
        Control("gold").answers(CELL)


@pytest.mark.parametrize(
    "kind", ["gold", "paraphrase", "told", "negated", "other-label", "evidence", "other-evidence"]
)
def test_what_a_control_reads_is_told_from_other_gold_and_from_other_controls(kind: str) -> None:
    def read(kind: str, name: str) -> str:
        gold = record(name, (f"Say {name}.",))
        said = {"true": gold, "told": gold, "other": gold, "evidence": name, "evidence_other": name}
        return control(kind, **said).reads(CELL)

    assert read(kind, "this") == read(kind, "this")
    assert read(kind, "this") != read(kind, "that")
    assert read(kind, "this") != read("echo", "this")


def test_an_answer_in_json_holds_the_text_once_and_fits_its_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "language": {"enum": ["en", "de"]},
            "kind": {"const": "note"},
            "explanation": {"type": ["string", "null"]},
            "more": {"type": "array", "items": {"type": "string"}},
            "title": {"type": "string"},
            "certain": {"type": "boolean"},
            "count": {"type": "integer"},
        },
    }
    assert json.loads(says(control("gold"), CELL, schema)) == {
        "language": "en", "kind": "note", "explanation": "It is true. It may be old true.",
        "more": [], "title": "", "certain": False, "count": 0,
    }  # fmt: skip
    listed = {
        "type": "object",
        "properties": {"reasons": {"type": "array", "items": {"type": "string"}}},
    }
    assert json.loads(says(control("told"), CELL, listed)) == {
        "reasons": ["It is told. It may be old told."]
    }
    assert says(control("echo"), CELL, schema) == "Why?"


NUMBERED = GoldRecord(
    "causes",
    (
        Claim("a", "It lasts two to three days.", paraphrases=("Two to three days pass.",),
              contradiction="It never ends."),
        Claim("b", "Rest helps against it.", paraphrases=("One should rest.",)),
        Claim("c", "Type 2 is rare and MEN1 rarer."),
        Claim("d", "Take 500 mg of it.", "must_not", paraphrases=("Swallow 500 mg.",)),
    ),
    label="x",
)  # fmt: skip


def texts(kind: str, gold: GoldRecord, count: int = 60) -> set[str]:
    """What a control says over many variants."""
    made = control(kind, true=gold)
    return {
        says(made, Cell("m", "s1", "f", f"v{i}", "predicted", "causes", 1)) for i in range(count)
    }


def test_a_reworded_answer_draws_each_claim_from_its_text_and_its_paraphrases() -> None:
    assert texts("reworded", NUMBERED) == {
        f"{a} {b} Type 2 is rare and MEN1 rarer."
        for a in ("It lasts two to three days.", "Two to three days pass.")
        for b in ("Rest helps against it.", "One should rest.")
    }


def test_one_dropped_says_what_reworded_says_without_one_claim_and_each_in_turn() -> None:
    reworded, dropped = (control(kind, true=NUMBERED) for kind in ("reworded", "one-dropped"))
    left_out = set()
    for i in range(60):
        cell = Cell("m", "s1", "f", f"v{i}", "predicted", "causes", 1)
        whole, less = says(reworded, cell), says(dropped, cell)
        (missing,) = set(sentences(whole)) - set(sentences(less))
        assert len(sentences(less)) == 2
        left_out.add(missing)
    assert left_out == {
        "It lasts two to three days.", "Two to three days pass.", "Rest helps against it.",
        "One should rest.", "Type 2 is rare and MEN1 rarer.",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "changed"),
    [("one-reversed", "It never ends."), ("number-changed", "It lasts 10 to 15 days.")],
)
def test_one_change_alone_still_makes_two_texts_that_differ(kind: str, changed: str) -> None:
    rest = "Rest helps against it. Type 2 is rare and MEN1 rarer."
    assert texts(kind, NUMBERED) == {f"It lasts two to three days. {rest}", f"{changed} {rest}"}


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("It takes 12 to 48 hours.", "It takes 60 to 240 hours."),
        ("It lasts 2-3 days, at most 1,000 hours.", "It lasts 10-15 days, at most 5000 hours."),
        ("In 25 or 30 percent, or 8%, it is 2.5 mg.", "In 5 or 6 percent, or 1.6%, it is 12.5 mg."),
        ("Licensed in 1993.", "Licensed in 2043."),
        ("One to three of five people.", "5 to 15 of 25 people."),
    ],
)
def test_every_number_that_stands_by_itself_is_changed_in_its_place(
    text: str, changed: str
) -> None:
    assert with_other_numbers(text) == changed


@pytest.mark.parametrize(
    "text",
    ["MEN1, COVID-19 and vitamin B12.", "One of them.", "Type 2 in stage 3.", "The 3rd of 12/05."],
)
def test_numbers_that_are_names_stay(text: str) -> None:
    assert with_other_numbers(text) == text


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("reworded", "no claim has a paraphrase"),
        ("paraphrase", "no claim has a paraphrase"),
        ("one-reversed", "no claim has a contradiction"),
        ("negated", "no claim has a contradiction"),
        ("number-changed", "no claim holds a number"),
        ("one-dropped", "there is only one claim"),
    ],
)
def test_a_control_that_gold_cannot_make_says_what_gold_lacks(kind: str, why: str) -> None:
    bare = GoldRecord("causes", (Claim("a", "It is so."),), label="x")
    made = control(kind, true=bare)
    assert not made.answers(CELL)
    assert made.lacks(CELL) == f"it has no answer to give, as {why} in the gold"
    assert control(kind, true=None).lacks(CELL) is None
