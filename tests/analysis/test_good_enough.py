"""Whether a run keeps the bars that its suite sets, and what is never taken for kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_suite import changed, write

import harness
from harness.analysis.controls import metric_summaries, separations
from harness.analysis.requirements import requirements
from harness.analysis.score_table import Row, ScoreTable
from harness.cli import main
from harness.pipeline import report
from harness.records import Cell
from harness.results import MetricSummary, Requirement
from harness.scoring import Run, make_scorers
from harness.store import Store

# Answers state their own quality; `Quality` reads it. 'strong' is better than 'weak', site B is
# served worse, and what bars must leave out (other arms, other meanings) is as bad as can be.
PLANTED = '''
from harness.identity import draw
from harness.records import Capabilities, Cell, Generation, Metric, Score, Separation

class Planted:
    capabilities = Capabilities()
    reads_cell = True

    def __init__(self, model):
        self.model = model

    def bind(self, context):
        self.context = context

    def reads(self, cell):
        return "x"

    async def generate(self, request):
        cell = Cell.parse(request.cell)
        if cell.arm == "wrong" or cell.variant == "pressure":
            return Generation("quality 0.0")
        site = self.context.sample(cell).metadata["site"]
        level = {"strong": 0.85, "weak": 0.45}[self.model] - (0.15 if site == "B" else 0)
        return Generation(f"quality {level + 0.1 * draw(cell.sample, cell.variant):.3f}")

class Quality:
    """Quality as stated; of controls, whether anything is said."""

    metrics = (
        Metric("good", separates=(Separation("echo", "empty", 0.2),), title="how good it is"),
        Metric("bad", direction="lower", separates=(Separation("echo", "empty", 0.2),)),
        Metric("unproven", separates=(Separation("gold", "negated", 0.2),)),
        Metric("broken", separates=(Separation("empty", "echo", 0.2),)),
        Metric("length", range=(0.0, None), direction=None),
    )

    def requests(self, subject):
        return ()

    def score(self, subject, generations):
        text = generations[0].text
        good = float(text.split()[1]) if text.startswith("quality") else float(bool(text))
        return [Score("good", good), Score("bad", 1 - good), Score("unproven", good),
                Score("broken", good), Score("length", len(text))]
'''

NOTES = "id,note,label,predicted,p_g,p_i,site\n" + "".join(
    f"s{i},Note number {i}.,gastritis,gastritis,0.8,0.2,{'AB'[i % 2]}\n" for i in range(16)
)


def suite(**changes: Any) -> str:
    given: dict[str, Any] = {
        "classifier": {"kind": "recorded", "path": "./notes.csv", "sample": "id",
                       "label": "predicted", "probabilities": {"gastritis": "p_g", "indigestion": "p_i"}},
        "families": [{"family": "small", "variants": ["base", "reworded", "pressure"]}],
        "gold": None,
        "arms": ["predicted", "wrong"],
        "repeats": 1,
        "models": [{"name": name, "backend": "./planted.py:Planted", "model": name}
                   for name in ("strong", "weak")],
        "scorers": [{"kind": "./planted.py:Quality", "name": "quality"}],
        "controls": ["echo", "empty"],
        "report": {"group_by": ["site"]},
    }  # fmt: skip
    text = changed(**(given | changes))
    return text + ("" if "gold" in changes else "gold: null\n")


def laid_down(folder: Path, **changes: Any) -> Path:
    return write(folder, suite(**changes), **{"notes.csv": NOTES, "planted.py": PLANTED})


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bars")
    path = laid_down(folder, require={"quality.good@strong": 0.7, "quality.bad": 0.5})
    harness.run(path, out=folder / "run")
    return folder / "run"


@pytest.fixture
def table(run_folder: Path) -> Iterator[ScoreTable]:
    with Store.read(run_folder) as store:
        run = Run(store)
        yield ScoreTable(run, make_scorers(run.manifest.scorers, Path(run.manifest.folder)))


def held(table: ScoreTable, **require: float) -> list[Requirement]:
    """Bars of the scorer `quality`; `__` in a name stands for `@`, `_is_` for `=`."""
    named = {
        f"quality.{name.replace('__', '@').replace('_is_', '=')}": bar
        for name, bar in require.items()
    }
    return list(requirements(table, metric_summaries(table, separations(table)), named))


def test_every_model_but_no_control_is_held_against_a_bar(table: ScoreTable) -> None:
    found = {one.model: one.kept for one in held(table, good=0.6)}
    assert found == {"strong": True, "weak": False}


def test_other_arms_and_other_meanings_take_no_part(table: ScoreTable) -> None:
    # They were planted at 0: with them the mean would lie under .3.
    (strong, _) = held(table, good=0.7)
    assert strong.estimate.value == pytest.approx(0.825, abs=0.03)
    assert strong.kept


def test_where_lower_is_better_the_upper_bound_must_stay_under_the_bar(table: ScoreTable) -> None:
    strong, weak = held(table, bad=0.5)
    assert (strong.kept, weak.kept) == (True, False)
    assert strong.estimate.high is not None
    (on_the_bar, _) = held(table, bad=strong.estimate.high)
    assert on_the_bar.kept
    (just_under, _) = held(table, bad=strong.estimate.high - 1e-9)
    assert not just_under.kept
    assert strong.asked.endswith("(quality.bad) at most .50")


def test_a_bar_may_be_for_one_model_or_one_group(table: ScoreTable) -> None:
    (one,) = held(table, good__weak=0.3)
    assert (one.model, one.kept) == ("weak", True)
    better = held(table, good__site_is_A=0.8)
    worse = held(table, good__site_is_B=0.8)
    assert [b.kept for b in better] == [True, False]
    assert [b.kept for b in worse] == [False, False]
    assert better[0].estimate.n == worse[0].estimate.n == 32  # 8 samples, 2 variants, 2 aspects
    assert better[0].asked.endswith("at least .80, site=A")


@pytest.mark.parametrize(
    ("metric", "reason"),
    [("unproven", "no control tested the metric"), ("broken", "failed its controls")],
)
def test_a_metric_that_is_not_valid_on_this_gold_keeps_no_bar(
    table: ScoreTable, metric: str, reason: str
) -> None:
    for one in held(table, **{metric: 0.0}):
        assert not one.kept
        assert reason in one.reason
        assert one.reason in one.found


def test_without_an_interval_no_bar_is_kept(table: ScoreTable) -> None:
    metrics = metric_summaries(table, separations(table))
    one_cluster = {s.id: s for s in table.run.samples.values() if s.id == "s0"}
    table.run.samples = one_cluster
    keep = table.rows

    class One(ScoreTable):
        def __init__(self) -> None:
            self.__dict__.update(table.__dict__)

        def rows(self, metric: str, model: str, keep_cell: Any = None) -> list[Row]:
            return [r for r in keep(metric, model) if r.cell.sample == "s0"][:1]

    (one,) = requirements(One(), metrics, {"quality.good@strong": 0.0})
    assert not one.kept
    assert one.reason == "no interval: one sample"
    assert one.found == f"strong {one.found.split()[1]} no interval: one sample"


def test_a_model_without_a_score_keeps_no_bar(table: ScoreTable) -> None:
    table._scores["quality.good"].pop("weak")
    strong, weak = held(table, good=0.1)
    assert (strong.kept, weak.kept) == (True, False)
    assert weak.found == "weak nothing was scored"


def test_a_stored_bar_for_what_the_run_has_not_is_not_kept_and_ends_nothing(
    table: ScoreTable,
) -> None:
    found = held(table, goood=0.1, good__qwen=0.1)
    assert [one.kept for one in found] == [False, False]
    assert "did you mean 'quality.good'" in found[0].reason
    assert "no model" in found[1].reason


def values() -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(0, 1, width=32), min_size=2, max_size=16)


class Drawn(ScoreTable):
    """A table whose rows of one model are drawn by a test, one a sample."""

    def __init__(self, table: ScoreTable, given: list[float], direction: str) -> None:
        self.__dict__.update(table.__dict__)
        scorer, metric = table.metrics["quality.good"]
        self.metrics = {"quality.good": (scorer, replace(metric, direction=direction))}
        self.given = given

    def rows(self, metric: str, model: str, keep: Any = None) -> list[Row]:
        return [
            Row(Cell(model, f"s{i}", "small", "base", "predicted", "causes", 1), value, None)
            for i, value in enumerate(self.given)
        ]


def kept(table: ScoreTable, given: list[float], direction: str, bar: float) -> Requirement:
    drawn = Drawn(table, given, direction)
    scorer, metric = drawn.metrics["quality.good"]
    summary = MetricSummary("quality.good", scorer, metric, "v", "valid")
    (found,) = requirements(drawn, [summary], {"quality.good@strong": bar})
    return found


@pytest.fixture(scope="module")
def shared_table(run_folder: Path) -> Iterator[ScoreTable]:
    with Store.read(run_folder) as store:
        run = Run(store)
        yield ScoreTable(run, make_scorers(run.manifest.scorers, Path(run.manifest.folder)))


@settings(max_examples=60, deadline=None)
@given(values(), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["higher", "lower"]))
def test_a_harder_bar_is_never_kept_where_an_easier_one_is_not(
    shared_table: ScoreTable, given: list[float], a: float, b: float, direction: str
) -> None:
    easy, hard = (min(a, b), max(a, b)) if direction == "higher" else (max(a, b), min(a, b))
    if kept(shared_table, given, direction, hard).kept:
        assert kept(shared_table, given, direction, easy).kept


@settings(max_examples=60, deadline=None)
@given(values(), st.floats(0, 1))
def test_a_metric_turned_round_keeps_the_bar_turned_round(
    shared_table: ScoreTable, given: list[float], bar: float
) -> None:
    up = kept(shared_table, given, "higher", bar)
    down = kept(shared_table, [1 - value for value in given], "lower", 1 - bar)
    assert up.estimate.low is not None
    assert down.estimate.high is not None
    assert down.estimate.high == pytest.approx(1 - up.estimate.low, abs=1e-6)
    if abs(up.estimate.low - bar) > 1e-6:
        assert up.kept == down.kept


def command(*arguments: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


def test_the_report_and_the_verdict_say_it_again_from_the_store(run_folder: Path) -> None:
    results = report(run_folder).results
    assert [(one.metric, one.model, one.kept) for one in results.requirements] == [
        ("quality.good", "strong", True),
        ("quality.bad", "strong", True),
        ("quality.bad", "weak", False),
    ]
    first = results.verdict[0]
    assert (first.topic, first.tone) == ("good enough", "bad")
    assert first.text.startswith("No: 1 of 3 bars is not kept. Not kept: bad (quality.bad) at most")
    page = (run_folder / "report.html").read_text()
    assert "how good it is" in page
    assert "at least .70" in page


def test_a_run_that_does_not_keep_a_bar_ends_with_three_each_time(tmp_path: Path) -> None:
    path = laid_down(tmp_path, require={"quality.good": 0.6})
    out = ("--out", str(tmp_path / "run"))
    code, said, _ = command("run", str(path), *out)
    assert code == 3
    assert "Good enough: No: 1 of 2 bars is not kept." in said
    assert command("run", str(path), *out)[0] == 3
    path.write_text(suite(require={"quality.good": 0.2}))
    code, said, _ = command("run", str(path), *out)
    assert code == 0
    assert "Good enough: Yes: all 2 bars are kept." in said
    path.write_text(suite())
    code, said, _ = command("run", str(path), *out)
    assert (code, "no bar was set" in said) == (0, True)


@pytest.mark.parametrize(
    ("require", "said"),
    [
        ({"quality.god": 0.5}, "did you mean 'quality.good'?"),
        ({"quality.good@stron": 0.5}, "did you mean 'strong'?"),
        ({"quality.length": 5}, "has no better direction"),
        ({"quality.good@site=C": 0.5}, "no level of report.group_by"),
        ({"quality.good": "high"}, "require.quality.good"),
        ({"@strong": 0.5}, "require"),
    ],
)
def test_check_and_run_refuse_a_bar_before_anything_is_asked(
    tmp_path: Path, require: dict[str, Any], said: str
) -> None:
    path = laid_down(tmp_path, require=require)
    for name in ("check", "run"):
        more = ("--out", str(tmp_path / "run")) if name == "run" else ()
        code, _, err = command(name, str(path), *more)
        assert code == 2
        assert said in err
    assert not (tmp_path / "run" / "run.sqlite").exists()


def test_check_says_which_bar_no_control_can_support(tmp_path: Path) -> None:
    path = laid_down(tmp_path, require={"quality.unproven": 0.5, "quality.good": 0.5})
    code, out, _ = command("check", str(path))
    assert code == 0
    assert "The bar for unproven (quality.unproven) cannot be kept" in out
    assert out.count("cannot be kept") == 1


def test_a_model_that_models_leaves_out_is_no_mistake_and_keeps_no_bar(tmp_path: Path) -> None:
    path = laid_down(tmp_path, require={"quality.good@strong": 0.1})
    code, out, _ = command("run", str(path), "--models", "weak", "--out", str(tmp_path / "run"))
    assert code == 3
    assert "'strong' in 'quality.good@strong' is no model" in out


def test_a_gate_is_the_same_judgement(run_folder: Path) -> None:
    gate = ("gate", str(run_folder))
    code, out, _ = command(*gate, "--min", "quality.good@strong=0.7", "--max", "quality.bad=0.5")
    assert code == 3
    lines = out.splitlines()
    assert lines[0].startswith("kept      how good it is (quality.good) at least .70: strong .8")
    assert lines[2].startswith("NOT KEPT  bad (quality.bad) at most .50: weak .")
    assert command(*gate)[:2] == (3, out)  # without bars: those of the suite
    assert command(*gate, "--min", "quality.good@site=A=0.3")[0] == 0


@pytest.mark.parametrize(
    ("bars", "said"),
    [
        (("--min", "quality.bad=0.5"), "lower is better by this metric; use --max"),
        (("--max", "quality.good=0.5"), "higher is better by this metric; use --min"),
        (("--min", "quality.god=0.5"), "--min: there is no metric 'quality.god'"),
        (("--max", "quality.length=5"), "has no better direction"),
        (("--min", "quality.good=0.5", "--min", "quality.good=0.7"), "is given twice"),
    ],
)
def test_a_gate_that_faces_the_wrong_way_or_nowhere_is_refused(
    run_folder: Path, bars: tuple[str, ...], said: str
) -> None:
    code, _, err = command("gate", str(run_folder), *bars)
    assert code == 2
    assert said in err


@pytest.mark.parametrize("text", ["quality.good", "quality.good=high", "=0.5"])
def test_a_gate_needs_a_metric_and_a_number(run_folder: Path, text: str) -> None:
    with pytest.raises(SystemExit), redirect_stderr(StringIO()):
        main(("gate", str(run_folder), "--min", text))


def test_without_any_bar_there_is_nothing_to_gate(tmp_path: Path) -> None:
    path = laid_down(tmp_path)
    command("run", str(path), "--out", str(tmp_path / "run"))
    code, _, err = command("gate", str(tmp_path / "run"))
    assert code == 2
    assert "there is no bar" in err
