"""What each control says follows from gold alone, and its request from all that it reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from harness.backends.control import Control
from harness.records import Cell, Claim, GoldRecord, HarnessError, Message, Request, Sample

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
