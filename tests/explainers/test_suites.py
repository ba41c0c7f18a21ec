"""`explain:` in a suite and `harness explain`: stored, taken up again, and shown in prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from small_suite import NOTES, as_of_schema_3, changed, write

from harness.analysis.explainers import evaluation
from harness.cli import main
from harness.explainers.suites import explained
from harness.pipeline import evaluate, explain, finish, plan_only, run
from harness.records import HarnessError, Part, Prediction, Sample
from harness.scoring import Run
from harness.store import Store
from harness.suite import explain_spec, load

CLASSIFIER = '''"""Counts words that speak for gastritis; writes down how often it was asked."""
from pathlib import Path

ASKED = Path(__file__).parent / "asked.txt"


def judge(texts):
    with ASKED.open("a") as file:
        file.write("x" * len(texts))
    shares = [0.2 + 0.5 * ("painkillers" in t) + 0.2 * ("Red" in t) - 0.1 * ("meals" in t) for t in texts]
    return [{"g": share, "i": 1 - share} for share in shares]
'''
EVIDENCE = (
    "variant: evidence\nof: base\naxis: detail\npreserves_meaning: false\n"
    "user: 'Finding: {{ label }}. The classifier relied on {{ evidence_summary }}.'\n"
)


def suite(folder: Path, **changes: Any) -> Path:
    """The small suite with a classifier that can be asked, and a variant that shows evidence."""
    changes = {
        "classifier": {"kind": "callable", "function": "./judge.py:judge", "classes": ["g", "i"]},
        "label_map": {"g": "gastritis", "i": "indigestion"},
        "explain": {"methods": ["exact_shapley", "leave_one_out"], "unit": "word"},
        "families": ["small"],
        **changes,
    }
    return write(
        folder,
        changed(**changes),
        **{"judge.py": CLASSIFIER, "prompts__small__evidence.yaml": EVIDENCE},
    )


def asked(folder: Path) -> int:
    return len((folder / "asked.txt").read_text())


def prompts(folder: Path, variant: str) -> dict[str, str]:
    """What the variant's first prompt says, by sample, of arm predicted."""
    loaded = load(str(folder / "suite.yaml"))
    plan, _ = plan_only(loaded)
    return {
        p.cell.sample: p.request.messages[-1].text
        for p in plan.cells
        if p.cell.variant == variant and p.cell.arm == "predicted" and p.cell.aspect == "causes"
    }


def test_a_prompt_shows_the_units_that_weigh_most_and_no_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    suite(tmp_path)
    said = prompts(tmp_path, "evidence")
    assert said["s1"] == "Finding: gastritis. The classifier relied on “painkillers.”."
    assert said["s3"].startswith("Finding: indigestion. The classifier relied on “meals.”")
    assert "“Red”" in said["s2"]
    assert "against it: “Red”" in said["s2"]
    assert said["s4"].endswith("nothing in particular.")


def test_with_several_targets_a_prompt_shows_what_speaks_for_the_predicted_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    suite(tmp_path)
    alone = prompts(tmp_path, "evidence")
    several = {"methods": ["exact_shapley"], "unit": "word", "target": "all"}
    suite(tmp_path, explain=several)
    assert prompts(tmp_path, "evidence") == alone


def test_attributions_are_stored_and_not_computed_again(tmp_path: Path) -> None:
    path = suite(tmp_path)
    result = run(load(str(path)), out=tmp_path / "run")
    with Store.read(tmp_path / "run") as store:
        held = store.attributions()
    assert len(held) == 4 * 2
    assert {a.target for a in held.values()} == {"gastritis", "indigestion"}
    first = next(a for a in held.values() if (a.sample, a.method) == ("s1", "exact_shapley"))
    assert dict(zip([u.text for u in first.units], first.values, strict=True)) == pytest.approx(
        {"Burning ": 0, "after ": 0, "painkillers.": 0.5}
    )
    before = asked(tmp_path)
    again = run(load(str(path), ["scorers=[label]"]), out=tmp_path / "run")
    predictions = 4
    assert asked(tmp_path) - before == predictions
    assert again.folder == result.folder
    with Store.read(tmp_path / "run") as store:
        assert store.attributions() == held
    run(load(str(path), ["explain.methods=[lime]"]), out=tmp_path / "run")
    with Store.read(tmp_path / "run") as store:
        assert {a.method for a in store.attributions().values()} == {
            "exact_shapley", "leave_one_out", "lime",
        }  # fmt: skip


