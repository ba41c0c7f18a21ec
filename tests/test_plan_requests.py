"""What a request holds: all that determines its answer, and nothing that the model cannot take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_suite import changed, write

from harness.pipeline import plan_only
from harness.plan import Plan, _Context, next_turn
from harness.records import Cell
from harness.suite import load

ASKED = """
from harness.records import Capabilities, Generation

class Asked:
    def __init__(self, model, revision=None, extras=None, **can):
        self.model_id = "org/" + model
        self.revision = revision
        self.extras = extras or {}
        self.capabilities = Capabilities(**can)

    async def generate(self, request):
        return Generation("x")
"""
MODEL = {"name": "m", "backend": "./asked.py:Asked", "model": "small"}


def planned(folder: Path, model: dict[str, Any] | None = None, **changes: Any) -> Plan:
    fields = {"models": [MODEL | (model or {})], "controls": "none", "arms": ["predicted"]}
    path = write(folder, changed(**fields | changes), **{"asked.py": ASKED})
    return plan_only(load(str(path)))[0]


def keys(plan: Plan) -> dict[str, str]:
    return {p.cell.id: p.key for p in plan.cells}


@pytest.mark.parametrize(
    "other",
    [
        {"revision": "b"},
        {"extras": {"logprobs": 5}},
        {"model": "large"},
        {"sampling": {"temperature": 0.5}},
        {"sampling": {"max_tokens": 9}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_model_or_another_way_to_draw_makes_every_request_another(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    first = keys(planned(tmp_path, {"revision": "a"}))
    same = keys(planned(tmp_path, {"revision": "a", "concurrency": 3}))
    others = keys(planned(tmp_path, {"revision": "a"} | other))
    assert first == same
    assert first.keys() == others.keys()
    assert not set(first.values()) & set(others.values())


def test_a_schema_and_a_seed_are_sent_only_to_who_can_use_them(tmp_path: Path) -> None:
    for can in (True, False):
        plan = planned(tmp_path, {"schema": can, "seed": can})
        schemas = {p.cell.variant for p in plan.cells if p.request.schema is not None}
        seeds = {p.request.sampling.seed for p in plan.cells}
        assert schemas == ({"json"} if can else set())
        assert (None in seeds) == (not can)
        assert len(seeds) == (len({p.key for p in plan.cells}) if can else 1)


def test_the_seed_of_a_later_turn_follows_from_all_that_was_said_before(tmp_path: Path) -> None:
    path = write(tmp_path)
    suite = load(str(path))
    plan = plan_only(suite)[0]
    first = next(p for p in plan.cells if p.cell.variant == "pressure" and p.later)
    asked = [
        next_turn(suite, first.request, text, first.later[0], True) for text in ("A", "A", "B")
    ]
    assert asked[0] == asked[1]
    seeds = {one.sampling.seed for one in (first.request, *asked)}
    assert len(seeds) == 3
    assert None not in seeds
    plain = next_turn(suite, first.request, "A", first.later[0], False)
    assert plain.sampling.seed is None


def test_what_a_prompt_shows_as_id_is_neither_the_samples_nor_the_same_in_another_run(
    tmp_path: Path,
) -> None:
    path = write(tmp_path)
    variant = "variant: named\nof: base\naxis: detail\npreserves_meaning: true\nuser: 'Case {{ id }}: {{ label }}?'\n"
    (tmp_path / "prompts" / "small" / "named.yaml").write_text(variant)
    shown: list[dict[str, str]] = []
    for seed in (0, 0, 1):
        plan = plan_only(load(str(path), [f"seed={seed}"]))[0]
        texts = {
            p.cell.sample: p.request.messages[-1].text.split()[1].rstrip(":")
            for p in plan.cells
            if (p.cell.model, p.cell.variant) == ("parrot", "named")
        }
        assert len(set(texts.values())) == len(texts) == 4
        assert not any(sample in text for sample, text in texts.items())
        shown.append(texts)
    assert shown[0] == shown[1]
    assert not set(shown[0].values()) & set(shown[2].values())


def test_a_control_is_asked_anew_where_the_gold_that_it_reads_changed(tmp_path: Path) -> None:
    first = keys(planned(tmp_path, controls=["gold", "told", "empty"]))
    path = tmp_path / "suite.yaml"
    gold = tmp_path / "gold" / "small" / "gold.json"
    text = gold.read_text()
    changed_text = text.replace("Gastritis and its causes involve bacteria", "It is bacteria")
    assert changed_text != text
    gold.write_text(changed_text)
    second = keys(plan_only(load(str(path)))[0])
    samples = {"s1", "s2"}  # whose true label is gastritis
    for name in first:
        cell = Cell.parse(name)
        reads = cell.model == "control:gold" and cell.sample in samples
        told = {"s1"}  # what is predicted to be gastritis
        reads |= cell.model == "control:told" and cell.sample in told
        assert (first[name] != second[name]) == (reads and cell.aspect == "causes")


# --- what a control may look at -----------------------------------------------------------


def context(folder: Path, **evidence: str) -> _Context:
    suite = load(str(write(folder)))
    return _Context(suite, replace(plan_only(suite)[1], evidence=evidence))


def cell(sample: str) -> Cell:
    return Cell("control:x", sample, "small", "base", "predicted", "causes", 1)


def test_a_control_is_shown_what_speaks_for_the_label_and_not_what_speaks_against(
    tmp_path: Path,
) -> None:
    found = context(
        tmp_path, s1="pain (against it: meals)", s2="nothing in particular", s3="pain", s4="burps"
    )
    assert [found.evidence(cell(f"s{i}")) for i in range(1, 6)] == [
        "pain",
        None,
        "pain",
        "burps",
        None,
    ]


def test_other_evidence_is_never_ones_own_also_where_two_samples_share_it(tmp_path: Path) -> None:
    found = context(tmp_path, s1="pain", s2="pain (against it: meals)", s3="meals", s4="burps")
    for i, own in enumerate(("pain", "pain", "meals", "burps"), 1):
        other = found.evidence_other(cell(f"s{i}"))
        assert other is not None
        assert other != own
    assert context(tmp_path, s1="pain", s2="pain").evidence_other(cell("s1")) is None


def test_the_gold_of_another_is_of_another_label_also_where_samples_have_gold_of_their_own(
    tmp_path: Path,
) -> None:
    own = [
        {"sample": f"s{i}", "aspect": "causes", "claims": [{"id": "a", "text": f"Of s{i}."}]}
        for i in range(1, 5)
    ]
    path = write(tmp_path)
    (tmp_path / "gold" / "small" / "gold.json").write_text(json.dumps(own))
    for seed in range(6):
        suite = load(str(path), [f"seed={seed}"])
        made = _Context(suite, plan_only(suite)[1])
        for i in range(1, 5):
            other = made.gold_other(cell(f"s{i}"))
            assert other.sample in ({"s3", "s4"} if i < 3 else {"s1", "s2"})
