"""`harness concepts`: found in a suite's classifier, kept in its run, and shown in the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis.explainers import concepts
from harness.cli.command_line import main
from harness.explainers.concepts.spaces.space import load
from harness.pipeline import finish
from harness.pipeline import run as run_suite
from harness.store import Store
from harness.suite import load as load_suite

SUITE = """name: found
source: {kind: octa, preset: fast, samples: 9, size: 128}
classifier: {kind: mobilecoatnet, weights: "builtin:octa"}
families: [{family: octa, variants: [base]}]
models: []
controls: [gold]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite whose concepts were found from the shell."""
    where = tmp_path_factory.mktemp("concepts")
    (where / "suite.yaml").write_text(SUITE)
    arguments = ["concepts", str(where / "suite.yaml"), "--layer", "stage2", "--at", "patch"]
    more = ["--space", "pca,random", "--concepts", "3", "--out", str(where / "run")]
    assert main([*arguments, *more]) == 0
    return where


def test_spaces_are_kept_with_their_scores_and_directions(folder: Path) -> None:
    with Store.read(folder / "run") as store:
        kept = concepts(store)
        scores = [s for s in store.scores() if s.subject_kind == "concept_space"]
    assert [one.space.kind for one in kept] == ["pca", "random"]
    pca = kept[0]
    assert pca.worth["r2"] > kept[1].worth["r2"]
    assert 1.0 - 1e-12 <= pca.worth["stability"] <= 1.0
    assert {"auc[dropout]", "completeness", "output_recovered"} <= set(pca.worth)
    assert {s.subject for s in scores} == {one.space.id for one in kept}
    (path,) = (folder / "run" / "concepts").rglob("pca.safetensors")
    space = load(path)
    assert space.names == pca.space.concepts
    for name, examples in zip(pca.space.concepts, pca.space.examples, strict=True):
        strengths = [one.strength for one in examples]
        assert strengths == sorted(strengths, reverse=True), name
        assert all(one.shape == (128, 128) for one in examples)


def test_the_report_shows_concepts_where_they_are_strongest(folder: Path) -> None:
    suite = load_suite(str(folder / "suite.yaml"))
    run_suite(suite, out=folder / "run")
    with Store.write(folder / "run") as store:
        page = finish(store).report.read_text()
    assert "Concepts" in page
    assert "pca of stage2" in page
    assert "output_recovered" in page.replace("<wbr>", "")


def test_mistakes_are_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["concepts", str(folder / "suite.yaml"), "--out", str(folder / "other"), "--at", "patch"]
    for more, said in (
        (["--layer", "stage9"], "stage9"),
        (["--layer", "stage2", "--space", "pcb", "--limit", "3"], "there is no space 'pcb'"),
    ):
        assert main([*base, *more]) == 2
        assert said in capsys.readouterr().err


def test_the_stability_of_a_trained_space_is_that_over_seeds(folder: Path) -> None:
    arguments = ["concepts", str(folder / "suite.yaml"), "--layer", "stage3", "--at", "pooled"]
    more = ["--space", "top_k,pca", "--k", "2", "--concepts", "4", "--out", str(folder / "trained")]
    assert main([*arguments, *more]) == 0
    with Store.read(folder / "trained") as store:
        kept = {one.space.kind: one.worth for one in concepts(store)}
    assert kept["pca"]["stability"] == pytest.approx(1)  # which draws nothing
    assert kept["top_k"]["stability"] < 0.999
