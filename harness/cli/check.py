"""`harness check SUITE`: what is missing or wrong, before anything is sent."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness import terminal
from harness.cli.run import add_suite_arguments

if TYPE_CHECKING:
    from harness.suite import Suite


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_suite_arguments(parser)


def main(options: argparse.Namespace) -> int:
    from harness import requirements
    from harness.checks import misspelt
    from harness.pipeline import elsewhere, plan_only
    from harness.scoring import make_scorers
    from harness.show import check_text
    from harness.suite import load

    suite = load(options.suite, options.settings, options.models)
    plan, inputs = plan_only(suite)
    scorers = make_scorers(suite.scorers, suite.folder)
    notes = requirements.check(suite, inputs.samples, scorers)
    likely = [
        sentence
        for kind, name in dict.fromkeys(_parts(suite))
        for sentence in misspelt(kind, name, suite.folder)
    ]
    found = (*elsewhere(suite, plan), *notes, *likely)
    terminal.say_lines(check_text(suite, plan, inputs, found))
    return 0


def _parts(suite: Suite) -> Iterator[tuple[str, str]]:
    """The kind and name of every part that the suite names."""
    yield "sources", suite.source.kind
    if suite.classifier is not None:
        yield "classifiers", suite.classifier.kind
    yield from (("classifiers", part.kind) for part in suite.classifier_baselines.values())
    yield from (("backends", model.backend) for model in suite.models)
    yield from (("scorers", part.kind) for part in suite.scorers)
    if suite.explain is not None:
        yield from (("units", part.kind) for part in suite.explain.unit)
