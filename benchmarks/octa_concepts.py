"""Do single unsupervised concepts of the built-in `octa` classifier tell lesions, patch by patch?

Spaces are fitted to activations on forests that the classifier never saw; for each lesion type one
concept (and its sign) is chosen by AUC on validation forests and measured on test forests. A patch
is a cell of the layer's grid, and has a lesion where its mask touches it. Beside each stand the
patch's brightness (the sign chosen likewise) and the best of as many random directions, chosen and
measured in the same way (mean of several draws). Bar: .8 for each of three types. Run:
`OMP_NUM_THREADS=1 python benchmarks/octa_concepts.py` (20 minutes on a busy core), figures go to
`benchmarks/results/octa_concepts.json`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.classifiers.mobilecoatnet import MobileCoAtNet
from harness.explainers.concepts.activations import Activations, collect
from harness.explainers.concepts.metrics.known import auc, best, strengths_of
from harness.explainers.concepts.spaces.fit import fit
from harness.explainers.concepts.spaces.training import Recipe
from harness.identity import sha256
from harness.octa.forest import PRESETS, Preset
from harness.octa.generator import generate_dataset
from harness.octa.pathology import LESIONS
from harness.octa.render import encode_png
from harness.records import Media, Part, Sample
from harness.results import Estimate
from harness.stats.intervals import of_statistic

BAR = 0.8
SEEDS = {"fit": 910_001, "validation": 910_002, "test": 910_003}
"""Data sets of different seeds share no forest, neither with each other nor with the training's."""

RANDOM_DRAWS = 5
RECIPE = Recipe(epochs=5, batch=1024)
SPACES: Mapping[str, Mapping[str, Any]] = {
    "neurons": {},
    "pca": {"concepts": 32},
    "svd": {"concepts": 32},
    "ica": {"concepts": 32},
    "k_means": {"concepts": 32},
    "semi_nmf": {"concepts": 12, "epochs": 10},
    "vanilla": {"concepts": 128, "recipe": RECIPE},
    "top_k": {"concepts": 128, "k": 8, "recipe": RECIPE},
    "batch_top_k": {"concepts": 128, "k": 8, "recipe": RECIPE},
    "jump_relu": {"concepts": 128, "recipe": RECIPE},
    "matching_pursuit": {"concepts": 128, "k": 8, "recipe": RECIPE},
}


@dataclass(frozen=True, eq=False)
class Drawn:
    """Images as samples, with pixels and masks; images of a forest share a cluster."""

    samples: tuple[Sample, ...]
    pixels: NDArray[np.uint8]
    masks: Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Patches:
    """Activations of the patches of several images, in order, with what is known of each."""

    rows: Activations
    known: Mapping[str, NDArray[np.bool_]]
    brightness: NDArray[np.float64]
    forests: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """One lesion type told by one concept: AUC on validation and on test forests. `others` is how
    well the same concept, with the same sign, tells the other types on test forests."""

    preset: str
    layer: str
    patch: int
    space: str
    lesion: str
    concept: str
    validation: float
    test: float
    brightness: float
    random: float
    others: Mapping[str, float]


def draw(preset: Preset, forests: int, draws: int, seed: int, size: int) -> Drawn:
    """Images of `size` pixels with their masks."""
    images = list(generate_dataset(forests, draws, seed, preset, size))
    samples = []
    for image in images:
        png = encode_png(image.image)
        medium = Media(sha256(png), "image/png", data=png)
        name = f"{image.forest}-{image.draw}"
        samples.append(Sample(name, (Part(media=medium),), cluster=image.forest))
    masks = {lesion: np.stack([image.masks[lesion] for image in images]) for lesion in LESIONS}
    return Drawn(tuple(samples), np.stack([image.image for image in images]), masks)


def patches(classifier: Any, drawn: Drawn, layer: str, folder: Path) -> Patches:
    """What the layer says of each patch, whether a lesion touches it, and how bright it is."""
    rows = collect(classifier, drawn.samples, layer, "patch", folder)
    each = len(rows) // len(drawn.samples)
    boxes = [unit.box or (0, 0, 0, 0) for _, unit in rows.units(range(each))]
    places = [(slice(t, t + h), slice(left, left + w)) for t, left, h, w in boxes]

    def by_patch(images: NDArray[Any], told: Any) -> NDArray[Any]:
        return np.array([told(image[place]) for image in images for place in places])

    return Patches(
        rows,
        {name: by_patch(masks, np.any) for name, masks in drawn.masks.items()},
        by_patch(drawn.pixels, np.mean),
        tuple(str(sample.cluster) for sample in drawn.samples for _ in places),
    )


@dataclass(frozen=True, eq=False)
class Chosen:
    """For each lesion type the place and sign of the concept that is best on validation rows, its
    AUC there, and on test rows its AUCs for all types (chosen x types)."""

    places: NDArray[np.int64]
    signs: NDArray[np.float64]
    validation: NDArray[np.float64]
    test: NDArray[np.float64]

    @property
    def own(self) -> NDArray[np.float64]:
        """Each type's AUC by its own concept."""
        return np.diagonal(self.test)


def chosen(
    validation: NDArray[Any], test: NDArray[Any], told: Patches, measured: Patches
) -> Chosen:
    """The best concepts of strengths, rows x concepts."""
    found = auc(validation, told.known)
    places, signs = best(found)
    before = found[places, np.arange(len(LESIONS))]
    after = auc(test[:, places], measured.known)
    return Chosen(
        places,
        signs,
        np.where(signs > 0, before, 1 - before),
        np.where(signs[:, None] > 0, after, 1 - after),
    )


