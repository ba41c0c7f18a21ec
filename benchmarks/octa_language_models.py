"""How well the built-in language models read unseen images, against the bars set for them.

Each model is asked greedily about images of forests that no training has seen. Exact sector F1
stands beside its floors: the truth of other images of the stage, the model's own text moved to
such images, and the constant that names all eight sectors. Intervals are by forest.
Run: `python benchmarks/octa_language_models.py` (a few minutes; more models: `--models FOLDER`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from harness import suite
from harness.backends.transformers import Transformers
from harness.language_models.evaluation import (
    ARMS,
    UNSEEN_SEED,
    Answer,
    ask,
    estimate,
    floor_among,
    shown,
    table,
    unseen_samples,
)
from harness.octa.pathology import LESIONS

BARS = {"dropout": 0.70, "microaneurysm": 0.70, "neovascularisation": 0.62}
ABOVE_ALL_EIGHT = 0.15
MOVED_WITHIN = 0.05
BUILT_IN = ("builtin:octa-text", "builtin:octa-vlm-half", "builtin:octa-vlm")


def bars(answers: Sequence[Answer]) -> list[str]:
    """One line a lesion: what was reached, what was asked for."""
    lines = []
    for lesion, bar in BARS.items():
        f1 = f"{lesion}_sector_f1"
        reached = estimate(answers, f1)
        above = estimate(answers, f1, less=f"{f1}_all_eight")
        moved, floor = estimate(answers, f"{f1}_moved"), floor_among(answers, lesion)
        assert reached.value is not None
        assert above.value is not None
        assert moved.value is not None
        assert floor.value is not None
        lines.append(
            f"  {lesion}: F1 {shown(reached)}, bar {bar:.2f} {_met(reached.value >= bar)}; "
            f"above all eight {shown(above)}, bar {ABOVE_ALL_EIGHT:.2f} "
            f"{_met(above.value >= ABOVE_ALL_EIGHT)}; moved {moved.value:.3f} against floor "
            f"{floor.value:.3f} {_met(moved.value <= floor.value + MOVED_WITHIN)}"
        )
    return lines


def _met(reached: bool) -> str:
    return "met" if reached else "MISSED"


def main() -> None:
    """Asks, scores and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=BUILT_IN, help="builtin:NAME or a folder")
    parser.add_argument("--forests", type=int, default=100)
    parser.add_argument("--each", type=int, default=6, help="images on each forest")
    parser.add_argument("--seed", type=int, default=UNSEEN_SEED, help="of the unseen images")
    parser.add_argument("--variants", nargs="+", default=["base"])
    options = parser.parse_args()
    family = next(s.family for s in suite.load("octa").families if s.family.name == "octa")
    samples = unseen_samples(options.forests, options.each, options.seed)
    print(f"{len(samples)} images of {options.forests} unseen forests, seed {options.seed}")
    for model in options.models:
        backend = Transformers(model)
        for variant in options.variants:
            for arm in ARMS:
                answers = ask(backend, family, samples, arm, variant)
                print(f"\n{model}, variant {variant}, told: {arm}")
                for name, value in table(answers):
                    print(f"  {name:62} {shown(value)}")
                if any(answer.scores["sector_f1"] for answer in answers):
                    print("\n".join(bars(answers)))


if __name__ == "__main__":
    assert set(BARS) == set(LESIONS)
    main()
