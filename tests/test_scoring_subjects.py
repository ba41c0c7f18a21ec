"""Which cells make a group, what a scorer is told of it, and what makes a score another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_suite import changed, write

import harness
from harness.identity import attribution_key
from harness.pipeline import finish
from harness.records import Attribution, Unit
from harness.scoring import Run
from harness.store import Store

TELLER = '''
from harness.records import *

class Teller:
    """A score is the number of answers; its detail is what the scorer was told."""

    metrics = (METRICS,)
    asks_models = ASKS

    def requests(self, subject):
        return REQUESTS

    def score(self, subject, generations):
        detail = {
            "told": subject.told, "schema": subject.schema is not None,
            "cells": [c.id for c in subject.cells], "true": subject.sample.label,
            "predicted": dict(subject.prediction.probabilities),
            "gold": [r and r.claims[0].text for r in (subject.gold_true, subject.gold_told)],
        }
        return [Score(m.name, len(generations), detail) for m in self.metrics]
'''

SECRET = """variant: secret
of: base
axis: detail
preserves_meaning: true
oracle: true
user: 'Explain the {{ aspect }} of {{ label }}: {{ gold_evidence }}'
"""

SILENT = """variant: silent
of: base
axis: wording
preserves_meaning: true
user: 'Explain the {{ aspect }}.'
"""

FALTERING = """
from harness.records import Capabilities, Generation

class Faltering:
    capabilities = Capabilities()

    def __init__(self, model):
        pass

    async def generate(self, request):
        outcomes = OUTCOMES
        text = request.messages[-1].text
        outcome = next((o for word, o in outcomes.items() if word in text), "ok")
        return Generation("half an answer", outcome=outcome, error=outcome)
