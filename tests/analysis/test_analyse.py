"""What the report says follows from what was planted in the answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_suite import changed, write

import harness
from harness.analysis.mistakes import accuracy_by_label, on_mistakes, with_mistakes
from harness.analysis.models import gains_over_floor
from harness.analysis.score_table import ScoreTable
from harness.pipeline import report
from harness.results import Results, Sentence
from harness.scoring import Run, make_scorers
from harness.store import Store

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

CALM = """variant: calm
of: base
axis: wording
preserves_meaning: true
user: Tell me calmly about the {{ aspect }} of {{ label }}.
"""


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
        families=[{"family": "small", "variants": ["reworded", "calm"]}],
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
    files = {"notes.csv": NOTES, "planted.py": PLANTED, "prompts__small__calm.yaml": CALM}
    path = write(folder, text, **files)
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


def test_four_gold_records_show_no_separation(results: Results) -> None:
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


def test_generalising_leaves_each_variant_s_own_interval_as_it_is(run_folder: Path) -> None:
    # A mean over one variant says nothing of other variants, so there is nothing to generalise.
    narrow, wide = (
        {
            (model, level): estimate
            for b in report(run_folder, generalise_variants=wanted).results.breakdowns
            if (b.axis, b.metric) == ("variant", "claims.recall_vs_true")
            for model, level, estimate in b.rows
        }
        for wanted in (False, True)
    )
    assert narrow == wide
    assert narrow["half", "calm"].low is not None


def test_variance_is_split_only_for_models_whose_scores_vary(results: Results) -> None:
    found = {v.model: dict(v.shares) for v in results.variance}
    assert set(found) == {"told", "half"}  # 'truth' always scores 1
    assert set(found["half"]) == {"sample", "variant", "interaction"}  # nothing was repeated
    # What 'told' says depends on the sample alone, whatever the wording.
    assert found["told"]["sample"].value == pytest.approx(1.0)
    assert found["half"]["interaction"].value > 0.5  # drawn anew for every sample and wording


def test_the_classifier_s_intervals_count_samples_and_say_so(results: Results) -> None:
    page = results.classifier
    assert page is not None
    assert page.brier is None  # it gives no probabilities
    assert "sample" in page.balanced_accuracy.method
    assert page.balanced_accuracy.clusters == 24


def test_models_that_say_what_is_true_are_not_called_worthless(results: Results) -> None:
    accuracy = next(s for s in results.verdict if s.topic == "accuracy")
    assert "worthless" not in accuracy.text


@pytest.fixture
def table(run_folder: Path) -> Iterator[ScoreTable]:
    with Store.read(run_folder) as store:
        run = Run(store)
        yield ScoreTable(run, make_scorers(run.manifest.scorers, run_folder))


def test_the_verdict_says_what_models_do_where_the_classifier_is_wrong(
    table: ScoreTable, results: Results
) -> None:
    assert accuracy_by_label(table) == "claims.recall_vs_true"
    assert accuracy_by_label(table, {"claims.recall_vs_true"}) is None
    found = {one.model: one for one in on_mistakes(table, "claims.recall_vs_true")}
    assert found["truth"].wrong.value == found["truth"].right.value == 1.0
    assert (found["told"].wrong.value, found["told"].right.value) == (0.0, 1.0)
    assert {one.samples for one in found.values()} == {6}
    (said,) = [one.text for one in results.verdict if one.topic == "classifier"]
    assert "wrong (6 samples)" in said
    assert re.search(r"told \.00 [^;]*\(elsewhere 1\.00", said)


def test_where_the_classifier_is_never_wrong_nothing_is_said_of_mistakes() -> None:
    kept = (Sentence("gold", "There is none."),)
    assert with_mistakes(kept, "m", ()) == kept


def test_a_headline_that_failed_its_controls_gives_way_to_another(table: ScoreTable) -> None:
    metric = replace(table.metrics["claims.precision_vs_true"][1], headline="accuracy")
    table.metrics["claims.precision_vs_true"] = ("claims", metric)
    assert table.headline("accuracy") == "claims.recall_vs_true"
    assert table.headline("accuracy", {"claims.recall_vs_true"}) == "claims.precision_vs_true"
    assert table.headline("accuracy", set(table.metrics)) == "claims.recall_vs_true"
    assert table.headline("nothing") is None


def test_lost_cells_bound_a_mean_by_the_range_but_never_a_balanced_one(table: ScoreTable) -> None:
    name = "claims.recall_vs_true"
    assert table.bounds(name, "half") is None  # every cell was answered
    of_half = [c for c, a in table.run.answered.items() if a.cell.model == "half"]
    lost = [c for c in of_half if table.run.answered[c].cell.arm == "predicted"][:6]
    for cell in lost:
        table.run.answered[cell] = replace(table.run.answered[cell], outcome="server")
    low, high = table.bounds(name, "half") or (0.0, 0.0)
    rows = table.rows(name, "half", table.ranked)
    assert high - low == pytest.approx(6 / (len(rows) + 6))
    metric = replace(table.metrics[name][1], balanced=("aspect", "label"))
    table.metrics[name] = ("claims", metric)
    assert table.bounds(name, "half") is None


def test_a_model_is_held_against_the_floor_that_comes_nearest(table: ScoreTable) -> None:
    gains = gains_over_floor(table, "claims.recall_vs_true")
    assert set(gains) == {"truth", "told", "half"}
    name, gain = gains["truth"]
    assert name in ("empty", "other-label")
    rivals = {
        control: [row.value for row in table.rows("claims.recall_vs_true", f"control:{control}")]
        for control in ("empty", "other-label")
    }
    best = max(sum(values) / len(values) for values in rivals.values())
    assert gain.value == pytest.approx(1.0 - best)
