"""What the report says follows from what was planted in the answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_suite import changed, write

import harness
from harness.pipeline import report
from harness.results import Results

# Each planted model says the gold of a label: always the true one, mostly, or whatever it is told.
PLANTED = '''
import json, pathlib, re
from harness.gold import gold_text, load
from harness.identity import draw
from harness.records import Capabilities, Generation

class Planted:
    """Answers with gold: `truth` (of the true label), `told`, or `half` (truth for half the cells)."""

    capabilities = Capabilities()
    reads_cell = True

    def __init__(self, model):
        self.model = model

    def bind(self, context):
        self.context = context

    def reads(self, cell):
        return "x"

    async def generate(self, request):
        from harness.records import Cell
        cell = Cell.parse(request.cell)
        true, told = self.context.gold_true(cell), self.context.gold_told(cell)
        if self.model == "half" and draw(cell.sample, cell.aspect, cell.variant) < 0.5:
            return Generation("The sky is blue today and birds sing.")
        return Generation(gold_text(told if self.model == "told" and told else true))
'''

NOTES = "id,note,label,predicted,site\n" + "".join(
    f"s{i},Note number {i}.,{label},{label if i % 4 else other},{'AB'[i % 2]}\n"
    for i, (label, other) in enumerate(
        [("gastritis", "indigestion"), ("indigestion", "gastritis")] * 12
    )
)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    text = changed(
        classifier={
            "kind": "recorded",
            "path": "./notes.csv",
            "sample": "id",
            "label": "predicted",
        },
        families=[{"family": "small", "variants": ["reworded"]}],
        arms=["predicted", "wrong"],
        repeats=1,
        models=[
            {"name": name, "backend": "./planted.py:Planted", "model": name}
            for name in ("truth", "told", "half")
        ],
        scorers=["claims"],
        controls=["gold", "negated", "other-label", "empty"],
        report={"group_by": ["site"]},
    )
    path = write(folder, text, **{"notes.csv": NOTES, "planted.py": PLANTED})
    harness.run(path, out=folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def results(run_folder: Path) -> Results:
    return report(run_folder).results


def estimate(results: Results, model: str, metric: str) -> float:
    summary = next(m for m in results.models if m.name == model)
    value = summary.estimates[metric].value
    assert value is not None
    return value


def test_estimates_are_what_was_planted(results: Results) -> None:
    recall = "claims.recall_vs_true"
    assert estimate(results, "truth", recall) == 1.0
    assert estimate(results, "control:gold", recall) == 1.0
    assert estimate(results, "control:empty", recall) == 0.0
    # 6 of 24 samples are misclassified, and 'told' says the gold of the wrong label there.
    assert 0.6 < estimate(results, "told", recall) < 0.9
    assert 0.3 < estimate(results, "half", recall) < 0.7
    assert estimate(results, "told", "claims.recall_vs_told") == 1.0


def test_gold_speaks_of_labels_so_the_label_is_the_cluster(results: Results) -> None:
    assert results.cluster == "label"
    summary = next(m for m in results.models if m.name == "truth")
    assert summary.estimates["claims.recall_vs_true"].clusters == 2


def test_the_arm_wrong_shows_who_follows_the_label(results: Results) -> None:
    contrast = "predicted - wrong, correctly classified samples"
    effects = {
        e.model: e.difference.value
        for e in results.arm_effects
        if e.metric == "claims.recall_vs_true" and e.contrast == contrast
    }
    assert effects["truth"] == 0.0
    assert effects["told"] is not None
    assert effects["told"] > 0.5


def test_breakdowns_hold_every_level(results: Results) -> None:
    levels = {
        b.axis: {level for _, level, _ in b.rows}
        for b in results.breakdowns
        if b.metric == "claims.recall_vs_true"
    }
    assert levels["aspect"] == {"causes", "treatment"}
    assert levels["arm"] == {"predicted", "wrong"}
    assert levels["site"] == {"A", "B"}


def test_the_classifier_page_counts_its_own_errors(results: Results) -> None:
    page = results.classifier
    assert page is not None
    assert page.classes == ("gastritis", "indigestion")
    assert [list(row) for row in page.confusion] == [[6, 6], [0, 12]]
    assert page.balanced_accuracy.value == pytest.approx(0.75)
    assert page.ece is None
    assert {value for _, value, _ in page.groups} == {"A", "B"}


def test_two_clusters_show_no_separation(results: Results) -> None:
    found = {(s.better, s.worse): s.validity for s in results.separations}
    assert found["gold", "empty"] == "not shown"
    assert {s.topic for s in results.verdict} >= {"accuracy", "scorers", "gold", "coverage"}


def test_generalising_over_variants_is_said_in_the_method(run_folder: Path) -> None:
    wide = report(run_folder, generalise_variants=True).results
    methods = {e.method for m in wide.models for e in m.estimates.values()}
    assert any("variant" in method for method in methods)


def test_views_mark_the_claims_of_each_explanation(results: Results) -> None:
    marks = {
        (e.cell.model, claim.verdict)
        for view in results.views
        for e in view.explanations
        for claim in e.claims
    }
    assert ("truth", "supported") in marks
    assert ("half", "unsupported") in marks
