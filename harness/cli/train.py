"""`harness train SUITE`: the suite's classifier, trained as its `train` entry says."""

from __future__ import annotations

import argparse

from harness import terminal
from harness.cli.run import add_suite_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_suite_arguments(parser)


def main(options: argparse.Namespace) -> int:
    from harness.suite import load
    from harness.train import train

    terminal.say(train(load(options.suite, options.settings, options.models, asks=False)))
    return 0
