"""Text pipelines in skops: read without trust, trained reproducibly, beside honest baselines."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

from harness import plugins
from harness.classifiers.sklearn import Sklearn, train
from harness.records import HarnessError, Media, Part, Sample

TEXTS = [
    "burning pain in the stomach", "red and worn stomach lining", "pain after painkillers",
    "vomits food eaten hours before", "slow emptying scan", "full after a few bites",
]  # fmt: skip
LABELS = ["gastritis"] * 3 + ["gastroparesis"] * 3


def texts(*values: str) -> list[Sample]:
    return [Sample(f"s{i}", (Part(value),)) for i, value in enumerate(values)]


def no_op(values: object) -> object:
    return values


def test_it_is_registered_under_its_name() -> None:
    assert plugins.load("classifiers", "sklearn") is Sklearn


def test_a_pipeline_of_ones_own_predicts_as_in_memory(tmp_path: Path) -> None:
    pipeline = make_pipeline(CountVectorizer(), MultinomialNB()).fit(TEXTS, LABELS)
    path = tmp_path / "own.skops"
    skops.io.dump(pipeline, path)
    classifier = Sklearn(str(path))
    assert classifier.classes == ("gastritis", "gastroparesis")
    assert classifier.revision == hashlib.sha256(path.read_bytes()).hexdigest()
    found = classifier.predict(texts(*TEXTS))
    expected = pipeline.predict_proba(TEXTS)
    for prediction, row, label in zip(found, expected, pipeline.predict(TEXTS), strict=True):
        assert list(prediction.probabilities.values()) == pytest.approx(row.tolist())
        assert prediction.label == label
    assert classifier.predict([]) == []


def test_whole_number_classes_are_names(tmp_path: Path) -> None:
    pipeline = make_pipeline(CountVectorizer(), LogisticRegression()).fit(TEXTS, [3, 3, 3, 1, 1, 1])
    skops.io.dump(pipeline, tmp_path / "m.skops")
    classifier = Sklearn(str(tmp_path / "m.skops"), classes=[3, 1])
    assert classifier.classes == ("1", "3")
    assert classifier.predict(texts(TEXTS[0]))[0].label == "3"


def test_classes_given_in_another_order_are_matched_by_name(tmp_path: Path) -> None:
    path = str(train(TEXTS, LABELS, tmp_path / "m.skops"))
    given = Sklearn(path, classes=["gastroparesis", "gastritis"])
    assert given.predict(texts(TEXTS[0])) == Sklearn(path).predict(texts(TEXTS[0]))
    with pytest.raises(HarnessError, match="the model's own are gastritis, gastroparesis"):
        Sklearn(path, classes=["gastritis", "ulcer"])


def test_types_that_are_not_trusted_are_listed_and_can_be_allowed(tmp_path: Path) -> None:
    pipeline = make_pipeline(FunctionTransformer(no_op), CountVectorizer(), LogisticRegression())
    skops.io.dump(pipeline.fit(TEXTS, LABELS), tmp_path / "m.skops")
    name = f"{no_op.__module__}.no_op"
    with pytest.raises(HarnessError, match=f"types that are not trusted: {name}; look at them"):
        Sklearn(str(tmp_path / "m.skops"))
    trusted = Sklearn(str(tmp_path / "m.skops"), trusted=[name])
    assert trusted.predict(texts(TEXTS[0]))[0].label == "gastritis"


def test_a_pipeline_without_probabilities_is_refused(tmp_path: Path) -> None:
    skops.io.dump(make_pipeline(CountVectorizer(), LinearSVC()).fit(TEXTS, LABELS), tmp_path / "m")
    with pytest.raises(HarnessError, match="a Pipeline without predict_proba"):
        Sklearn(str(tmp_path / "m"))


def test_a_pipeline_that_is_not_fitted_is_refused(tmp_path: Path) -> None:
    skops.io.dump(make_pipeline(CountVectorizer(), LogisticRegression()), tmp_path / "m")
    with pytest.raises(HarnessError, match="not fitted"):
        Sklearn(str(tmp_path / "m"))


def test_a_pipeline_for_something_else_than_texts_is_refused(tmp_path: Path) -> None:
    model = LogisticRegression().fit(np.eye(6), LABELS)
    skops.io.dump(model, tmp_path / "m")
    with pytest.raises(HarnessError, match="cannot classify texts: ValueError"):
        Sklearn(str(tmp_path / "m")).predict(texts("x"))


def test_missing_and_damaged_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="there is no skops file"):
        Sklearn(str(tmp_path / "none.skops"))
    path = train(TEXTS, LABELS, tmp_path / "m.skops")
    for data in (b"pickle?", path.read_bytes()[:-400]):
        path.write_bytes(data)
        with pytest.raises(HarnessError, match=r"m\.skops is no readable skops file"):
            Sklearn(str(path))


def test_samples_with_pictures_are_refused(tmp_path: Path) -> None:
    classifier = Sklearn(str(train(TEXTS, LABELS, tmp_path / "m.skops")))
    picture = Sample("s", (Part(media=Media("0" * 64, "image/png", data=b"")),))
    with pytest.raises(HarnessError, match="classifies texts, and sample 's' is none"):
        classifier.predict([picture])


def test_training_learns_words_and_its_card_says_from_what(tmp_path: Path) -> None:
    path = train(TEXTS, LABELS, tmp_path / "deep" / "m.skops", seed=5)
    found = Sklearn(str(path)).predict(texts("worn stomach", "slow emptying"))
    assert [prediction.label for prediction in found] == ["gastritis", "gastroparesis"]
    card = json.loads(path.with_suffix(".json").read_text())
    assert (card["seed"], card["classes"]) == (5, ["gastritis", "gastroparesis"])
    assert card["texts"] == {"gastritis": 3, "gastroparesis": 3}
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    other = train([*TEXTS[:-1], "other"], LABELS, tmp_path / "other.skops", seed=5)
    assert json.loads(other.with_suffix(".json").read_text())["data_sha256"] != card["data_sha256"]


def test_training_again_in_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import sys, json; from harness.classifiers.sklearn import train; "
        "texts, labels, folder, kinds = json.loads(sys.argv[1]); "
        "[train(texts, labels, f'{folder}/{kind}.there', 3, kind) for kind in kinds]"
    )
    kinds = ["tfidf", "length", "majority"]
    arguments = json.dumps([TEXTS, LABELS, str(tmp_path), kinds])
    subprocess.run([sys.executable, "-c", code, arguments], check=True)
    for kind in kinds:
        here = train(TEXTS, LABELS, tmp_path / f"{kind}.here", 3, kind)
        assert here.read_bytes() == (tmp_path / f"{kind}.there").read_bytes()


def test_baselines_know_shares_and_length_and_no_words(tmp_path: Path) -> None:
    long = [" ".join(["word"] * n) for n in (18, 20, 22)]
    short = [" ".join(["word"] * n) for n in (2, 3, 4, 5)]
    labels = ["wordy"] * 3 + ["brief"] * 4
    by_length = Sklearn(str(train([*long, *short], labels, tmp_path / "l.skops", kind="length")))
    found = by_length.predict(texts("other things " * 12, "other things"))
    assert [prediction.label for prediction in found] == ["wordy", "brief"]
    majority = Sklearn(str(train([*long, *short], labels, tmp_path / "m.skops", kind="majority")))
    (found_majority,) = majority.predict(texts(long[0]))
    assert found_majority.probabilities == pytest.approx({"brief": 4 / 7, "wordy": 3 / 7})


def test_training_on_samples_leaves_a_classifier_and_its_baselines(tmp_path: Path) -> None:
    labelled = [
        Sample(f"s{i}", (Part(text),), label)
        for i, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))
    ]
    path = tmp_path / "x.skops"
    said = Sklearn.train(labelled, path=str(path), seed=1)
    assert f"6 texts of 2 labels: {path}" in said
    assert path.read_bytes() == train(TEXTS, LABELS, tmp_path / "y.skops", 1).read_bytes()
    for name in ("x.skops", "x.majority.skops", "x.length.skops"):
        assert Sklearn(str(tmp_path / name)).classes == ("gastritis", "gastroparesis")
    assert json.loads((tmp_path / "x.length.json").read_text())["kind"] == "length"
    with pytest.raises(HarnessError, match="sample 's9' is no text with a label"):
        Sklearn.train([*labelled, Sample("s9", (Part("x"),))], path=str(path))
    with pytest.raises(HarnessError, match="train: the classes given are gastritis, but"):
        Sklearn.train(labelled, path=str(path), classes=["gastritis"])


@pytest.mark.parametrize(
    ("given", "labels", "kind", "message"),
    [
        (TEXTS, LABELS[:-1], "tfidf", "6 texts and 5 labels"),
        (TEXTS, ["a"] * 6, "tfidf", "two labels or more"),
        (TEXTS, LABELS, "bert", "known are tfidf, length, majority"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    tmp_path: Path, given: list[str], labels: list[str], kind: str, message: str
) -> None:
    with pytest.raises(HarnessError, match=message):
        train(given, labels, tmp_path / "m.skops", kind=kind)


def test_texts_without_a_word_train_nothing(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="training on these texts fails: empty vocabulary"):
        train(["?", "!", ".", "-"], ["a", "a", "b", "b"], tmp_path / "m.skops")
