"""Recorded predictions: read by name from any table, checked row by row."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import plugins
from harness.classifiers.recorded import Recorded
from harness.records import HarnessError, Part, Prediction, Sample


def samples(*ids: str) -> list[Sample]:
    return [Sample(name, (Part("text"),)) for name in ids]


def csv(folder: Path, text: str) -> str:
    path = folder / "predictions.csv"
    path.write_text(text, encoding="utf-8-sig")
    return str(path)


def jsonl(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "predictions.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def test_it_is_registered_under_its_name() -> None:
    assert plugins.load("classifiers", "recorded") is Recorded


def test_labels_alone_are_predictions_without_probabilities(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,guess,label\n1,b,x\n2,a,y\n3,b,z\n")
    recorded = Recorded(path, sample="id", label="guess")
    assert recorded.classes == ("a", "b")
    assert recorded.predict(samples("2", "1")) == [Prediction("2", "a"), Prediction("1", "b")]
    read = Recorded(csv(tmp_path, "sample,label\n1,a\n2,b\n"))
    assert read.revision == hashlib.sha256(Path(path).read_bytes()).hexdigest()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_every_way_of_writing_probabilities_says_the_same(
    tmp_path: Path, weights: list[list[float]]
) -> None:
    classes = ["b", "a", "c c"]
    shares = [[w / math.fsum(row) for w in row] for row in weights]
    named = [dict(zip(classes, row, strict=True)) for row in shares]
    wide = pd.DataFrame([{f"p_{k}": v for k, v in row.items()} for row in named])
    wide.insert(0, "sample", [str(i) for i in range(len(named))])
    wide.to_csv(tmp_path / "wide.csv", index=False)
    wide.to_parquet(tmp_path / "wide.parquet")
    nested = pd.DataFrame({"sample": wide["sample"], "p": [json.dumps(row) for row in named]})
    nested.to_csv(tmp_path / "nested.csv", index=False)
    plain = jsonl(tmp_path, [{"sample": i, "p": row} for i, row in enumerate(named)])
    wanted = samples(*(str(i) for i in range(len(named))))
    ways = [
        Recorded(str(tmp_path / "wide.csv")),
        Recorded(str(tmp_path / "wide.parquet")),
        Recorded(str(tmp_path / "wide.csv"), probabilities={name: f"p_{name}" for name in classes}),
        Recorded(str(tmp_path / "nested.csv"), probabilities="p"),
        Recorded(plain, probabilities="p"),
    ]
    for way in ways:
        assert way.classes == ("b", "a", "c c")
        for prediction, row in zip(way.predict(wanted), named, strict=True):
            assert dict(prediction.probabilities) == pytest.approx(row)
            assert prediction.label == max(row, key=row.__getitem__)


def test_classes_in_another_order_change_nothing_but_the_order(tmp_path: Path) -> None:
    path = csv(tmp_path, "sample,p_a,p_b\n1,0.2,0.8\n")
    other = Recorded(path, classes=["b", "a"])
    assert other.classes == ("b", "a")
    assert other.predict(samples("1"))[0] == Recorded(path).predict(samples("1"))[0]


def test_a_label_below_another_class_stands_as_with_a_threshold(tmp_path: Path) -> None:
    path = csv(tmp_path, "sample,label,p_sick,p_fit\n1,sick,0.3,0.7\n2,,0.3,0.7\n")
    first, second = Recorded(path).predict(samples("1", "2"))
    assert (first.label, second.label) == ("sick", "fit")


def test_classes_left_out_of_an_object_have_no_share(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{"sample": 1, "p": {"a": 1.0}}, {"sample": 2, "p": {"b": 1}}])
    (found,) = Recorded(path, probabilities="p").predict(samples("1"))
    assert found.probabilities == {"a": 1.0, "b": 0.0}


def test_columns_that_only_look_like_probabilities_can_be_left_out(tmp_path: Path) -> None:
    path = csv(tmp_path, "sample,label,p_value\n1,a,0.03\n")
    with pytest.raises(HarnessError, match=r"line 2: the probabilities sum to 0\.03"):
        Recorded(path)
    assert Recorded(path, probabilities={}).predict(samples("1")) == [Prediction("1", "a")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample,label,p_a,p_b\n1,a,0.5,0.5\n2,a,nan,1\n", "line 3, class 'a': the probability"),
        ("sample,label,p_a,p_b\n1,a,,1\n", "line 2, class 'a': the probability is empty"),
        ("sample,label,p_a,p_b\n1,a,0.5,0.6\n", r"line 2: the probabilities sum to 1\.1"),
        ("sample,label,p_a,p_b\n1,a,1.2,-0.2\n", "class 'b': the probability -0.2"),
        ("sample,label,p_a,p_b\n1,c,0.5,0.5\n", "label 'c' is none of the classes a, b"),
        ("sample,label\n1,a\n1,b\n", "line 3: a second prediction for the sample '1'"),
        ("sample,label\n1,\n2,a\n", "line 2: the label in column 'label' is empty"),
        ("sample,label\n,a\n", "line 2: the sample id in column 'sample' is empty"),
        ("sample,lable\n1,a\n", "no column 'label'; did you mean 'lable'"),
        ("sample,label\n", "has no rows"),
    ],
)
def test_a_row_that_is_no_prediction_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        Recorded(csv(tmp_path, text))
    assert "predictions.csv" in str(caught.value)


def test_a_label_outside_the_list_of_classes_is_refused(tmp_path: Path) -> None:
    path = csv(tmp_path, "sample,label\n1,a\n2,c\n")
    with pytest.raises(HarnessError, match="line 3: the label 'c' is none of the classes a, b"):
        Recorded(path, classes=["a", "b"])


def test_probabilities_of_other_classes_than_listed_are_refused(tmp_path: Path) -> None:
    path = csv(tmp_path, "sample,p_a,p_b\n1,0.2,0.8\n")
    with pytest.raises(HarnessError, match="for a, b, but the classes are a, b, c"):
        Recorded(path, classes=["a", "b", "c"])


def test_samples_without_a_row_are_counted_and_three_are_named(tmp_path: Path) -> None:
    recorded = Recorded(csv(tmp_path, "sample,label\n1,a\n"))
    with pytest.raises(HarnessError, match=r"4 of 5 samples \('2', '3', '4', \.\.\.\)"):
        recorded.predict(samples("1", "2", "3", "4", "5"))


def test_a_cell_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{"sample": 1, "p": [0.5, 0.5]}])
    with pytest.raises(HarnessError, match="line 1: column 'p' must hold an object"):
        Recorded(path, probabilities="p")
