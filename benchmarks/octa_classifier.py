"""Makes the built-in `octa` weights of MobileCoAtNet and measures them on forests never seen.

Beside them stands logistic regression on 14 hand-made features, fitted to the same images and
measured on the same forests: what the stage gives away without looking at lesions. The scores go
into the model card and into `scores.json` beside the weights. Run:
`python benchmarks/octa_classifier.py` (4 minutes of drawing, 9 of training on a busy core),
or with `--measure` to measure the weights that are there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import harness
from harness.classifiers.mobilecoatnet import MobileCoAtNet
from harness.classifiers.mobilecoatnet.card import shown
from harness.classifiers.training import Augmentation
from harness.identity import sha256
from harness.octa.forest import PRESETS, Preset
from harness.octa.generator import generate_dataset
from harness.octa.pathology import LABELS
from harness.records import Media, Part, Sample
from harness.results import Estimate
from harness.stats import calibration, paired

WEIGHTS = Path(harness.__file__).parent / "assets" / "octa" / "mobilecoatnet.safetensors"
TRAINING_SEED, UNSEEN_SEED = 700_001, 900_001
"""Data sets of different seeds share no forest. Large, so that nobody's own data set has them: a
suite that drew from the training seed would be classified by what was learned by heart."""

AUGMENTATION: tuple[Augmentation, ...] = ("flip", "turn", "brightness", "noise")
"""A stage is what it is however the picture lies, so flips and turns keep it true."""

HEADING = "## Forests never seen"


@dataclass(frozen=True, eq=False)
class Drawn:
    """Images with labels, forests and the 14 features of each, (n, 14)."""

    samples: tuple[Sample, ...]
    features: NDArray[np.float64]

    @property
    def labels(self) -> list[str]:
        return [str(sample.label) for sample in self.samples]

    @property
    def forests(self) -> list[str]:
        return [str(sample.cluster) for sample in self.samples]


@dataclass(frozen=True)
class Scores:
    """Balanced accuracies on the same images, and their difference; classes are balanced."""

    images: int
    forests: int
    mobilecoatnet: Estimate
    logistic_regression: Estimate
    difference: Estimate
    recalls: tuple[float, ...]


def features(image: NDArray[np.uint8]) -> list[float]:
    """14 numbers of an image at 304 x 304: brightness, its spread, and how much is dark."""
    from scipy.ndimage import gaussian_filter

    values = image / 255.0
    smooth, fine = gaussian_filter(values, 6.0), gaussian_filter(values, 2.0)
    median = np.median(smooth)
    return [
        *np.quantile(smooth, [0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.95]).tolist(),
        float((smooth < 0.5 * median).mean()),
        float((smooth < 0.7 * median).mean()),
        *np.quantile(fine, [0.95, 0.99, 0.999]).tolist(),
        float(values.mean()),
        float(values.std()),
    ]


def draw(presets: Sequence[Preset], forests: int, draws: int, seed: int) -> Drawn:
    """`draws` images on each of `forests` forests of each preset, the stages balanced."""
    samples, rows = [], []
    for sample, image in _images(presets, forests, draws, seed):
        samples.append(sample)
        rows.append(features(image))
    return Drawn(tuple(samples), np.array(rows))


def _images(
    presets: Sequence[Preset], forests: int, draws: int, seed: int
) -> Iterator[tuple[Sample, NDArray[np.uint8]]]:
    for preset in presets:
        for drawn in generate_dataset(forests, draws, seed, preset):
            png = drawn.png()
            media = Media(sha256(png), "image/png", data=png)
            sample = Sample(
                f"{drawn.forest}-{drawn.draw}",
                (Part(media=media),),
                label=drawn.label,
                cluster=drawn.forest,
            )
            yield sample, drawn.image


def logistic_regression(training: Drawn) -> Any:
    """The baseline, fitted: standardised features, hardly regularised (14 of them, so no need)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=100.0, max_iter=5000))
    return model.fit(training.features, training.labels)


def measure(classifier: MobileCoAtNet, baseline: Any, unseen: Drawn) -> Scores:
    """Both on the same images, paired, with intervals by forest."""
    labels, forests = unseen.labels, unseen.forests
    told = [str(prediction.label) for prediction in classifier.predict(unseen.samples)]
    floor = [str(label) for label in baseline.predict(unseen.features)]
    right, floor_right = (np.equal(said, labels).astype(float) for said in (told, floor))
    return Scores(
        images=len(labels),
        forests=len(set(forests)),
        mobilecoatnet=calibration.balanced_accuracy(labels, told, LABELS, forests),
        logistic_regression=calibration.balanced_accuracy(labels, floor, LABELS, forests),
        difference=paired.difference(
            right, floor_right, forests, cluster_name="forest", bounds=(0.0, 1.0)
        ),
        recalls=tuple(float(right[np.equal(labels, label)].mean()) for label in LABELS),
    )


def report(scores: dict[str, Scores], training: Drawn) -> str:
    """The scores as the last part of a model card."""
    lines = [
        f"{HEADING}\n",
        f"Trained on {len(training.samples):,} images of {len(set(training.forests))} vessel "
        f"forests that the generator of the source `octa` draws from seed {TRAINING_SEED}, in "
        f"equal parts with the presets {' and '.join(PRESETS)}; measured on forests of seed "
        f"{UNSEEN_SEED}.\n",
        "Balanced accuracy [95 % interval by forest], and the paired difference. The baseline is "
        "logistic regression on 14 hand-made features, fitted to the same images.\n",
    ]
    for name, found in scores.items():
        recalls = ", ".join(f"{k} {v:.3f}" for k, v in zip(LABELS, found.recalls, strict=True))
        lines.append(
            f"- {name} ({found.images} images, {found.forests} forests): "
            f"{shown(found.mobilecoatnet)}; baseline {shown(found.logistic_regression)}; "
            f"difference {shown(found.difference)}; recall {recalls}"
        )
    lines.append("\nMade and measured by `python benchmarks/octa_classifier.py`.")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--measure", action="store_true", help="train nothing")
    parser.add_argument("--forests", type=int, default=200, help="of each preset, to train on")
    parser.add_argument("--draws", type=int, default=6, help="images a forest, to train on")
    parser.add_argument("--unseen", type=int, default=90, help="forests of each preset, to measure")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    training = draw(PRESETS, options.forests, options.draws, TRAINING_SEED)
    if not options.measure:
        said = MobileCoAtNet.train(
            training.samples,
            weights=str(options.weights),
            seed=options.seed,
            epochs=options.epochs,
            validation=0.1,
            augmentation=AUGMENTATION,
        )
        print(said)
    classifier, baseline = MobileCoAtNet(str(options.weights)), logistic_regression(training)
    scores = {
        f"preset {preset}": measure(
            classifier, baseline, draw([preset], options.unseen, len(LABELS), UNSEEN_SEED)
        )
        for preset in PRESETS
    }
    text = report(scores, training)
    card = options.weights.with_suffix(".md")
    made = card.read_text(encoding="utf-8").split(HEADING)[0]
    card.write_text(f"{made.rstrip()}\n\n{text}", encoding="utf-8")
    options.weights.with_name("scores.json").write_text(
        json.dumps(
            {
                "weights_sha256": classifier.revision,
                "command": "python benchmarks/octa_classifier.py",
                "seeds": {"training": TRAINING_SEED, "unseen": UNSEEN_SEED},
                "scores": {name: asdict(found) for name, found in scores.items()},
            },
            indent=2,
        )
        + "\n"
    )
    print(text)


if __name__ == "__main__":
    main()
