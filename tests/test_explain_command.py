"""`harness explain` and its kin need no prompts, and leave a page that opens from disk."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path

import pytest
from small_suite import NOTES, changed, write

import harness
from harness.cli import main
from harness.explainers.explanation import Explanation
from harness.suite import load

JUDGE = """
def judge(texts):
    shares = [0.1 + 0.7 * ('painkillers' in text) + 0.1 * ('Red' in text) for text in texts]
    return [{'gastritis': share, 'indigestion': 1 - share} for share in shares]
"""
ALONE = """name: alone
source: {kind: table, path: notes.csv, text: note, label: label, id: id}
classifier: {kind: callable, function: "./judge.py:judge", classes: [gastritis, indigestion]}
"""


@pytest.fixture
def suite(tmp_path: Path) -> str:
    (tmp_path / "notes.csv").write_text(NOTES.replace("Red lining", "<b>Red</b> \u202elining"))
    (tmp_path / "judge.py").write_text(JUDGE)
    (tmp_path / "suite.yaml").write_text(ALONE)
    return str(tmp_path / "suite.yaml")


def test_a_classifier_is_explained_from_three_lines(
    suite: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["explain", suite, "--method", "leave_one_out,occlusion", "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"page: {out / 'explanation.html'}" in printed
    assert "“painkillers.”" in printed
    page = (out / "explanation.html").read_text("utf-8")
    for part in ("alone", "4 samples", "8 attributions", "leave_one_out", "painkillers", "s4"):
        assert part in page
    assert "<b>Red</b>" not in page
    assert "\u202e" not in page


def test_the_page_has_no_script_loads_nothing_and_allows_its_one_style(
    suite: str, tmp_path: Path
) -> None:
    assert main(["explain", suite, "--method", "leave_one_out", "--out", str(tmp_path / "o")]) == 0
    page = (tmp_path / "o" / "explanation.html").read_text("utf-8")
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    policy = html.unescape(policy)
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:")
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    assert not re.findall(r"\sstyle=", page)


@pytest.mark.usefixtures("capsys")
def test_ranking_methods_writes_a_page_with_what_each_is_worth(suite: str, tmp_path: Path) -> None:
    command = ["explain", suite, "--best", "--method", "leave_one_out,occlusion", "--metrics", "comprehensiveness"]  # fmt: skip
    assert main([*command, "--out", str(tmp_path / "o")]) == 0
    assert "Which method to trust" in (tmp_path / "o" / "explanation.html").read_text("utf-8")


@pytest.mark.parametrize("command", ["run", "plan", "check"])
def test_what_asks_says_that_families_are_missing(
    command: str, suite: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, suite]) == 2
    assert "suite.yaml:1: the field 'families' is missing" in capsys.readouterr().err


def test_models_and_controls_may_be_missing_too(suite: str, tmp_path: Path) -> None:
    text = Path(suite).read_text() + "controls: none\n"
    Path(suite).write_text(text)
    assert main(["explain", suite, "--method", "leave_one_out", "--out", str(tmp_path / "o")]) == 0
    assert load(suite, asks=False).models == ()


def test_training_and_concepts_need_no_families(
    suite: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(suite).read_text()
    Path(suite).write_text(text + "train: {source: {kind: table, path: notes.csv, text: note}}\n")
    assert main(["train", suite]) == 2
    assert "the classifier 'callable' cannot be trained here" in capsys.readouterr().err
    Path(suite).write_text(text)
    assert main(["concepts", suite, "--layer", "x", "--at", "word", "--out", str(tmp_path / "o")]) == 2  # fmt: skip
    assert "families" not in capsys.readouterr().err


def test_an_explanation_and_its_attributions_are_a_few_lines_in_a_terminal() -> None:
    texts = [f"painkillers {'word ' * 400}{i}" for i in range(9)]
    namespace: dict[str, object] = {}
    exec(JUDGE, namespace)
    found = harness.explain(namespace["judge"], texts, "leave_one_out", "word")
    lines = repr(found).splitlines()
    assert lines[0] == "Explanation: 9 attributions of 9 samples"
    assert len(lines) == 6
    assert "painkillers" in lines[1]
    assert max(map(len, lines)) <= 120
    assert len(repr(found[0])) < 500
    assert repr(Explanation(())) == "Explanation: 0 attributions of 0 samples"


def test_a_run_is_a_few_lines_in_a_terminal(tmp_path: Path) -> None:
    result = harness.run(write(tmp_path, changed(scorers=["label"])), out=tmp_path / "run")
    lines = repr(result).splitlines()
    assert lines[0] == f"Run in {tmp_path / 'run'}"
    assert lines[-1] == f"report: {result.report}"
    assert any("Coverage" in line for line in lines)
    assert len(lines) < 12
