"""`harness score RUN`: the stored generations, scored again."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.cli.run import names, print_ending, print_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument(
        "--scorers", type=names, default=[], metavar="A,B", help="these scorers only"
    )


def main(options: argparse.Namespace) -> int:
    from harness.cli.progress import Live
    from harness.pipeline import finish
    from harness.store import Store

    Store.read(options.run).close()  # refuses a folder that is no run before one is made of it
    with Live() as progress, Store.write(options.run) as store:
        result = finish(store, progress, options.scorers)
    print_result(result)
    return print_ending(result)
