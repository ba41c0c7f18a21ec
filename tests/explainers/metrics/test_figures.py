"""What an evaluation looks like: pictures and text hold its numbers, with text alternatives."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from descents_for_tests import MLP, drawn

import harness
from harness.explainers.metrics.evaluation import Evaluation
from harness.explainers.metrics.text import evaluation_text
from harness.records import HarnessError


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return harness.evaluate(
        MLP(), drawn(6, 4), ["exact_shapley", "saliency"],
        metrics=["deletion", "insertion", "completeness", "entropy", "pointing_game"],
    )  # fmt: skip


def test_the_heat_map_holds_every_method_and_metric_that_has_a_better_one(
    evaluation: Evaluation,
) -> None:
    figure = evaluation.heat_map
    ET.fromstring(figure.svg)
    said = re.sub(r"<[^>]+>", " ", figure.svg)
    for word in ("exact_shapley", "saliency", "random", "everything", "deletion", "completeness"):
        assert word in said
    assert "entropy" not in said  # neither more nor less of it is better
    assert "pointing_game" not in said  # no sample has evidence
    assert figure.alt
    assert "<style>" in evaluation._repr_html_()


def test_curves_are_means_over_samples(evaluation: Evaluation) -> None:
    from harness.explainers.metrics.figures import _curves

    for metric, empty in (("deletion", -1), ("insertion", 0)):
        curves = {curve.name: curve for curve in _curves(evaluation, metric)}
        assert set(curves) == {"exact_shapley", "saliency", "random", "everything"}
        mine = curves["exact_shapley"]
        assert mine.values[empty] == 0
        areas = [m.value for m in evaluation.measurements if (m.metric, m.method) == (metric, "exact_shapley")]  # fmt: skip
        # 4 units lie on the grid of 20 steps, so the mean area is that of the mean curve
        assert np.trapezoid(mine.values, mine.shares) == pytest.approx(np.mean(areas))
        assert all(a <= b <= c for a, b, c in zip(mine.low, mine.values, mine.high, strict=True))
        assert curves["random"].reference
    ET.fromstring(evaluation.curves.svg)


def test_curves_need_one_of_both_metrics() -> None:
    found = harness.evaluate(MLP(), drawn(2, 4), "saliency", metrics="entropy")
    with pytest.raises(HarnessError, match="neither was measured"):
        _ = found.curves


def test_the_text_ranks_methods_and_marks_what_is_not_better_than_random(
    evaluation: Evaluation,
) -> None:
    text = evaluation_text(evaluation)
    lines = text.splitlines()
    assert lines[0] == "methods from best to worst on 6 samples, by the metrics of faithfulness"
    assert "exact_shapley" in lines[1]
    assert "not applicable: pointing_game (the sample has no such evidence)" in text
    assert "agreement of methods" in text


def test_the_shell_ranks_methods_of_a_suite_and_keeps_their_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.cli.command_line import main
    from harness.store import Store

    (tmp_path / "notes.csv").write_text(
        "id,note,diagnosis\n"
        + "\n".join(
            f"{i},slow {'scan' if i % 2 else 'meal'} number {i},{'a' if i % 2 else 'b'}"
            for i in range(6)
        )
    )
    (tmp_path / "keywords.py").write_text(
        "def classify(texts):\n"
        "    return [{'a': .2 + .6 * ('scan' in t), 'b': .8 - .6 * ('scan' in t)} for t in texts]\n"
    )
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "name: best\n"
        "source: {kind: table, path: notes.csv, text: note, label: diagnosis, id: id}\n"
        "classifier: {kind: callable, function: './keywords.py:classify', classes: [a, b]}\n"
        "families: [{family: gi, variants: [base], aspects: [causes]}]\n"
    )
    out, drawn_in = tmp_path / "run", tmp_path / "pictures"
    code = main(
        [
            "explain",
            str(suite),
            "--best",
            "--method",
            "leave_one_out,rise",
            "--limit",
            "5",
            "--out",
            str(out),
            "--pictures",
            str(drawn_in),
        ]
    )
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "methods from best to worst on 5 samples" in said.out
    assert {path.name for path in drawn_in.iterdir()} == {"methods-by-metrics.svg", "deletion-and-insertion.svg"}  # fmt: skip
    with Store.read(out) as store:
        scores = [s for s in store.scores() if s.subject_kind == "attribution"]
        keys = {key for key, _ in store.attribution_records()}
    assert {s.metric for s in scores} >= {"deletion", "tau_loo", "random_logit"}
    assert {s.scorer for s in scores} == {"attribution_metrics"}
    references = {s.subject for s in scores if s.subject.startswith("reference/")}
    assert len(references) == 2 * 5  # random and everything, of each sample
    assert {s.subject for s in scores} - references == keys
    assert main(["explain", str(suite), "--best", "--by", "delation"]) == 2
    assert "--by delation" in capsys.readouterr().err
