"""Speed and memory of attributions beside Captum and interpreto, in one run: see README.md.

python benchmarks/explain/run.py --interpreto interpreto/bin/python
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import checkpoints

PARTS = ("errors", "long", "synthetic", "sobol", "gradients", "start", "memory")


def main() -> None:
    """Each part prints its figures as they come."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interpreto", metavar="PYTHON", help="of an environment with interpreto")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--kinds", nargs="+", choices=checkpoints.KINDS, default=checkpoints.KINDS)
    parser.add_argument("--texts", type=int, default=20, help="short texts, of 8 to 12 words")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20, help="of integrated gradients")
    parser.add_argument("--tokens", type=int, default=4096, help="in a batch")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()

    import torch
    import transformers

    torch.set_num_threads(given.threads)
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message="Creating a tensor from a list of numpy")
    print(f"{os.cpu_count()} cores, {given.threads} threads, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in given.kinds:
            checkpoints.make(kind, Path(folder, kind))
        for part in given.parts:
            start = time.monotonic()
            print(f"\n{part}", flush=True)
            globals()[f"_{part}"](given, Path(folder))
            took = time.monotonic() - start
            print(f"({took:.0f} s, load {os.getloadavg()[0]:.1f})", flush=True)


def _classifier(folder: Path, kind: str) -> Any:
    from harness.classifiers.huggingface import HuggingFace

    return HuggingFace(str(folder / kind))


def _errors(given: argparse.Namespace, folder: Path) -> None:
    """Short texts, against exact values from tables of all sets."""
    import games

    for kind in given.kinds:
        classifier = _classifier(folder, kind)
        # The larger network takes thirteen times as long, so it has fewer and shorter texts.
        large = kind == "distilbert"
        named = {}
        for number in range(given.texts // 4 if large else given.texts):
            text = checkpoints.text(8 + number % (2 if large else 5), number)
            value, players = games.of_text(classifier, text)
            named[f"text {number}"] = games.tabled(value, players), players
        _print_ratios(f"{kind}, {len(named)} texts", named, given.seeds)


def _long(given: argparse.Namespace, folder: Path) -> None:
    """Longer texts, against 100 evaluations a unit of kernel SHAP, or 400 of the law of LIME."""
    import games

    for kind in given.kinds:
        if kind == "distilbert":
            continue  # hours
        classifier = _classifier(folder, kind)
        for count in (20, 32):
            value, players = games.of_text(classifier, checkpoints.text(count, count))
            name = f"{kind}, 1 text of {players} words, 4 seeds"
            _print_ratios(name, {"text": (value, players)}, 4, exact=False)


def _synthetic(given: argparse.Namespace, folder: Path) -> None:  # noqa: ARG001
    """Games of 12 players by a formula; each has a line."""
    import games

    named = {name: (games.tabled(f, 12), 12) for name, f in games.synthetic().items()}
    _print_ratios("synthetic games", named, given.seeds, each=True)


def _print_ratios(
    title: str, named: dict[str, Any], seeds: int, exact: bool = True, each: bool = False
) -> None:
    import error_at_budget
    import numpy as np

    print(f"{title}: error over Captum's at 1/3 of its 16 rows a unit, at 1/2 of its 8")
    for method, ratios in error_at_budget.all_ratios(named, seeds, exact).items():
        values = np.array(list(ratios.values()))
        means = error_at_budget.geometric_mean(values)
        share = (values <= 1).mean(0)
        print(
            f"  {method:36} {means[0]:7.3f} {means[1]:7.3f}"
            f"   worst {values[:, 0].max():.2f} {values[:, 1].max():.2f}"
            f"   at most 1 in {share[0]:.0%} {share[1]:.0%}",
            flush=True,
        )
        for game, row in ratios.items() if each else ():
            print(f"    {game:34} {row[0]:7.3f} {row[1]:7.3f}")


def _sobol(given: argparse.Namespace, folder: Path) -> None:
    """Total indices of short texts at a third of interpreto's rows."""
    import sobol_rows

    if not given.interpreto:
        print("  left out: no --interpreto")
        return
    for kind in given.kinds:
        if kind == "distilbert":
            continue
        texts = [checkpoints.text(8 + number % 5, number) for number in range(given.texts // 2)]
        _print_all(
            kind,
            sobol_rows.ratios(
                given.interpreto, folder / kind, _classifier(folder, kind), texts, given.threads
            ),
        )


def _gradients(given: argparse.Namespace, folder: Path) -> None:
    """Integrated gradients of the 32 texts."""
    import gradients

    for kind in given.kinds:
        if kind == "steep":
            continue  # as fast as small
        texts = checkpoints.texts()[:: 8 if kind == "distilbert" else 1]
        _print_all(
            f"{kind}, {len(texts)} texts, {given.steps} steps",
            gradients.figures(
                folder / kind, _classifier(folder, kind), texts, given.steps, given.tokens,
                given.interpreto, given.threads,
            ),
        )  # fmt: skip


def _start(given: argparse.Namespace, folder: Path) -> None:  # noqa: ARG001
    """CPU seconds of imports, the least of three."""
    ready = (
        "import harness.explainers.explain, harness.explainers.attributions.kernel_shap;"
        "from harness.classifiers.huggingface import HuggingFace; import torch, transformers"
    )
    asked = {
        "import harness": (sys.executable, "import harness; harness.explain"),
        "harness with torch and transformers": (sys.executable, ready),
        "import captum.attr": (sys.executable, "import captum.attr"),
    }
    if given.interpreto:
        asked["import interpreto"] = given.interpreto, "import interpreto"
    _print_all(
        "CPU seconds", {name: min(_timed(*how) for _ in range(3)) for name, how in asked.items()}
    )


def _timed(python: str, code: str) -> float:
    """CPU seconds, which a busy machine changes less than the clock's."""
    before = os.times()
    subprocess.run([python, "-c", code], check=True, capture_output=True)
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


def _memory(given: argparse.Namespace, folder: Path) -> None:
    """Peaks of processes that explain a text of 10 and one of 200 tokens by kernel SHAP."""
    import peers

    for kind in given.kinds:
        if kind == "steep":
            continue
        evaluations = 202
        tail = (str(folder / kind), str(evaluations), str(given.tokens), str(given.threads))
        peaks = {who: peers.alone("memory.py", who, *tail)["peak"] for who in ("ours", "captum")}
        if given.interpreto:
            answer = peers.interpreto(
                given.interpreto, "kernel_shap", checkpoint=str(folder / kind),
                texts=[checkpoints.texts()[0], checkpoints.texts()[-1]], threads=given.threads,
                batch=given.tokens // checkpoints.LONGEST, amount=evaluations,
            )  # fmt: skip
            peaks["interpreto"] = answer["peak"]
        lowest = min(peak for who, peak in peaks.items() if who != "ours")
        figures = {f"{who}, MiB": peak / 1024 for who, peak in peaks.items()}
        _print_all(kind, {**figures, "ours / lower peer": peaks["ours"] / lowest})


def _print_all(title: str, figures: dict[str, float]) -> None:
    print(f"  {title}")
    for name, figure in figures.items():
        print(f"    {name:36} {figure:9.3f}", flush=True)


if __name__ == "__main__":
    main()
