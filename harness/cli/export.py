"""`harness export RUN --to FORMAT`: tables for other tools."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("--to", choices=("parquet", "csv", "jsonl"), default="parquet")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the tables go; RUN/export unless given"
    )


def main(options: argparse.Namespace) -> int:
    from harness.export import export
    from harness.store import Store

    with Store.read(options.run) as store:
        for path, rows in export(store, options.to, options.out or options.run / "export"):
            terminal.say(f"{path}  {rows:,} rows")
    return 0
