"""Classifiers of scikit-learn and pipelines of transformers are explained as they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import harness
from harness.records import HarnessError

sys.path.append(str(Path(__file__).parents[1] / "classifiers"))
from classification_checkpoints import TEXTS, make

NOTES = ["burning pain after aspirin", "burning lining", "burps after meals", "full after meals"]
LABELS = ["gastritis", "gastritis", "indigestion", "indigestion"]


@pytest.fixture(scope="module")
def words() -> Any:
    return make_pipeline(CountVectorizer(), LogisticRegression()).fit(NOTES, LABELS)


def test_a_pipeline_of_scikit_learn_is_explained_by_its_own_probabilities(words: Any) -> None:
    (found,) = harness.explain(words, NOTES[0], "leave_one_out", "word")
    assert found.target == "gastritis"
    assert found.full == pytest.approx(words.predict_proba([NOTES[0]])[0][0])
    values = dict(zip((unit.text.strip() for unit in found.units), found.values, strict=True))
    assert max(values, key=lambda word: values[word] or 0) == "burning"


def test_estimators_that_were_fitted_on_other_data_are_told_apart(words: Any) -> None:
    other = make_pipeline(CountVectorizer(), LogisticRegression()).fit(NOTES, LABELS[::-1])
    hashes = {
        harness.explain(one, NOTES[0], "leave_one_out", "word")[0].classifier
        for one in (words, words, other)
    }
    assert len(hashes) == 2


@pytest.mark.parametrize("kind", ["array", "frame"])
@pytest.mark.filterwarnings("error")
def test_rows_of_numbers_keep_the_names_that_the_estimator_was_fitted_with(kind: str) -> None:
    draws = np.random.default_rng(0).normal(size=(60, 3))
    rows: Any = pd.DataFrame(draws, columns=["age", "dose", "noise"]) if kind == "frame" else draws
    labels = np.where(draws[:, 1] > 0, "sick", "well")
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)
    found = harness.explain(model, rows[:2], "exact_shapley", target="sick")
    names = ["age", "dose", "noise"] if kind == "frame" else ["feature 0", "feature 1", "feature 2"]
    assert [unit.text for unit in found[0].units] == names
    place = list(model.classes_).index("sick")
    for one, row in zip(found, model.predict_proba(rows[:2]), strict=True):
        assert one.full == pytest.approx(row[place])
        assert int(np.argmax(np.abs(np.array(one.values, dtype=float)))) == 1


def test_what_cannot_be_asked_says_what_to_pass() -> None:
    vectors = make_pipeline(CountVectorizer(), LinearSVC()).fit(NOTES, LABELS)
    with pytest.raises(HarnessError, match=r"no predict_proba.*CalibratedClassifierCV"):
        harness.explain(vectors, NOTES, "leave_one_out")
    with pytest.raises(HarnessError, match=r"LogisticRegression has no classes_: fit it"):
        harness.explain(LogisticRegression(), NOTES, "leave_one_out")
    with pytest.raises(HarnessError, match=r"object cannot be explained: .*transformers pipeline"):
        harness.explain(object(), NOTES, "leave_one_out")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import transformers

    folder = make("bert", tmp_path_factory.mktemp("bert"))[0]
    return transformers.pipeline("text-classification", model=str(folder))


def test_a_pipeline_of_transformers_is_explained_by_the_scores_it_says(pipeline: Any) -> None:
    (found,) = harness.explain(pipeline, TEXTS[0], "leave_one_out", "word")
    (said,) = pipeline([TEXTS[0]])
    assert found.target == said["label"]
    assert found.full == pytest.approx(said["score"], abs=1e-6)
    assert len(found.values) == len(TEXTS[0].split())


def test_a_pipeline_for_another_task_is_refused() -> None:
    class Writer:
        task, model = "text-generation", None

        def __call__(self, texts: Any) -> Any: ...

    with pytest.raises(HarnessError, match="a pipeline for text-generation is no classifier"):
        harness.explain(Writer(), TEXTS[0], "leave_one_out")
