"""`harness run SUITE`: to the report, or on from where it stopped."""

from __future__ import annotations

import argparse
from pathlib import Path

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
        help="exit with 5 when more than this share of the models' cells is unscorable",
    )  # fmt: skip


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


def main(options: argparse.Namespace) -> int:
    from harness.cli.progress import Live
    from harness.pipeline import run
    from harness.suite import load

    suite = load(options.suite, options.settings, options.models)
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
        )
    return print_result(result, options.max_unscored)


def print_result(result: object, max_unscored: float | None = None) -> int:
    """Prints the verdict and where the report is; returns the exit code."""
    from harness.pipeline import RunResult

    assert isinstance(result, RunResult)
    for sentence in result.verdict:
        terminal.say(f"  {sentence}")
    terminal.say(f"report: {result.report}")
    allowed = result.max_unscored if max_unscored is None else max_unscored
    if result.unscorable == 1:
        terminal.say("no cell of any model has an answer that can be scored")
        return 5
    if result.unscorable > allowed:
        terminal.say(
            f"{result.unscorable:.1%} of the cells are unscorable; {allowed:.1%} are allowed"
        )
        return 5
    return 3 if result.unmet else 0
