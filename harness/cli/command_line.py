"""Finds the command that was typed, runs it, and turns what went wrong into a sentence and a code.

Only that command's module is imported, so `--help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from harness import terminal

COMMANDS = {
    "run": "run a suite to its report, or continue it",
    "explain": "say why a suite's classifier decided as it did",
    "concepts": "find concepts in a layer of a suite's classifier",
    "score": "score a run's stored generations again, asking none of its models",
    "report": "write a run's HTML report again",
    "gate": "hold a run against bars: exit 3 where one is not kept",
    "show": "show one cell of a run: prompt, answer, gold, scores",
    "export": "write a run's cells and scores as tables",
    "plan": "show what a suite would ask, before anything is sent",
    "check": "check a suite with its prompts, gold and labels",
    "schema": "print the JSON Schema of a file you write",
    "list": "list the parts there are of a kind",
    "train": "train a suite's classifier",
}
EXIT_CODES = """exit codes:
  0 done   1 internal error, or a control did not answer   2 usage or bad input
  3 require or gate not kept   4 servers or backends left cells without an answer
  5 more cells without a score than --max-unscored, or none with one   6 a limit stopped it
  130 interrupted; the first that holds of 130, 1, 2, 4, 6, 5, 3, 0"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; a user's mistake is one sentence, no traceback."""
    with terminal.screened():
        return _run(list(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    parser, chosen = _parser(arguments)
    options = parser.parse_args(arguments)
    if chosen is None:
        parser.print_help()
        return 0
    from harness.records import HarnessError

    options.command = _command(arguments)
    try:
        return int(importlib.import_module(f"harness.cli.{chosen}").main(options))
    except HarnessError as error:
        if os.environ.get("HARNESS_DEBUG"):
            raise
        terminal.say(f"harness: {error}", error=True)
        return error.exit_code
    except KeyboardInterrupt:
        print(file=sys.stderr)
        terminal.say(f"harness: interrupted; continue with: {options.command}", error=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, SystemExit) as error:  # a part of one's own may call sys.exit
        if os.environ.get("HARNESS_DEBUG"):
            raise
        terminal.say(
            f"harness: internal error: {type(error).__name__}: {error} "
            "(HARNESS_DEBUG=1 shows where)",
            error=True,
        )
        return 1


def _parser(arguments: Sequence[str]) -> tuple[argparse.ArgumentParser, str | None]:
    from harness import __version__

    parser = argparse.ArgumentParser(
        prog="harness",
        description="Tells whether an LLM's explanation of a classifier's decision can be trusted.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, about in COMMANDS.items():
        sentence = f"{about[0].upper()}{about[1:]}."
        command = commands.add_parser(name, help=about, description=sentence)
        if name == chosen:
            importlib.import_module(f"harness.cli.{name}").add_arguments(command)
    return parser, chosen if chosen in COMMANDS else None


def _command(arguments: Sequence[str]) -> str:
    import shlex

    kept = [word for word in arguments if word != "--fresh"]
    return "harness " + shlex.join(kept)
