"""`harness report RUN`: the HTML report, from the scores as they stand."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.cli.run import print_ending, print_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument(
        "--generalise", choices=("variants",),
        help="take the variants for a sample of all ways of asking: wider intervals",
    )  # fmt: skip


def main(options: argparse.Namespace) -> int:
    from harness.pipeline import report

    result = report(options.run, generalise_variants=options.generalise == "variants")
    print_result(result)
    return print_ending(result)