def test_what_harness_explain_lays_beside_a_run_does_not_become_its_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(str(suite(tmp_path)))
    before = prompts(tmp_path, "evidence")
    run(loaded, out=loaded.run_folder)
    other = explain_spec(loaded, ["exact_shapley"], ["sentence"], target="i")
    explain(loaded, other, out=loaded.run_folder)
    assert prompts(tmp_path, "evidence") == before
    _, inputs = plan_only(loaded)
    assert {a.unit for a in inputs.attributions} == {"word"}


def test_the_shell_explains_a_suite_and_says_what_weighs_most(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = str(suite(tmp_path)), str(tmp_path / "run")
    assert main(["explain", path, "--out", out]) == 0
    said = capsys.readouterr().out
    assert "s1  gastritis (probability 0.7, with every word removed 0.2)" in said
    assert "+0.5  “painkillers.”" in said
    assert "exact_shapley of words, 8 evaluations" in said
    assert main(["explain", path, "--out", out, "--method", "lime,rise", "--unit", "sentence", "--target",
                 "gastritis,indigestion", "--limit", "1", "--removal", "delete"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "s1  gastritis - indigestion" in said
    assert "lime of sentences" in said
    assert "rise of sentences" in said
    with Store.read(Path(out)) as store:
        held = store.attributions().values()
    assert {a.removal for a in held if a.method == "lime"} == {"delete"}
    run(load(path), out=out)  # the folder goes on as the suite's run
    with Store.read(Path(out)) as store:
        assert {a.method for a in store.attributions().values()} >= {"lime", "exact_shapley"}


def test_the_shell_draws_a_picture_of_each_attribution(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, pictures = str(suite(tmp_path)), tmp_path / "pictures"
    arguments = ["--out", str(tmp_path / "run"), "--pictures", str(pictures), "--limit", "2"]
    assert main(["explain", path, *arguments]) == 0
    assert "4 pictures in" in capsys.readouterr().out
    drawn = sorted(pictures.glob("*.svg"))
    assert len(drawn) == 4
    assert "painkillers." in drawn[0].read_text("utf-8")


def test_the_report_of_a_run_shows_its_methods_and_pictures(tmp_path: Path) -> None:
    result = run(load(str(suite(tmp_path))), out=tmp_path / "run")
    report = result.report.read_text("utf-8")
    assert '<section id="why"' in report
    assert report.count('<details class="attribution"') == 4 * 2
    assert '<span class="p p4" title="+.50">painkillers.</span>' in report


def test_the_report_shows_what_methods_were_found_to_be_worth(tmp_path: Path) -> None:
    path = suite(tmp_path)
    loaded = load(str(path))
    out = tmp_path / "run"
    run(loaded, out=out)
    before = (out / "report.html").read_text()
    assert "Which method to trust" not in before
    spec = explain_spec(loaded, ["leave_one_out", "exact_shapley"], ["word"])
    found, _ = evaluate(loaded, spec, ["deletion", "insertion", "tau_loo"], out=out)
    with Store.write(out) as store:
        page = finish(store).report.read_text()
    assert "Which method to trust" in page
    assert "not shown to be better than a" in page
    with Store.read(out) as store:
        again = evaluation(Run(store))
    assert again is not None
    assert {(r.method, r.metric): r.mean for r in again.rows} == {
        (r.method, r.metric): r.mean for r in found.rows
    }
    # another evaluation of the same run takes the place of the first
    evaluate(loaded, spec, ["entropy"], out=out)
    with Store.read(out) as store:
        last = evaluation(Run(store))
    assert last is not None
    assert set(last.metrics) == {"entropy"}


class Built:
    """A classifier that writes down when it is built and when it predicts, and of how many."""

    log: ClassVar[list[tuple[str, int]]] = []
    classes = ("g", "i")
    revision = "painkillers"

    def __init__(self) -> None:
        self.log.append(("built", 0))

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        self.log.append(("predicted", len(samples)))
        shares = [0.7 if "painkillers" in sample.text else 0.2 for sample in samples]
        return [
            Prediction(sample.id, "g" if share > 0.5 else "i", {"g": share, "i": 1 - share})
            for sample, share in zip(samples, shares, strict=True)
        ]


def test_the_classifier_is_built_once_and_predicts_the_samples_once(tmp_path: Path) -> None:
    path = suite(tmp_path, classifier={"kind": "test_suites:Built"}, arms=["predicted"])
    log = Built.log
    log.clear()
    run(load(str(path)), out=tmp_path / "run")
    assert log.count(("built", 0)) == 1
    assert log[:2] == [("built", 0), ("predicted", 4)]
    log.clear()
    loaded = load(str(path))
    explain(loaded, explain_spec(loaded, ["leave_one_out"], []), out=tmp_path / "run", samples=1)
    assert log.count(("built", 0)) == 1
    # Whole and empty, then without each of three words: no sample is classified beforehand.
    assert sum(count for _, count in log) == 2 + 3


@pytest.mark.parametrize("target", ["ulcer", "gastritis,ulcer"])
def test_a_class_that_there_is_not_is_refused_with_the_names_of_gold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    path = str(suite(tmp_path))
    assert main(["explain", path, "--out", str(tmp_path / "run"), "--target", target]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "no class 'ulcer'; targets are gastritis, indigestion, predicted" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "kernel_sharp"], "did you mean 'kernel_shap'"),
        (["--unit", "worrd"], "did you mean 'word'"),
        (["--target", "ulcer"], "there is no class 'ulcer'"),
        (["--output", "logit"], "no logits"),
        (["--budget", "2"], "it needs"),
    ],
)
def test_mistakes_at_the_shell_are_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    path = str(suite(tmp_path, explain=None))
    method = [] if "--method" in arguments else ["--method", "kernel_shap"]
    assert main(["explain", path, "--out", str(tmp_path / "run"), *method, *arguments]) == 2
    *progress, error = capsys.readouterr().err.splitlines()
    assert error.startswith("harness: ")
    assert message in error
    assert not any("Traceback" in line for line in progress)


def test_a_suite_without_a_classifier_has_nothing_to_explain(tmp_path: Path) -> None:
    path = write(tmp_path, changed(classifier=None, arms=["none"]))
    with pytest.raises(HarnessError, match="without a classifier there is nothing to be explained"):
        load(str(path), ["explain={methods: [lime]}"])
    loaded = load(str(path))
    with pytest.raises(HarnessError, match="no classifier"):
        explain(loaded, explain_spec(loaded, ["lime"], []), out=tmp_path / "run")


def test_a_run_of_the_schema_before_is_read_and_completed(tmp_path: Path) -> None:
    import sqlite3

    path = suite(tmp_path, explain=None)
    run(load(str(path)), out=tmp_path / "run")
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as db:
        db.execute("DROP TABLE attributions")
    db.close()
    as_of_schema_3(tmp_path / "run", version=2)
    with Store.read(tmp_path / "run") as store:
        assert store.attributions() == {}
        assert len(store.generations()) > 0
    assert main(["explain", str(path), "--out", str(tmp_path / "run"), "--limit", "1"]) == 0
    with Store.read(tmp_path / "run") as store:
        assert len(store.attributions()) == 1


def test_the_evidence_variant_is_left_out_without_an_explain_entry(tmp_path: Path) -> None:
    loaded = load(str(suite(tmp_path, explain=None)))
    assert "evidence" in loaded.families[0].left_out
    assert "evidence" not in {p.cell.variant for p in plan_only(loaded)[0].cells}


@pytest.mark.parametrize(("background", "rows"), [(2, 2), (["Red lining at endoscopy."], 1)])
def test_a_suite_fills_removed_slots_from_a_background(
    tmp_path: Path, background: Any, rows: int
) -> None:
    texts = [line.split(",")[1] for line in NOTES.splitlines()[1:]]
    slots = {"kind": "slots", "template": "{}", "values": [[text] for text in texts]}
    path = suite(
        tmp_path,
        explain={"methods": ["exact_shapley"], "unit": slots, "background": background},
    )
    loaded = load(str(path))
    samples = [Sample(f"s{place}", (Part(text),)) for place, text in enumerate(texts)]
    one, two = (explained(loaded, loaded.explain, samples) for _ in range(2))
    assert [a.values for a in one] == [a.values for a in two]
    for attribution in one:
        assert attribution.removal == "background"
        assert attribution.settings["background"]["rows"] == rows
        assert sum(attribution.values) == pytest.approx(attribution.full - attribution.empty)


def test_a_background_larger_than_the_samples_is_refused(tmp_path: Path) -> None:
    path = suite(tmp_path, explain={"methods": ["exact_shapley"], "background": 9})
    loaded = load(str(path))
    with pytest.raises(HarnessError, match="a background of 9 samples, where there are 1"):
        explained(loaded, loaded.explain, [Sample("s", (Part("Red lining."),))])
