"""Which score belongs to a run: only what is made of what it holds now, and a page that is whole."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from small_suite import FAMILY, NOTES, changed, write

import harness
from harness import pipeline
from harness.cli import main
from harness.pipeline import report
from harness.scoring import Run
from harness.store import Store

TALKER = '''
import pathlib
from harness.records import Capabilities, Generation

class Talker:
    """Says its model's name; fails while a file 'down' lies beside it."""

    capabilities = Capabilities(seed=True)
    revision = "1"
    folder = pathlib.Path(__file__).parent

    def __init__(self, model):
        self.model = model

    async def generate(self, request):
        with open(self.folder / "asked", "a") as file:
            file.write("x")
        if (self.folder / "down").exists():
            return Generation(outcome="transport", error="nobody is there")
        return Generation(f"{self.model} says gastritis.")
'''
MODEL = {"name": "m", "backend": "./talker.py:Talker", "model": "first"}
BASE: dict[str, Any] = {
    "models": [MODEL],
    "scorers": ["label", "similarity", "stability"],
    "controls": "none",
    "arms": ["predicted"],
    "families": [{"family": "small", "variants": ["base", "twice"]}],
}


def suite(folder: Path, *, files: dict[str, str] | None = None, **changes: Any) -> Path:
    twice = "variant: twice\nof: base\naxis: wording\npreserves_meaning: true\nsystem: Be kind.\n"
    given = {"talker.py": TALKER, "prompts__small__twice.yaml": twice, **(files or {})}
    return write(folder, changed(**{**BASE, **changes}), **given)


def down(folder: Path, yes: bool) -> None:
    path = folder / "down"
    path.touch() if yes else path.unlink()


def asked(folder: Path) -> int:
    return len((folder / "asked").read_text())


def page(folder: Path) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", (folder / "report.html").read_text()).split())


CHANGES: dict[str, dict[str, Any]] = {
    "model": {"models": [{**MODEL, "model": "second"}]},
    "prompt": {"files": {"prompts__small__family.yaml": FAMILY.replace("Explain its", "Say its")}},
    "note": {"files": {"prompts__small__family.yaml": FAMILY.replace("Explain", "{{ input }} Explain"),
                       "notes.csv": NOTES.replace("painkillers", "pills").replace("Red", "Pale").replace("rich", "late").replace("Burps", "Pain")}},
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_scores_of_answers_that_were_replaced_do_not_count(tmp_path: Path, change: str) -> None:
    first = suite(
        tmp_path,
        files={"prompts__small__family.yaml": FAMILY.replace("Explain", "{{ input }} Explain")}
        if change == "note"
        else None,
    )
    out = tmp_path / "run"
    before = harness.run(first, out=out)
    assert len(before.scores) > 0
    down(tmp_path, True)
    result = harness.run(suite(tmp_path, **CHANGES[change]), out=out)
    assert len(result.scores) == 0
    assert all(
        not m.estimates or all(e.value is None for e in m.estimates.values())
        for m in result.results.models
    )
    (exported,) = [tmp_path / "export"]
    assert main(["export", str(out), "--to", "jsonl", "--out", str(exported)]) == 0
    assert (exported / "scores.jsonl").read_text() == ""
    down(tmp_path, False)
    again = harness.run(suite(tmp_path, **CHANGES[change]), out=out)
    assert len(again.scores) == len(before.scores)


def test_a_score_of_a_group_counts_only_with_all_its_members(tmp_path: Path) -> None:
    out = tmp_path / "run"
    repeats = {"families": [{"family": "small", "variants": ["base"], "aspects": ["causes"]}]}
    before = harness.run(suite(tmp_path, repeats=2, **repeats), out=out)
    groups = before.scores.query("subject_kind == 'group'")
    assert len(groups) > 0
    down(tmp_path, True)
    after = harness.run(suite(tmp_path, repeats=3, **repeats), out=out)  # a third is not there
    kept = after.scores.query("subject_kind == 'group'")
    with Store.read(out) as store:
        assert {score.of for score in Run(store).scores() if score.subject_kind == "group"} <= {
            s.of for s in store.scores()
        }
    assert sorted(kept["subject"]) == sorted(groups["subject"])  # of the two that are there


def test_an_answer_that_no_longer_fits_its_schema_is_scored_anew(tmp_path: Path) -> None:
    family = (
        FAMILY
        + "format: {schema: {type: object, required: [explanation], properties: {explanation: {type: string}}}}\n"
    )
    kept = {"scorers": ["label", "schema"], "families": [{"family": "small", "variants": ["base"]}]}
    out = tmp_path / "run"
    plain = harness.run(suite(tmp_path, **kept), out=out).scores
    count = asked(tmp_path)
    edited = suite(tmp_path, files={"prompts__small__family.yaml": family}, **kept)
    strict = harness.run(edited, out=out).scores
    assert asked(tmp_path) == count  # this backend takes no schema, so its requests are the same
    values = [set(table.query("metric == 'valid'")["value"].dropna()) for table in (plain, strict)]
    assert values == [set(), {0.0}]


def test_gold_that_changed_counts_no_score_of_before_until_it_is_scored(tmp_path: Path) -> None:
    out = tmp_path / "run"
    path = suite(tmp_path)
    harness.run(path, out=out)
    with Store.read(out) as store:
        run = Run(store)
        assert list(run.scores())
        run.manifest = pipeline.replace(
            run.manifest,
            families=tuple(pipeline.replace(f, gold_hash="other") for f in run.manifest.families),
        )
        run._made_of.clear()
        assert not list(run.scores())


def test_a_finished_run_prints_its_verdict_without_computing_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = suite(tmp_path), tmp_path / "run"
    first = harness.run(path, out=out)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("it is computed again")

    with monkeypatch.context() as patched:
        patched.setattr("harness.analysis.analyse", never)
        patched.setattr("harness.scoring.Run.__init__", never)
        again = harness.run(path, out=out)
    assert again.verdict == first.verdict
    assert again.report.read_bytes() == first.report.read_bytes()
    assert again.results.verdict == first.results.verdict


@pytest.mark.parametrize("damage", ["cut", "gone", "edited", "of before"])
def test_a_page_that_is_not_the_one_that_was_written_is_written_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = suite(tmp_path), tmp_path / "run"
    whole = harness.run(path, out=out).report
    right, count = whole.read_bytes(), asked(tmp_path)
    if damage == "gone":
        whole.unlink()
    else:
        text = {
            "cut": right[: len(right) // 2],
            "edited": right.replace(b"<h1", b"<h1 hidden"),
            "of before": b"<!DOCTYPE html>",
        }[damage]
        whole.write_bytes(text)
    with sqlite3.connect(out / "run.sqlite") as db:
        before = db.execute("SELECT count(*) FROM scores").fetchone()
    assert main(["run", str(path), "--out", str(out)]) == 0
    assert whole.read_bytes() == right
    assert asked(tmp_path) == count
    with sqlite3.connect(out / "run.sqlite") as db:
        assert db.execute("SELECT count(*) FROM scores").fetchone() == before
    assert "written again" in " ".join(capsys.readouterr().err.split())
    assert main(["run", str(path), "--out", str(out)]) == 0
    assert "written again" not in capsys.readouterr().err


def test_a_run_killed_before_its_page_is_there_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = suite(tmp_path), tmp_path / "run"
    harness.run(path, out=out, samples=2)
    old = (out / "report.html").read_bytes()

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("harness.report.page.write", killed)
        with pytest.raises(KeyboardInterrupt):
            harness.run(path, out=out)
    assert (out / "report.html").read_bytes() == old
    count = asked(tmp_path)
    harness.run(path, out=out)
    assert (out / "report.html").read_bytes() != old
    assert asked(tmp_path) == count


def test_a_page_is_never_seen_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = suite(tmp_path), tmp_path / "run"
    whole = harness.run(path, out=out).report
    right = whole.read_bytes()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(harness.records.HarnessError, match="cannot be written"):
        report(out)
    assert whole.read_bytes() == right
    assert [p.name for p in out.iterdir() if "report" in p.name] == ["report.html"]


@pytest.mark.parametrize("command", ["score", "report"])
def test_scoring_and_reporting_again_renew_the_mark_of_the_page(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = suite(tmp_path), tmp_path / "run"
    harness.run(path, out=out)
    more = ["--generalise", "variants"] if command == "report" else ["--scorers", "schema"]
    assert main([command, str(out), *more]) == 0
    after = (out / "report.html").read_bytes()
    capsys.readouterr()
    assert main(["run", str(path), "--out", str(out)]) == 0
    assert (out / "report.html").read_bytes() == after
    assert "is finished" in " ".join(capsys.readouterr().err.split())


def test_attributions_of_another_classifier_or_input_do_not_count(tmp_path: Path) -> None:
    clf = "class Clf:\n    classes = ('gastritis', 'indigestion')\n    revision = 'r1'\n    def predict(self, samples):\n        from harness.records import Prediction\n        return [Prediction(s.id, 'gastritis', {'gastritis': .5 + .01 * len(s.text.split()), 'indigestion': .5 - .01 * len(s.text.split())}) for s in samples]\n"
    out = tmp_path / "run"
    options: dict[str, Any] = {"classifier": {"kind": "./clf.py:Clf"}}
    path = suite(tmp_path, files={"clf.py": clf}, **options)
    harness.run(path, out=out)
    assert (
        main(
            ["explain", str(path), "--out", str(out), "--method", "leave_one_out", "--unit", "word"]
        )
        == 0
    )
    with Store.read(out) as store:
        assert len(Run(store).attribution_records()) == 4
    harness.run(
        suite(
            tmp_path,
            files={"clf.py": clf, "notes.csv": NOTES.replace("painkillers", "pills")},
            **options,
        ),
        out=out,
    )
    with Store.read(out) as store:
        assert {a.sample for a in Run(store).attribution_records().values()} == {"s2", "s3", "s4"}
        assert len(store.attributions()) == 4  # nothing stored is lost
    harness.run(suite(tmp_path, files={"clf.py": clf.replace("r1", "r2")}, **options), out=out)
    with Store.read(out) as store:
        assert Run(store).attribution_records() == {}
    assert "leave_one_out" not in page(out)
