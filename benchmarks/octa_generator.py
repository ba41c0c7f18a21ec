"""How fast OCTA images are made, and what a text earns on them without looking.

Run with one thread: `OMP_NUM_THREADS=1 python benchmarks/octa_generator.py`. Speed is CPU time of
one process; floors are exact sector F1 on images of forests of their own.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time

from harness.octa.forest import PRESETS, Preset, grow
from harness.octa.generator import balanced_label, draw_instances, forest_seed, generate
from harness.octa.geometry import SECTORS
from harness.octa.pathology import LABELS, LESIONS
from harness.octa.record import Findings, findings_of
from harness.scorers.findings import sector_f1

PROTOTYPE = {
    "another image of the class": (0.28, 0.35, 0.27),
    "all eight sectors": (0.44, 0.53, 0.43),
}
"""Of a prototype whose lesions followed the stage; dropout, microaneurysm, neovascularisation."""


def cpu_seconds(seed: int, preset: Preset, draw: int) -> float:
    """CPU time of one image with its masks; stages alternate."""
    start = time.process_time()
    generate(seed, preset, LABELS[draw % len(LABELS)], draw)
    return time.process_time() - start


def speed(preset: Preset, forests: int, draws: int) -> None:
    """Print nodes, seconds of a first image, and seconds of a further draw."""
    generate(0, preset)  # imports
    nodes, first, further = [], [], []
    for index in range(forests):
        seed = forest_seed(99, index)
        first.append(cpu_seconds(seed, preset, 0))
        further += [cpu_seconds(seed, preset, draw) for draw in range(1, draws + 1)]
        nodes.append(len(grow(seed, preset).parent))
    print(
        f"{preset:5} {min(nodes)}-{max(nodes)} nodes"
        f"  first image {statistics.median(first):.3f} s (max {max(first):.3f})"
        f"  further draw {statistics.median(further):.3f} s (max {max(further):.3f})"
        f"  i.e. {1 / statistics.median(further):.0f} draws a second on one forest"
    )


def floors(preset: Preset, forests: int) -> None:
    """Print the exact sector F1 of both floors for each lesion type, beside the prototype's."""
    by_label: dict[str, list[Findings]] = {label: [] for label in LABELS}
    for index in range(forests):
        label = balanced_label(index, 0)
        instances = draw_instances(forest_seed(98, index), preset, label, 0)
        by_label[label].append(findings_of(instances))
    found: dict[str, list[float]] = {"another image of the class": [], "all eight sectors": []}
    for lesion in LESIONS:
        moved, eight = [], []
        for same_class in by_label.values():
            for truth, other in itertools.permutations(same_class, 2):
                if truth.of(lesion).present:
                    moved.append(sector_f1(other.of(lesion).sectors, truth.of(lesion).sectors))
            eight += [
                sector_f1(SECTORS, truth.of(lesion).sectors)
                for truth in same_class
                if truth.of(lesion).present
            ]
        found["another image of the class"].append(statistics.mean(moved))
        found["all eight sectors"].append(statistics.mean(eight))
    print(f"floors, {preset}, {forests} forests: " + ", ".join(LESIONS))
    for name, values in found.items():
        here = " ".join(f"{value:.2f}" for value in values)
        there = " ".join(f"{value:.2f}" for value in PROTOTYPE[name])
        print(f"  {name:27} {here}   (prototype {there})")


def main() -> None:
    """Speed of both presets, then the floors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forests", type=int, default=10)
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--floor-forests", type=int, default=300)
    arguments = parser.parse_args()
    for preset in PRESETS:
        speed(preset, arguments.forests, arguments.draws)
    for preset in PRESETS:
        floors(preset, arguments.floor_forests)


if __name__ == "__main__":
    main()
