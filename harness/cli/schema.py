"""`harness schema NAME`: the JSON Schema of a file you write."""

from __future__ import annotations

import argparse
import json

from harness import terminal
from harness.documents import SCHEMAS, schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=SCHEMAS)


def main(options: argparse.Namespace) -> int:
    terminal.say_lines(json.dumps(schema(options.name), indent=2, ensure_ascii=False))
    return 0
