"""Classifiers of other libraries, told by what they can do: estimators and pipelines.

An estimator (scikit-learn and what follows its interface) has `predict_proba` and `classes_`; a
pipeline of transformers has a task, and says labels with scores. Both become functions from inputs
to probabilities, so they are explained without gradients; `huggingface` reads a checkpoint with
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.classifiers.functions import Callable
from harness.identity import sha256
from harness.records import HarnessError

_TASKS = ("text-classification", "sentiment-analysis", "image-classification")


def adapted(classifier: Any, samples: Any, output: str | None = None) -> tuple[Any, Any]:
    """The classifier as the harness asks one, and the samples as it takes them.

    Whatever is of no other library stays as it is. With the output `value` an estimator says what
    its `decision_function` says, or where it has none what it predicts, and a pipeline says logits.
    Raises `HarnessError` for an estimator without
    probabilities, one that is not fitted, and a pipeline for another task.
    """
    if hasattr(classifier, "task") and hasattr(classifier, "model") and callable(classifier):
        return _pipeline(classifier, output == "value"), samples
    fits = hasattr(classifier, "fit") and hasattr(classifier, "predict")
    if callable(classifier) or hasattr(classifier, "classes") or not fits:
        return classifier, samples
    if output == "value":
        return _regressor(classifier, samples)
    return _estimator(classifier, samples)


def _regressor(estimator: Any, samples: Any) -> tuple[Any, Any]:
    """An estimator whose numbers are what they are."""
    name = type(estimator).__name__
    decides = hasattr(estimator, "decision_function")
    ask = estimator.decision_function if decides else estimator.predict
    if not decides and hasattr(estimator, "classes_"):
        raise HarnessError(
            f"{name} predicts classes and has no decision_function; leave output out"
        )
    table = _as_table(estimator, samples)
    if table is not None:
        return _Rows(_of_frames(estimator, ask), name, ()), table
    return _Rows(ask, name, ()), samples


def _of_frames(estimator: Any, ask: Any) -> Any:
    """What is asked with frames: with their numbers where it was fitted without names."""
    if hasattr(estimator, "feature_names_in_"):
        return ask
    return lambda frame: ask(frame.to_numpy())


def _estimator(estimator: Any, samples: Any) -> tuple[Any, Any]:
    name = type(estimator).__name__
    if not hasattr(estimator, "predict_proba"):
        raise HarnessError(
            f"{name} has no predict_proba, so it says no probabilities: use output value, wrap it "
            "in sklearn.calibration.CalibratedClassifierCV, or give a function from a list of "
            "inputs to probabilities"
        )
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise HarnessError(f"{name} has no classes_: fit it before it is explained")
    names = [str(one) for one in classes]
    table = _as_table(estimator, samples)
    if table is not None:
        return _Rows(_of_frames(estimator, estimator.predict_proba), name, names), table
    function = _Rows(estimator.predict_proba, name, names)
    return Callable(function=function, classes=names, revision=_revision(estimator)), samples


class _Rows:
    """Probabilities of an estimator, under its name and with its classes."""

    def __init__(self, function: Any, name: str, classes: Sequence[str]) -> None:
        self._function, self.classes = function, tuple(classes)
        self.__name__ = self.__qualname__ = name

    def __call__(self, inputs: Any) -> Any:
        return self._function(inputs)


def _as_table(estimator: Any, samples: Any) -> Any:
    """Rows of numbers as a frame, their columns called as the estimator was fitted; `None` for
    samples of another kind."""
    import numpy as np
    import pandas as pd

    if isinstance(samples, pd.DataFrame):
        return samples
    numbers = isinstance(samples, np.ndarray) and samples.ndim == 2 and samples.dtype.kind in "fiub"
    if not numbers or samples.dtype == np.uint8:
        return None
    fitted = getattr(estimator, "feature_names_in_", None)
    names = [f"feature {i}" for i in range(samples.shape[1])] if fitted is None else list(fitted)
    return pd.DataFrame(samples, columns=pd.Index(names))


def _pipeline(pipeline: Any, real: bool) -> Callable:
    if pipeline.task not in _TASKS:
        raise HarnessError(
            f"a pipeline for {pipeline.task} is no classifier; harness.explain takes one for "
            f"{' or '.join(_TASKS)}"
        )
    config = pipeline.model.config
    classes = [str(config.id2label[place]) for place in sorted(config.id2label)]
    several = getattr(config, "problem_type", None) in ("multi_label_classification", "regression")
    if not real and (several or len(classes) == 1):
        raise HarnessError(
            f"the pipeline's {type(pipeline.model).__name__} says no probabilities of one class "
            "each; use output value for its logits, or the classifier 'huggingface'"
        )
    applied = "none" if real else "softmax"

    def probabilities(inputs: Sequence[Any]) -> list[Mapping[str, float]]:
        from PIL import Image

        given = [one if isinstance(one, str) else Image.fromarray(one) for one in inputs]
        rows = pipeline(given, top_k=None, function_to_apply=applied)
        return [{entry["label"]: float(entry["score"]) for entry in row} for row in rows]

    return Callable(function=probabilities, classes=classes, revision=_revision(pipeline.model))


def _revision(model: Any) -> str:
    """What tells two fitted models apart: their bytes as they would be saved."""
    import io
    import pickle

    if hasattr(model, "state_dict"):
        from harness.classifiers.networks import fingerprint

        return sha256(fingerprint(model))
    written = io.BytesIO()
    try:
        pickle.dump(model, written)
    except Exception:  # functions without a name in a pipeline, among others
        return ""  # as of a function of tensors: not told from others
    return sha256(written.getvalue())