def at_layer(
    classifier: Any, parts: Mapping[str, Drawn], preset: str, layer: str, folder: Path
) -> tuple[list[Found], dict[str, tuple[NDArray[Any], Patches]]]:
    """All spaces at one layer; and of each lesion type the strengths, on test patches, of the
    concept that is best on validation patches, with its validation AUC in front."""
    given = {
        name: patches(classifier, drawn, layer, folder / name) for name, drawn in parts.items()
    }
    fitted, told, measured = given["fit"], given["validation"], given["test"]
    grid = int(np.sqrt(len(fitted.rows) / len(parts["fit"].samples)))
    size = parts["fit"].pixels.shape[1] // grid
    bright = chosen(told.brightness[:, None], measured.brightness[:, None], told, measured).own
    by_random: dict[int, NDArray[np.float64]] = {}
    found: list[Found] = []
    tops: dict[str, tuple[float, NDArray[Any], Patches]] = {}
    for name, settings in SPACES.items():
        start = time.perf_counter()
        space = fit(name, fitted.rows, **settings)
        both = [strengths_of(space, part.rows) for part in (told, measured)]
        picked = chosen(*both, told, measured)
        count = len(space.names)
        if count not in by_random:
            drawn = [
                fit("random", fitted.rows, concepts=count, seed=seed)
                for seed in range(RANDOM_DRAWS)
            ]
            several = [[strengths_of(one, p.rows) for p in (told, measured)] for one in drawn]
            by_random[count] = np.mean(
                [chosen(*one, told, measured).own for one in several], axis=0
            )
        for place, lesion in enumerate(LESIONS):
            sign, concept = picked.signs[place], space.names[picked.places[place]]
            before = float(picked.validation[place])
            one = Found(
                preset=preset,
                layer=layer,
                patch=size,
                space=name,
                lesion=lesion,
                concept=concept if sign > 0 else f"less of {concept}",
                validation=before,
                test=float(picked.own[place]),
                brightness=float(bright[place]),
                random=float(by_random[count][place]),
                others={
                    other: float(value)
                    for other, value in zip(LESIONS, picked.test[place], strict=True)
                    if other != lesion
                },
            )
            found.append(one)
            if lesion not in tops or before > tops[lesion][0]:
                tops[lesion] = (before, sign * both[1][:, picked.places[place]], measured)
        line = "  ".join(
            f"{lesion} {value:.3f}" for lesion, value in zip(LESIONS, picked.own, strict=True)
        )
        print(f"{preset} {layer} {name}: {line}  ({time.perf_counter() - start:.0f} s)", flush=True)
    return found, tops


def with_interval(
    strength: NDArray[Any], labels: NDArray[np.bool_], forests: Sequence[str]
) -> Estimate:
    """An AUC with its bootstrap interval by forest."""
    values, level = np.unique(strength, return_inverse=True)
    order = np.argsort(level, kind="stable")
    starts = np.searchsorted(level[order], np.arange(len(values)))
    positive = labels[order]

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        sorted_ = weights[:, order]
        with_it = np.add.reduceat(sorted_ * positive, starts, axis=1)
        without = np.add.reduceat(sorted_ * ~positive, starts, axis=1)
        below = np.cumsum(without, axis=1) - without / 2
        totals = with_it.sum(axis=1) * without.sum(axis=1)
        return (with_it * below).sum(axis=1) / np.where(totals > 0, totals, np.nan)

    return of_statistic(statistic, forests, cluster_name="forest", bounds=(0.0, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=PRESETS)
    parser.add_argument("--layers", nargs="+", default=["stage1", "stage2", "stage3", "stage4"])
    parser.add_argument("--forests", type=int, default=60, help="to fit to, and to test on")
    parser.add_argument("--validation", type=int, default=40, help="forests to choose on")
    parser.add_argument("--draws", type=int, default=3, help="images a forest")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()

    classifier = MobileCoAtNet("builtin:octa")
    counts = {"fit": options.forests, "validation": options.validation, "test": options.forests}
    found: list[Found] = []
    judged: list[dict[str, Any]] = []
    for preset in options.presets:
        parts = {
            name: draw(preset, counts[name], options.draws, seed, classifier.image_size)
            for name, seed in SEEDS.items()
        }
        tops: dict[str, Any] = {}
        for layer in options.layers:
            with tempfile.TemporaryDirectory() as folder:
                new, mine = at_layer(classifier, parts, preset, layer, Path(folder))
            found += new
            for lesion, top in mine.items():
                if lesion not in tops or top[0] > tops[lesion][0]:
                    tops[lesion] = top
        for lesion, (_, strength, measured) in tops.items():
            mine_ = [one for one in found if one.preset == preset and one.lesion == lesion]
            one = max(mine_, key=lambda each: each.validation)
            interval = with_interval(strength, measured.known[lesion], measured.forests)
            met = interval.low is not None and interval.low >= BAR
            judged.append({**asdict(one), "interval": asdict(interval), "met": met})
            print(
                f"{preset} {lesion}: {one.test:.3f} [{interval.low:.3f}, {interval.high:.3f}] by "
                f"{one.concept} of {one.space} at {one.layer} ({one.patch} px); brightness "
                f"{one.brightness:.3f}; best of as many random directions {one.random:.3f}; for "
                f"others {', '.join(f'{k} {v:.3f}' for k, v in one.others.items())}; bar "
                f"{'met' if met else 'missed'}",
                flush=True,
            )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "octa_concepts.json").write_text(
        json.dumps(
            {
                "command": "python benchmarks/octa_concepts.py",
                "presets": options.presets,
                "layers": options.layers,
                "weights_sha256": classifier.revision,
                "seeds": SEEDS,
                "forests": counts,
                "draws": options.draws,
                "chosen": judged,
                "all": [asdict(one) for one in found],
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
