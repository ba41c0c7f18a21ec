"""`harness list KIND`: the parts there are, built in and installed, and the built-in suites."""

from __future__ import annotations

import argparse

from harness import terminal
from harness.plugins import KINDS, registered

ALL = (*KINDS, "suites", "controls")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=ALL)


def main(options: argparse.Namespace) -> int:
    if options.kind in KINDS:
        width = max(map(len, registered(options.kind)), default=0)
        for name, point in sorted(registered(options.kind).items()):
            terminal.say(f"{name:<{width}}  {point.value}")
        if not registered(options.kind):
            terminal.say(f"there are no {options.kind} yet")
        return 0
    from harness.suite import CONTROLS, EVIDENCE_CONTROLS, builtin_suites

    controls = CONTROLS + EVIDENCE_CONTROLS
    for name in builtin_suites() if options.kind == "suites" else controls:
        terminal.say(name)
    return 0
