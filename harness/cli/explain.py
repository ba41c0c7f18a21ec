"""`harness explain SUITE`: why the suite's classifier decided as it did, and by which method to
ask."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness import terminal
from harness.cli.run import add_suite_arguments, names, positive

if TYPE_CHECKING:
    from harness.explainers.explanation import Explanation
    from harness.explainers.metrics.evaluation import Evaluation
    from harness.suite import ExplainSpec, Suite

_SAMPLES = 12
# Every method explains five times more for them.
_UNDER_NOISE = ("max_sensitivity", "local_lipschitz")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_suite_arguments(parser)
    parser.add_argument(
        "--method", type=names, default=[], metavar="A,B",
        help="explainers (harness list explainers); the suite's own, or kernel_shap unless given",
    )  # fmt: skip
    parser.add_argument(
        "--unit", type=names, default=[], metavar="A,B",
        help="what a value speaks about (harness list units); word or patch unless given",
    )  # fmt: skip
    parser.add_argument("--target", help="a class, predicted, runner_up, all, or A,B for A less B")
    parser.add_argument("--output", choices=("logit", "probability", "log_probability"))
    parser.add_argument("--removal", choices=("mask", "delete"), help="what is left of a unit")
    parser.add_argument("--baseline", help="a token or a text that takes a removed unit's place")
    parser.add_argument("--reduce", choices=("sum", "l2", "mean", "max_abs"))
    parser.add_argument("--budget", type=positive, metavar="N", help="evaluations a sample")
    parser.add_argument("--seed", type=int, help="the suite's unless given")
    parser.add_argument("--limit", type=positive, metavar="N", help="take N samples only")
    parser.add_argument("--top", type=positive, default=3, metavar="N", help="units to be printed")
    parser.add_argument(
        "--best", action="store_true",
        help="rank methods for this classifier by what their attributions are worth; without "
        f"--method those that it supports, and {_SAMPLES} samples unless --limit says otherwise",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", type=names, default=[], metavar="A,B",
        help="with --best: what is measured (harness list metrics); all but those under noise",
    )  # fmt: skip
    parser.add_argument(
        "--by", type=names, default=[], metavar="A,B",
        help="with --best: the metrics to rank by; those of faithfulness unless given",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR",
        help="draw into DIR, as SVG: each attribution; with --best the table and curves of methods",
    )  # fmt: skip


def main(options: argparse.Namespace) -> int:
    from harness.cli.progress import Live
    from harness.pipeline import explain
    from harness.show import explanation_text
    from harness.suite import explain_spec, load

    suite = load(options.suite, options.settings, options.models, asks=False)
    spec = explain_spec(
        suite,
        options.method,
        options.unit,
        target=_target(options.target),
        output=options.output,
        removal=options.removal,
        baseline=options.baseline,
        reduce=options.reduce,
        budget=options.budget,
        seed=options.seed,
    )
    if options.best:
        return _best(options, suite, spec)
    with Live() as progress:
        explanation, folder = explain(
            suite, spec, out=options.out, samples=options.limit, progress=progress
        )
    terminal.say_lines(explanation_text(explanation, options.top))
    _page(suite, explanation, folder)
    if options.pictures is not None:
        paths = explanation.save_pictures(options.pictures)
        terminal.say(f"{len(paths):,} pictures in {options.pictures}")
    return 0


def _best(options: argparse.Namespace, suite: Suite, spec: ExplainSpec) -> int:
    """Ranks the methods that were named, or all that the classifier supports."""
    from dataclasses import replace

    from harness.cli.progress import Live
    from harness.explainers.metrics.evaluate import METRICS
    from harness.explainers.metrics.text import evaluation_text
    from harness.pipeline import evaluate
    from harness.records import HarnessError

    spec = spec if options.method else replace(spec, methods=())
    metrics = options.metrics or [name for name in METRICS if name not in _UNDER_NOISE]
    if strange := [name for name in options.by if name not in metrics]:
        raise HarnessError(f"--by {strange[0]}: it is not measured; name it with --metrics as well")
    with Live() as progress:
        evaluation, folder = evaluate(
            suite, spec, metrics, out=options.out, samples=options.limit or _SAMPLES,
            progress=progress,
        )  # fmt: skip
    terminal.say_lines(evaluation_text(evaluation, options.by))
    if options.pictures is not None:
        drawn = [evaluation.heat_map.save(options.pictures / "methods-by-metrics.svg")]
        if {"deletion", "insertion"} & set(evaluation.metrics):
            drawn.append(evaluation.curves.save(options.pictures / "deletion-and-insertion.svg"))
        terminal.say(f"{len(drawn)} pictures in {options.pictures}")
    _page(suite, evaluation.explanation, folder, evaluation)
    return 0


def _page(
    suite: Suite, explanation: Explanation, folder: Path, evaluation: Evaluation | None = None
) -> None:
    """Writes the page beside what is stored, and says where both are."""
    from harness.report.explanation import write

    terminal.say(f"stored in {folder}")
    path = write(explanation, suite.name, folder / "explanation.html", evaluation)
    terminal.say(f"page: {path}")


def _target(text: str | None) -> str | tuple[str, ...] | None:
    """A class, or two with a comma between."""
    if text is None or "," not in text:
        return text
    return tuple(part.strip() for part in text.split(","))
