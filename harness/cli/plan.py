"""`harness plan SUITE`: cells, requests and tokens, before anything is sent."""

from __future__ import annotations

import argparse

from harness import terminal
from harness.cli.run import add_suite_arguments, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_suite_arguments(parser)
    parser.add_argument("--limit", type=positive, metavar="N", help="take N samples only")


def main(options: argparse.Namespace) -> int:
    from harness.pipeline import elsewhere, plan_only, run_folder
    from harness.show import plan_text
    from harness.suite import load

    suite = load(options.suite, options.settings, options.models)
    plan, inputs = plan_only(suite, options.limit)
    found = elsewhere(suite, plan)
    terminal.say_lines(plan_text(suite, plan, inputs, run_folder(suite), found))
    return 0