"""


def teller(
    folder: Path, metrics: str, asks: bool = False, requests: str = "()", **fields: Any
) -> Path:
    """A suite of a parrot, scored by what writes down what it is told."""
    code = TELLER.replace("METRICS", metrics).replace("ASKS", str(asks))
    fields = {"scorers": ["./teller.py:Teller"], "controls": "none", **fields}
    files = {"teller.py": code.replace("REQUESTS", requests)}
    return write(folder, changed(**fields), **files)


def scores(folder: Path) -> list[Any]:
    with Store.read(folder) as store:
        return list(store.scores())


def group(axis: str) -> str:
    return f"Metric('many', subject='group', axis='{axis}', range=(0, None))"


# --- groups -------------------------------------------------------------------------------


def test_stability_over_prompts_leaves_out_variants_that_change_or_give_away_the_answer(
    tmp_path: Path,
) -> None:
    path = teller(tmp_path, group("variant"), arms=["predicted"])
    (tmp_path / "prompts" / "small" / "secret.yaml").write_text(SECRET)
    result = harness.run(path, out=tmp_path / "run", samples=1)
    with Store.read(tmp_path / "run") as store:
        asked = {cell.variant for cell, *_ in store.cells()}
    assert asked == {"base", "json", "pressure", "reworded", "secret"}
    for one in scores(result.folder):
        assert [cell.split("/")[3] for cell in one.detail["cells"]] == ["base", "json", "reworded"]


@pytest.mark.parametrize("axis", ["arm", "repeat"])
def test_repeats_and_arms_of_what_changes_meaning_are_in_no_group_either(
    tmp_path: Path, axis: str
) -> None:
    path = teller(tmp_path, group(axis), arms=["predicted", "gold"])
    (tmp_path / "prompts" / "small" / "secret.yaml").write_text(SECRET)
    result = harness.run(path, out=tmp_path / "run", samples=1)
    asked = {cell.split("/")[3] for one in scores(result.folder) for cell in one.detail["cells"]}
    assert asked == {"base", "json", "reworded"}


@pytest.mark.parametrize("axis", ["arm", "variant", "repeat"])
def test_a_group_has_in_common_what_its_cells_have_and_nothing_else(
    tmp_path: Path, axis: str
) -> None:
    path = teller(tmp_path, group(axis), arms=["predicted", "gold", "wrong"])
    result = harness.run(path, out=tmp_path / "run", samples=2)
    found = scores(result.folder)
    assert found
    place = {"variant": 3, "arm": 4, "repeat": 6}[axis]
    for one in found:
        cells = [cell.split("/") for cell in one.detail["cells"]]
        assert len({cell[place] for cell in cells}) == len(cells) == one.value
        assert len({(*cell[:place], *cell[place + 1 :]) for cell in cells}) == 1
        # The arms of a sample are told different labels; a label told is then that of no group.
        assert (one.detail["told"] is not None) == (axis != "arm")
        assert (one.detail["gold"][1] is not None) == (axis != "arm")
        assert one.detail["schema"] == (axis != "variant" and "/json/" in one.subject)
    assert max(one.value for one in found) == {"variant": 3, "arm": 3, "repeat": 2}[axis]


# --- subjects -----------------------------------------------------------------------------


def test_a_samples_own_gold_is_that_of_its_truth_and_never_that_of_the_label_told(
    tmp_path: Path,
) -> None:
    path = teller(
        tmp_path, "Metric('many', range=(0, None))", arms=["predicted", "gold", "none"],
        families=[{"family": "small", "variants": ["base"], "aspects": ["causes"]}],
    )  # fmt: skip
    own = [
        {"sample": s, "aspect": "causes", "claims": [{"id": "a", "text": f"Of {s}."}]}
        for s in ("s1", "s2")
    ]
    (tmp_path / "gold" / "small" / "own.json").write_text(json.dumps(own))
    harness.run(path, out=tmp_path / "run")
    of_label = {"gastritis": "Gastritis and its causes involve bacteria."}
    of_label["indigestion"] = "Indigestion and its causes involve rich meals."
    found = {one.subject: one.detail for one in scores(tmp_path / "run")}
    for name, detail in found.items():
        sample, arm = name.split("/")[1], name.split("/")[4]
        true, told = detail["gold"]
        assert true == (f"Of {sample}." if sample in ("s1", "s2") else of_label["indigestion"])
        assert told == of_label.get(detail["told"] or "")
        assert (told is None) == (arm == "none")
    assert len(found) == 4 * 3 * 2


def test_a_scorer_reads_the_attributions_of_the_run_and_not_those_laid_beside_them(
    tmp_path: Path,
) -> None:
    path = teller(tmp_path, "Metric('many', range=(0, None))", arms=["predicted"])
    harness.run(path, out=tmp_path / "run", samples=2)
    mine, other = (
        Attribution("s1", method, "word", "gastritis", "logit", "mask", (Unit("a"),), (0.5,))
        for method in ("lime", "rise")
    )
    with Store.write(tmp_path / "run") as store:
        store.put_attributions([mine, other])
        store.set_meta({"explained_keys": [attribution_key(mine)]})
        run = Run(store)
        read = [run.subject(a, ("attributions",)) for a in run.scorable()]
        unread = [run.subject(a) for a in run.scorable()]
    for subject in read:
        own = subject.sample is not None and subject.sample.id == "s1"
        assert subject.attributed == ((mine,) if own else ())
        assert subject.attributions == ((attribution_key(mine),) if own else ())
    assert not any(subject.attributed or subject.attributions for subject in unread)


@pytest.mark.parametrize("gold", ["label", "sample"])
def test_samples_that_share_gold_are_no_independent_units(tmp_path: Path, gold: str) -> None:
    path = teller(tmp_path, "Metric('many', range=(0, None))", arms=["predicted"], repeats=1)
    if gold == "sample":
        own = {"sample": "s1", "aspect": "causes", "claims": [{"id": "a", "text": "Of s1."}]}
        (tmp_path / "gold" / "small" / "gold.json").write_text(json.dumps([own]))
    harness.run(path, out=tmp_path / "run")
    with Store.read(tmp_path / "run") as store:
        run = Run(store)
        clusters = {name: run.cluster(name) for name in run.samples}
        labels = {name: sample.label for name, sample in run.samples.items()}
    assert clusters == (labels if gold == "label" else {name: name for name in labels})


def test_what_no_model_answered_has_no_score_and_what_it_answered_badly_has_one(
    tmp_path: Path,
) -> None:
    outcomes = {
        "causes of gastritis": "too_long", "treatment of gastritis": "server",
        "causes of indigestion": "truncated", "treatment of indigestion": "refusal",
    }  # fmt: skip
    path = teller(
        tmp_path, "Metric('many', range=(0, None))", arms=["predicted"], repeats=1,
        models=[{"name": "m", "backend": "./faltering.py:Faltering"}],
        families=[{"family": "small", "variants": ["reworded"]}],
    )  # fmt: skip
    (tmp_path / "faltering.py").write_text(FALTERING.replace("OUTCOMES", repr(outcomes)))
    harness.run(path, out=tmp_path / "run")
    with Store.read(tmp_path / "run") as store:
        answered = Run(store).answered
    assert {a.outcome for a in answered.values()} == set(outcomes.values())
    assert {one.subject for one in scores(tmp_path / "run")} == {
        name for name, a in answered.items() if a.outcome in ("truncated", "refusal")
    }


# --- what a score is made of --------------------------------------------------------------


def test_a_score_is_made_again_where_its_cell_is_told_another_label_in_the_same_prompt(
    tmp_path: Path,
) -> None:
    recorded = {"kind": "recorded", "path": "./recorded.csv", "probabilities": {}}
    path = teller(
        tmp_path, "Metric('told', range=(0, None))", arms=["wrong"], classifier=recorded,
        models=[{"name": "m", "backend": "./faltering.py:Faltering"}],
        families=[{"family": "small", "variants": ["silent"]}],
    )  # fmt: skip
    (tmp_path / "faltering.py").write_text(FALTERING.replace("OUTCOMES", "{}"))
    (tmp_path / "prompts" / "small" / "silent.yaml").write_text(SILENT)
    rows = "sample,label\ns1,gastritis\ns2,gastritis\ns3,indigestion\ns4,indigestion\n"
    classes = ["ulcer", "reflux", "hernia"]
    (tmp_path / "recorded.csv").write_text(rows + "".join(f"x{c},{c}\n" for c in classes))
    found, keys = [], []
    for seed in (0, 1):  # another seed draws another wrong label
        harness.run(path, out=tmp_path / "run", settings=[f"seed={seed}"])
        found.append({one.subject: one for one in scores(tmp_path / "run")})
        with Store.read(tmp_path / "run") as store:
            told = {cell.id: label for cell, label, _ in store.cells()}
            keys.append(store.answered("m"))
        assert {name: one.detail["told"] for name, one in found[-1].items()} == told
    assert keys[0] == keys[1]  # nothing was asked anew
    before, after = found
    differ = {name for name in before if before[name].detail["told"] != after[name].detail["told"]}
    assert differ
    assert {name for name in before if before[name].of != after[name].of} == differ


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("rich meals.,indigestion,indigestion,0.1,0.9", "rich meals.,gastritis,indigestion,0.1,0.9"),
        ("rich meals.,indigestion,indigestion,0.1,0.9", "rich meals.,indigestion,indigestion,0.3,0.7"),
    ],
    ids=["true label", "probabilities"],
)  # fmt: skip
def test_a_score_is_made_again_where_its_samples_label_or_prediction_changed(
    tmp_path: Path, before: str, after: str
) -> None:
    path = teller(tmp_path, "Metric('many', range=(0, None))", arms=["none"])
    harness.run(path, out=tmp_path / "run")
    old = {one.subject: one for one in scores(tmp_path / "run")}
    notes = tmp_path / "notes.csv"
    assert before in notes.read_text()
    notes.write_text(notes.read_text().replace(before, after))
    harness.run(path, out=tmp_path / "run")
    new = {one.subject: one for one in scores(tmp_path / "run")}
    assert old.keys() == new.keys()
    _, label, _, first, second = after.split(",")
    for name, one in new.items():
        is_changed = name.split("/")[1] == "s3"
        assert (one.of != old[name].of) == is_changed
        if is_changed:
            assert one.detail["true"] == label
            assert list(one.detail["predicted"].values()) == [float(first), float(second)]


def test_a_subject_whose_question_was_never_sent_is_left_unscored_and_counted(
    tmp_path: Path,
) -> None:
    path = teller(tmp_path, "Metric('words', range=(0, None))", arms=["predicted"])
    harness.run(path, out=tmp_path / "run", samples=1)
    before = len(scores(tmp_path / "run"))
    assert before
    teller(
        tmp_path, "Metric('words', range=(0, None))", asks=True,
        requests="[Request('b', 'm', (Message.of('user', subject.id),), continuation=(1,))]",
        arms=["predicted"],
    )  # fmt: skip
    with Store.write(tmp_path / "run") as store:
        finish(store)  # without the suite's models there is nobody to ask
        assert store.meta()["unjudged"] == {"Teller": before}
        assert store.meta()["finished"] is False
        versions = {one.version for one in store.scores()}
    assert len(versions) == 1
    assert len(scores(tmp_path / "run")) == before
