"""Tells whether an LLM's explanation of a classifier's decision can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from harness.explainers.explanation import Explanation
    from harness.explainers.metrics.evaluation import Evaluation
    from harness.pipeline import RunResult


def run(suite: str | Path, **options: Any) -> RunResult:
    """Runs a suite file, or a built-in suite by name, to its report; continues where it stopped.

    Options are those of `harness.pipeline.run` (`out`, `samples`, `only_failed`, `fresh`), and
    `settings` and `models` as `--set` and `--models` take them. The result has `scores` (a pandas
    frame, one row a score), `verdict` (the report's sentences) and `report` (the page's path).
    Raises `harness.records.HarnessError` with one sentence for whatever a person can mend.
    """
    from harness import pipeline
    from harness.suite import load

    loaded = load(str(suite), options.pop("settings", ()), options.pop("models", ()))
    return pipeline.run(loaded, **options)


def explain(
    classifier: Any, samples: Any, method: Any = "kernel_shap", unit: Any = None, **options: Any
) -> Explanation:
    """Why a classifier decided as it did: an attribution for each sample, method and target.

    See `harness.explainers.explain.explain` for what may be given: any classifier of the harness,
    any torch module, any estimator with `predict_proba`, any pipeline of transformers that
    classifies, any function from inputs to probabilities. The result is a sequence of
    `Attribution` records with `frame` (a pandas frame, one row a unit) and `save`. Raises
    `harness.records.HarnessError` with one sentence for whatever a person can mend.
    """
    from harness.explainers.explain import explain as explained

    return explained(classifier, samples, method, unit, **options)


def evaluate(
    classifier: Any, samples: Any, method: Any = (), unit: Any = None, **options: Any
) -> Evaluation:
    """What methods' attributions of a classifier are worth, by metrics, beside attributions that
    know nothing.

    See `harness.explainers.metrics.evaluate.evaluate` for what may be given. The result has `frame`
    (a pandas frame, one row a measurement), `rows` (means with intervals, and how far above the
    random attribution), `ranking()` and `agreement`. Raises `harness.records.HarnessError` with one
    sentence for whatever a person can mend.
    """
    from harness.explainers.metrics.evaluate import evaluate as evaluated

    return evaluated(classifier, samples, method, unit, **options)
