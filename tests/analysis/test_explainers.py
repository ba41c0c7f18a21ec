"""What the report says of the attributions of a run."""

from __future__ import annotations

from pathlib import Path

from harness.analysis.explainers import PER_SAMPLE, explainers, shown
from harness.records import Attribution, Unit
from harness.store import Store


def made(
    sample: str, method: str, target: str, error: float | None = None, evaluations: int = 10
) -> Attribution:
    return Attribution(
        sample, method, "word", target, "logit", "mask", (Unit("slow", 0, 4),), (0.5,),
        completeness_error=error, evaluations=evaluations, notes=(f"note of {method}",),
    )  # fmt: skip


def test_a_method_s_row_counts_its_samples_targets_and_worst_error(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        store.put_attributions(
            [
                made("a", "lime", "x", 0.01, 10),
                made("a", "lime", "y", 0.05, 10),
                made("b", "lime", "x", 0.02, 40),
                made("b", "sobol", "x"),
            ]
        )
        lime, sobol = explainers(a for _, a in store.attribution_records())
    assert (lime.method, lime.samples, lime.attributions) == ("lime", 2, 3)
    assert lime.targets == ("x", "y")
    assert lime.evaluations == 25
    assert lime.completeness_error == 0.05
    assert lime.notes == ("note of lime",)
    assert sobol.completeness_error is None


def test_of_many_attributions_each_method_is_shown_before_one_has_a_second(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        store.put_attributions(made("a", "lime", f"t{i}") for i in range(50))
        store.put_attributions(made("a", method, "t0") for method in ("sobol", "rise"))
        store.put_attributions([made("b", "lime", "t0"), made("c", "lime", "t0")])
        found = shown(store, dict(store.attribution_records()), ["a", "b"])
    assert set(found) == {"a", "b"}
    kept, left = found["a"]
    assert [a.method for a in kept[:3]] == ["lime", "sobol", "rise"]
    assert len(kept) == PER_SAMPLE
    assert left == 52 - PER_SAMPLE
    assert kept[0].values == (0.5,)
    assert found["b"][1] == 0


def test_a_run_without_attributions_has_no_rows(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        assert explainers(a for _, a in store.attribution_records()) == ()
        assert shown(store, dict(store.attribution_records()), ["a"]) == {}
