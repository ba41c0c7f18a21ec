"""Explanations that cite what was used, what was not, and nothing: by closed form and by drawing."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from small_suite import changed, write

import harness
from harness.explainers.summary import summary as explain_summary
from harness.export import scores_table
from harness.pipeline import plan_only
from harness.plan import _Context
from harness.records import (
    Attribution,
    Cell,
    Generation,
    HarnessError,
    Part,
    Prediction,
    Sample,
    Score,
    Subject,
    Unit,
)
from harness.scorers.rationale import Rationale
from harness.store import Store
from harness.suite import EVIDENCE_CONTROLS, load

WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
VALUES = (0.1, 3.0, -1.0, 2.0, 0.0, 0.4, 0.02, 1.0)  # used most: bravo, delta, hotel


def attribution(values: tuple[float | None, ...] = VALUES, **fields: Any) -> Attribution:
    units, start = [], 0
    for word in WORDS[: len(values)]:
        units.append(Unit(f"{word} ", start, start + len(word) + 1))
        start += len(word) + 1
    given = {"method": "shap", "target": "ill", **fields}
    return Attribution(
        "s", unit="word", output="logit", removal="mask", units=tuple(units), values=values, **given
    )


def subject(text: str, *others: str, told: str | None = "ill", **fields: Any) -> Subject:
    given = {"attributed": (attribution(),), "prediction": Prediction("s", "ill"), **fields}
    return Subject(
        "cell", "c", (Cell("m", "s", "f", "base", "predicted", "a", 1),),
        sample=Sample("s", (Part(" ".join(WORDS)),)), told=told, labels=("ill", "well"),
        generations=(Generation(text),), others=tuple(map(Generation, others)),
        attributions=tuple(f"key{i}" for i in range(len(given["attributed"]))), **given,
    )  # fmt: skip


def scores(one: Subject, **settings: Any) -> dict[str, Score]:
    scorer = Rationale(**settings)
    found = scorer.score(one, one.generations)
    assert [s.metric for s in found] == [m.name for m in scorer.metrics]
    return {score.metric: score for score in found}


def values(one: Subject, **settings: Any) -> dict[str, float | None]:
    return {name: score.value for name, score in scores(one, **settings).items()}


def test_what_was_used_is_cited_or_not() -> None:
    right = values(subject("It is bravo, delta and hotel."))
    assert (right["precision"], right["recall"], right["f1"]) == (1, 1, 1)
    assert right["rank"] == pytest.approx(spearmanr(VALUES, [0, 1, 0, 1, 0, 0, 0, 1]).statistic)
    wrong = values(subject("Charlie and echo."))
    assert (wrong["precision"], wrong["recall"], wrong["f1"]) == (0, 0, 0)
    assert (wrong["rank"] or 0) < 0
    half = values(subject("Bravo and echo."))
    assert (half["precision"], half["recall"]) == (1 / 2, 1 / 3)
    assert half["f1"] == pytest.approx(2 / 5)
    silent = values(subject("No word of it."))
    assert (silent["precision"], silent["recall"], silent["f1"], silent["rank"]) == (
        None,
        0,
        0,
        None,
    )
    everything = values(subject(" ".join(WORDS)))
    assert (everything["precision"], everything["recall"], everything["rank"]) == (3 / 8, 1, None)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_the_floor_is_the_mean_over_all_texts_that_cite_as_many(count: int) -> None:
    """By brute force over all sets of cited words."""
    found = [values(subject(" ".join(chosen))) for chosen in itertools.combinations(WORDS, count)]
    for name in ("f1", "precision", "recall"):
        floors = {one[f"{name}_random"] for one in found}
        assert len(floors) == 1
        assert np.mean([one[name] for one in found]) == pytest.approx(floors.pop())
    if count < 8:
        assert np.mean([one["rank"] for one in found]) == pytest.approx(0.0, abs=1e-12)
    above = [one["f1_above_random"] for one in found]
    assert np.mean(above) == pytest.approx(0.0, abs=1e-12)


def test_another_samples_explanation_is_held_against_this_sample() -> None:
    found = values(subject("Bravo.", "Bravo and delta.", "Nothing.", "Golf."))
    alone = [values(subject(text)) for text in ("Bravo and delta.", "Nothing.", "Golf.")]
    for name in ("f1", "precision", "recall", "rank"):
        known = [one[name] for one in alone if one[name] is not None]
        assert found[f"{name}_other_sample"] == pytest.approx(np.mean(known))
    assert found["f1_above_other_sample"] == pytest.approx(
        (found["f1"] or 0) - np.mean([one["f1"] for one in alone])
    )
    assert values(subject("Bravo."))["f1_other_sample"] is None


def test_how_many_count_as_used_is_a_setting_and_at_most_half() -> None:
    assert values(subject("Bravo."), top=1)["recall"] == 1
    assert values(subject("Bravo."), top=100)["recall"] == 1 / 4  # of the four that speak for it
    few = subject("Bravo.", attributed=(attribution((1.0, 2.0, 3.0)),))
    assert scores(few)["f1"].detail == {
        "method": "shap", "unit": "word", "target": "ill", "items": 3, "used": ["charlie"], "cited": ["bravo"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attributed": ()}, "no 'explain' entry"),
        ({"told": "well"}, "no attribution explains 'well'"),
        (
            {"attributed": (attribution((-1.0, -2.0, 0.0, -3.0)),)},
            "nothing that can be cited speaks for",
        ),
        ({"attributed": (attribution(()),)}, "no unit that can be cited"),
        ({"attributed": (attribution((None, None)),)}, "no unit that can be cited"),
    ],
)
def test_without_an_attribution_of_the_label_nothing_is_applicable(
    changes: dict[str, Any], said: str
) -> None:
    found = scores(subject("Bravo.", **changes))
    assert all(score.value is None for score in found.values())
    assert said in (found["f1"].detail or {})["why"]


def test_the_attribution_is_that_of_the_label_told_and_of_the_method_named() -> None:
    other = attribution(tuple(reversed(VALUES)), method="lime")
    well = attribution(tuple(-v for v in VALUES), target="well")
    both = (attribution(), well, other)
    assert values(subject("Bravo.", attributed=both))["recall"] == 1 / 3
    assert values(subject("Bravo.", attributed=both), method="lime")["recall"] == 0
    assert values(subject("Charlie.", attributed=both, told="well"))["recall"] == 1
    unnamed = subject("Bravo.", attributed=both, told=None)
    assert values(unnamed)["recall"] == 1 / 3  # the predicted label's
    missing = scores(subject("Bravo."), method="rise")
    assert "method 'rise'" in (missing["f1"].detail or {})["why"]


def test_refusals_and_json_are_read_as_explanations_are() -> None:
    assert (
        values(replace(subject(""), generations=(Generation("Bravo", outcome="refusal"),)))["f1"]
        == 0
    )
    schema = {"type": "object"}
    json_ = replace(subject('{"delta": "bravo"}'), schema=schema)
    assert values(json_)["recall"] == 1 / 3  # a key is no explanation


@pytest.mark.parametrize("field", [{"top": 0}, {"regions": "eighths"}, {"method": 3}])
def test_fields_that_cannot_be_right_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match="scorer 'rationale'"):
        Rationale(**field)


# --- through a suite ------------------------------------------------------------------------------

NOTES = "id,note,label\n" + "".join(
    f"n{i},{first} {second} on a {day} in {place}.,{label}\n"
    for i, (first, second, day, place, label) in enumerate(
        (first, second, day, place, label)
        for label, firsts in (("gastritis", ("Aspirin", "Ibuprofen", "Naproxen")), ("indigestion", ("Pizza", "Curry", "Cheese")))
        for first, second, day, place in zip(
            firsts * 4, ("daily", "weekly", "nightly", "rarely") * 3,
            ("Monday", "Tuesday", "Friday") * 4, ("Rome", "Oslo", "Lima", "Bern", "Kiev", "Cork") * 2, strict=True,
        )
    )
)  # fmt: skip
JUDGE = '''"""Drugs speak for gastritis, dishes for indigestion."""


def judge(texts):
    found = []
    for t in texts:
        for_it = 0.6 * any(w in t for w in ("Aspirin", "Ibuprofen", "Naproxen")) + 0.1 * ("daily" in t)
        against = 0.6 * any(w in t for w in ("Pizza", "Curry", "Cheese")) + 0.1 * ("Lima" in t)
        share = (1 + for_it - against) / 2
        found.append([share, 1 - share])
    return found
'''
SPEAKER = '''"""Says the first word of the note, or one that every note holds."""
from harness.records import Capabilities, Generation


class Speaker:
    capabilities = Capabilities()

    def __init__(self, model):
        self.model = model

    async def generate(self, request):
        text = request.messages[-1].text.partition("Record: ")[2]
        return Generation("Because of " + (text.split()[0] if self.model == "first" else text.split()[4]))
'''


def run_suite(folder: Path, **changes: Any) -> Any:
    families = [{"family": "small", "variants": ["base"], "aspects": ["causes"], "gold": None}]
    fields = {
        "source": {"kind": "table", "path": "./notes.csv", "text": "note", "label": "label", "id": "id"},
        "classifier": {"kind": "callable", "function": "./judge.py:judge", "classes": ["gastritis", "indigestion"]},
        "explain": {"methods": ["exact_shapley"], "unit": "word"},
        "families": families, "arms": ["predicted"], "repeats": 1, "controls": list(EVIDENCE_CONTROLS),
        "models": [
            {"name": name, "backend": "./speaker.py:Speaker", "model": name} for name in ("first", "fourth")
        ],
        "scorers": ["harness.scorers.rationale:Rationale"],
        **changes,
    }  # fmt: skip
    family = "family: small\nquestion: Why?\naspects: [causes]\nuser: '{{ label }}? Record: {{ input }}'\n"
    files = {"judge.py": JUDGE, "speaker.py": SPEAKER, "prompts__small__family.yaml": family}
    return write(folder, changed(**fields), **files, **{"notes.csv": NOTES})


def means(folder: Path) -> Any:
    with Store.read(folder / "run") as store:
        table = scores_table(store)
    table["model"] = table["subject"].str.split("/").str[0]
    return table.pivot_table(index="model", columns="metric", values="value", aggfunc="mean")


def test_a_model_that_cites_what_decided_is_told_from_one_that_does_not(tmp_path: Path) -> None:
    result = harness.run(run_suite(tmp_path), out=tmp_path / "run")
    found = means(tmp_path)
    assert found.loc["first", "recall"] > 0.5
    assert found.loc["first", "precision"] == 1
    assert found.loc["fourth", "recall"] == 0
    assert found.loc["first", "f1_above_random"] > 0.3 > 0 > found.loc["fourth", "f1_above_random"]
    assert found.loc["control:evidence", "f1"] == 1
    assert found.loc["control:other-evidence", "f1"] < 0.2
    validity = {m.id: m.validity for m in result.results.metrics}
    assert validity["Rationale.f1"] == validity["Rationale.recall"] == "valid"
    assert validity["Rationale.f1_above_random"] == "valid"
    assert validity["Rationale.f1_random"] == "baseline"
    assert "invalid" not in validity.values()


def test_scores_are_made_again_where_the_classifier_is_explained_otherwise(tmp_path: Path) -> None:
    path = run_suite(tmp_path)
    harness.run(path, out=tmp_path / "run")
    before = means(tmp_path)
    harness.run(path, out=tmp_path / "run")
    assert means(tmp_path).equals(before)
    changed_judge = JUDGE.replace(
        '"Aspirin", "Ibuprofen", "Naproxen"', '"Monday", "Tuesday", "Friday"'
    )
    assert changed_judge != JUDGE
    from harness.cli import main

    (tmp_path / "judge.py").write_text(changed_judge)
    assert (
        main(["explain", str(path), "--out", str(tmp_path / "run"), "--method", "leave_one_out"])
        == 0
    )
    assert main(["score", str(tmp_path / "run")]) == 0
    with Store.read(tmp_path / "run") as store:
        methods = {a.method for a in store.attributions().values()}
        details = [
            s.detail or {} for s in store.scores() if s.metric == "f1" and s.value is not None
        ]
    assert methods == {"exact_shapley", "leave_one_out"}
    assert {d["method"] for d in details} == {
        "exact_shapley"
    }  # the first that came, unless one is named


def test_a_suite_that_explains_nothing_has_no_rationale_and_no_control_of_it(
    tmp_path: Path,
) -> None:
    path = run_suite(tmp_path, explain=None, controls="all")
    suite = load(str(path))
    assert not {f"control:{name}" for name in EVIDENCE_CONTROLS} & {m.name for m in suite.models}
    explained = load(str(path), ["explain={methods: [exact_shapley], unit: word}"])
    assert {f"control:{name}" for name in EVIDENCE_CONTROLS} <= {m.name for m in explained.models}
    harness.run(path, out=tmp_path / "run")
    with Store.read(tmp_path / "run") as store:
        assert all(score.value is None for score in store.scores())


def test_the_controls_say_a_samples_own_evidence_and_anothers(tmp_path: Path) -> None:
    plan, inputs = plan_only(load(str(run_suite(tmp_path))))
    texts: dict[str, dict[str, str]] = {}
    for planned in plan.cells:
        if planned.cell.model.startswith("control:"):
            backend = plan.backends[planned.cell.model]
            said = asyncio.run(backend.generate(planned.request)).text
            texts.setdefault(planned.cell.model, {})[planned.cell.sample] = said
    own, other = texts["control:evidence"], texts["control:other-evidence"]
    assert set(own) == {s.id for s in inputs.samples}
    for sample, said in own.items():
        assert said.startswith("The classifier relied on “")
        assert "against it" not in said
        assert other[sample] != said
        assert other[sample] in own.values()
    assert len(set(other.values())) > 3
    nothing = explain_summary(attribution((-1.0, -2.0)))
    inputs = replace(inputs, evidence={**inputs.evidence, "n0": nothing})
    backend = plan.backends["control:evidence"]
    backend.bind(_Context(backend._context.suite, inputs))
    assert not backend.answers(
        Cell("control:evidence", "n0", "small", "base", "predicted", "causes", 1)
    )
