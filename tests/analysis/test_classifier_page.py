"""A classifier whose classes stand in another order is told from one that merely errs."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_suite import changed, write

import harness
from harness.results import Results

LABELS = ("flu", "gout", "migraine")


def run(folder: Path, predicted: dict[str, str], count: int = 30) -> Results:
    """Runs controls alone; every label is predicted as `predicted` says, if it says."""
    rows = [(f"s{i}", LABELS[i % 3]) for i in range(count)]
    notes = "id,note,label,predicted\n" + "".join(
        f"{name},Note of {name}.,{label},{predicted.get(label, label)}\n" for name, label in rows
    )
    suite = changed(
        source={"kind": "table", "path": "./notes.csv", "text": "note", "label": "label", "id": "id"},
        classifier={"kind": "recorded", "path": "./notes.csv", "sample": "id", "label": "predicted"},
        arms=["predicted"], repeats=1, scorers=["label"], controls=["empty"], models=[],
    )  # fmt: skip
    return harness.run(write(folder, suite, **{"notes.csv": notes}), out=folder / "run").results


@pytest.mark.parametrize(
    ("predicted", "says"),
    [
        (dict(zip(LABELS, LABELS[1:] + LABELS[:1], strict=True)), "less than chance would"),
        ({"flu": "gout", "gout": "flu"}, "mostly predicts flu for gout and gout for flu"),
        ({}, None),
        (dict.fromkeys(LABELS, "flu"), None),
    ],
)
def test_an_order_of_classes_that_is_wrong_is_told(
    tmp_path: Path, predicted: dict[str, str], says: str | None
) -> None:
    found = run(tmp_path, predicted)
    warned = [w for w in found.warnings if w.startswith("The classifier")]
    assert len(warned) == (says is not None)
    if says is not None:
        assert says in warned[0]
        assert "are `classes` in the order of the outputs" in warned[0]
        assert next(s for s in found.verdict if s.topic == "classifier").tone != "good"


def test_two_samples_show_no_order(tmp_path: Path) -> None:
    found = run(tmp_path, {"flu": "gout", "gout": "flu"}, count=2)
    assert not [w for w in found.warnings if w.startswith("The classifier")]
