"""`harness run SUITE`: to the report, or on from where it stopped."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.pipeline import RunResult

from harness import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_suite_arguments(parser)
    parser.add_argument("--limit", type=positive, metavar="N", help="take N samples only")
    parser.add_argument(
        "--only-failed", action="store_true", help="ask again only for what failed to arrive"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="take nothing from an earlier run; it is set aside"
    )
    parser.add_argument(
        "--reuse", action="append", default=[], type=Path, metavar="RUN",
        help="take over what this run was answered to the same requests, whoever gave the answers",
    )  # fmt: skip
    parser.add_argument(
        "--accept-change", action="store_true",
        help="continue although another model answers than before",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder")
    parser.add_argument(
        "--max-unscored", type=share, metavar="SHARE",
        help="share of the models' cells that may stay without a score; more exits with 4 or 5",
    )  # fmt: skip
    parser.add_argument(
        "--max-outage", type=duration, default=600.0, metavar="TIME",
        help="how long a server may give no answer (90s, 10m) before the rest of it is not run; "
        "10m unless given",
    )  # fmt: skip
    parser.add_argument(
        "--wait", action="store_true", help="wait for a server that has not answered at all yet"
    )


def add_suite_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that reads a suite."""
    parser.add_argument("suite", help="a suite file, or the name of a built-in suite")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="override a field of the suite, such as models.qwen.sampling.temperature=0",
    )  # fmt: skip
    parser.add_argument(
        "--models", type=names, default=[], metavar="A,B", help="ask these models only"
    )


def names(text: str) -> list[str]:
    """A list with commas between."""
    return [name.strip() for name in text.split(",") if name.strip()]


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = int(text) if text.strip().isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, not '{text}'")
    return value


def share(text: str) -> float:
    """A number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, not '{text}'")
    return value


def duration(text: str) -> float:
    """A time such as 90s, 10m or 2h, in seconds."""
    from harness.suite import seconds

    found = seconds(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s or 10m, not '{text}'")
    return found


def main(options: argparse.Namespace) -> int:
    from harness.cli.progress import Live
    from harness.pipeline import run, run_folder, so_far
    from harness.records import HarnessError
    from harness.server_gate import Patience
    from harness.suite import load

    suite = load(options.suite, options.settings, options.models)
    try:
        with Live() as progress:
            result = run(
                suite,
                out=options.out,
                samples=options.limit,
                only_failed=options.only_failed,
                fresh=options.fresh,
                reuse=options.reuse,
                accept_change=options.accept_change,
                progress=progress,
                patience=Patience(max_outage=options.max_outage, wait=options.wait),
            )
    except KeyboardInterrupt:
        terminal.say("interrupted; the verdict so far (Ctrl-C again leaves it out):", error=True)
        with contextlib.suppress(HarnessError):
            print_result(so_far(run_folder(suite, options.out)))
        raise
    print_result(result)
    return print_ending(result, options.max_unscored, options.command)


def print_result(result: RunResult) -> None:
    """Prints the verdict, why cells failed and where the report is."""
    from harness.ending import failure_lines

    for sentence in (*result.verdict, *failure_lines(result.failures)):
        terminal.say(f"  {sentence}")
    terminal.say(f"report: {result.report}")


def print_ending(
    result: RunResult, max_unscored: float | None = None, command: str | None = None
) -> int:
    """Prints what a run left undone and how to go on; returns the exit code.

    `max_unscored` stands in the place of the suite's, `command` is the one that continues the run.
    A command that asks nobody names none: what servers and limits left is not its failure.
    """
    from harness.ending import INFRASTRUCTURE, LIMIT, LOST_CONTROL

    allowed = result.max_unscored if max_unscored is None else max_unscored
    code = result.ending.code(allowed)
    said = "; ".join(result.ending.sentences(allowed))
    if code in (INFRASTRUCTURE, LIMIT):
        if command is None:
            return 0
        said += f"; continue with: {command}"
    if said:
        outside = code in (LOST_CONTROL, INFRASTRUCTURE, LIMIT)
        terminal.say(f"harness: {said}" if outside else said, error=outside)
    return code
