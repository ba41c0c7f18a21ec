"""`harness show RUN CELL`: what was asked and answered, and what the scorers made of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument(
        "cell", nargs="?",
        help="model/sample/family/variant/arm/aspect/repeat; a list of those that begin so, or all",
    )  # fmt: skip


def main(options: argparse.Namespace) -> int:
    from harness.show import cell_text, cells_text
    from harness.store import Store

    with Store.read(options.run) as store:
        whole = options.cell and options.cell.count("/") == 6
        if whole:
            terminal.say_lines(cell_text(store, options.cell))
        else:
            terminal.say_lines(cells_text(store, options.cell or ""))
    return 0
