"""`harness concepts SUITE`: what a layer of the suite's classifier says, and what that does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness import terminal
from harness.cli.run import add_suite_arguments, names, positive

_SPACES = ("pca", "k_means", "semi_nmf", "random")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_suite_arguments(parser)
    parser.add_argument("--layer", required=True, help="a module of the classifier, by its name")
    parser.add_argument(
        "--at", required=True,
        choices=("token", "word", "sentence", "paragraph", "cls", "patch", "pooled"),
        help="what a row of activations is of",
    )  # fmt: skip
    parser.add_argument(
        "--space", type=names, default=list(_SPACES), metavar="A,B",
        help=f"kinds of spaces; {', '.join(_SPACES)} unless given",
    )  # fmt: skip
    parser.add_argument(
        "--concepts", type=positive, default=8, metavar="N", help="concepts a space"
    )
    parser.add_argument(
        "--k", type=positive, metavar="N", help="concepts a row, of sparse autoencoders that fix it"
    )
    parser.add_argument("--penalty", type=float, help="of sparse autoencoders that have one")
    parser.add_argument("--target", help="a class, predicted, runner_up, all")
    parser.add_argument("--seed", type=int, help="the suite's unless given")
    parser.add_argument("--limit", type=positive, metavar="N", help="take N samples only")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder")


def main(options: argparse.Namespace) -> int:
    from harness.cli.progress import Live
    from harness.explainers.concepts.text import concepts_text
    from harness.pipeline import concepts
    from harness.suite import load

    suite = load(options.suite, options.settings, options.models, asks=False)
    settings: dict[str, Any] = {"k": options.k, "penalty": options.penalty}
    with Live() as progress:
        found, folder = concepts(
            suite,
            options.layer,
            options.at,
            options.space,
            options.concepts,
            target=options.target,
            seed=options.seed,
            settings={name: value for name, value in settings.items() if value is not None},
            out=options.out,
            samples=options.limit,
            progress=progress,
        )
    terminal.say_lines(concepts_text(found))
    terminal.say(f"stored in {folder}")
    return 0
