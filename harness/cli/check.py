"""`harness check SUITE`: what is missing or wrong, before anything is sent."""

from __future__ import annotations

import argparse

from harness import terminal
from harness.cli.run import add_suite_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_suite_arguments(parser)


def main(options: argparse.Namespace) -> int:
    from harness import requirements
    from harness.pipeline import elsewhere, plan_only
    from harness.scoring import make_scorers
    from harness.show import check_text
    from harness.suite import load

    suite = load(options.suite, options.settings, options.models)
    plan, inputs = plan_only(suite)
    scorers = make_scorers(suite.scorers, suite.folder)
    notes = requirements.check(suite, inputs.samples, scorers)
    terminal.say_lines(check_text(suite, plan, inputs, (*elsewhere(suite, plan), *notes)))
    return 0
