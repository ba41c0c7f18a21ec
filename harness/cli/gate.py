"""`harness gate RUN`: exit 3 where the run's scores do not keep the bars."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness.records import HarnessError

BAR = "METRIC=BAR"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument(
        "--min", type=bar, action="append", default=[], metavar=BAR,
        help="the lower bound of the metric's interval must reach the bar; METRIC is written as in "
        "a suite's require: ID, ID@MODEL or ID@KEY=LEVEL",
    )  # fmt: skip
    parser.add_argument(
        "--max", type=bar, action="append", default=[], metavar=BAR,
        help="the upper bound of the metric's interval must stay at or under the bar; without "
        "--min and --max the run's own require is held against it",
    )  # fmt: skip


def bar(text: str) -> tuple[str, float]:
    """A metric with its bar; the last equals sign divides them, as a group has one too."""
    name, _, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        name = ""
    if not name:
        raise argparse.ArgumentTypeError(
            f"expected METRIC=BAR, such as claims.recall_vs_true=0.8, not '{text}'"
        )
    return name, number


def main(options: argparse.Namespace) -> int:
    from harness import terminal
    from harness.pipeline import gate

    found = gate(options.run, _once("--min", options.min), _once("--max", options.max))
    for one in found:
        terminal.say(f"{'kept    ' if one.kept else 'NOT KEPT'}  {one.asked}: {one.found}")
    return 0 if all(one.kept for one in found) else 3


def _once(option: str, bars: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The bars by metric; a metric that is named twice is a mistake."""
    names = [name for name, _ in bars]
    for name in names:
        if names.count(name) > 1:
            raise HarnessError(f"{option} {name} is given twice")
    return dict(bars)
