"""Runs Quantus on arrays from a folder, and writes what it says there; see `against_quantus.py`.

It runs in Quantus's own environment (`python quantus_side.py FOLDER`): `given.npz` in,
`said.npz` out, `failed.json` for calls that raised. Nothing of the harness is imported. Quantus is
called through its public interface; where a metric draws by itself, it is given the draws through
`perturb_func` and `explain_func`, or the draws are written down.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import quantus
from small_cnn import SmallCNN, gradients

PLAIN = {"abs": False, "normalise": False, "disable_warnings": True, "display_progressbar": False}
SIGNED = {"saliency": False, "input_x_gradient": True}  # methods: whether times the input


class Side:
    """What was given, and what is said."""

    def __init__(self, folder: Path) -> None:
        self.given = dict(np.load(folder / "given.npz", allow_pickle=False))
        self.network = SmallCNN().load(self.weights("weights/"))
        self.x, self.y = self.given["images"], self.given["targets"]
        self.baseline = float(self.given["baseline"])
        self.said: dict[str, Any] = {}
        self.failed: dict[str, str] = {}

    def weights(self, prefix: str) -> dict[str, Any]:
        """Arrays whose names begin so, by the rest of their names."""
        mine = {name: array for name, array in self.given.items() if name.startswith(prefix)}
        return {name[len(prefix) :]: array for name, array in mine.items()}

    def attributions(self) -> Mapping[str, Any]:
        """Values of the shape of the images, by method."""
        return self.weights("values/")

    def call(self, name: str, metric: Any, a: Any = None, **more: Any) -> Any:
        """Writes down what a metric says; of one that raises, what."""
        given = None if a is None else np.array(a)  # a copy: some metrics write into it
        options = {"channel_first": True, "softmax": False, "device": "cpu", "s_batch": None} | more
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = metric(
                    model=self.network, x_batch=self.x.copy(), y_batch=self.y.copy(),
                    a_batch=given, **options,
                )  # fmt: skip
        except Exception as error:
            self.failed[name] = f"{type(error).__name__}: {error}"
            return None
        self.said[name] = np.asarray(found, dtype=np.float64)
        return self.said[name]


def looks(side: Side) -> None:
    """Metrics of the values alone, and of values against evidence."""
    masks = side.given["evidence"][:, None]
    signed = {
        "pointing_game": quantus.PointingGame,
        "relevance_mass": quantus.RelevanceMassAccuracy,
        "relevance_rank": quantus.RelevanceRankAccuracy,
        "auc": quantus.AUC,
    }
    for method, values in side.attributions().items():
        sizes = PLAIN | {"abs": True}
        # The values are brought to a scale on which the 1e-7 that is added to each is nothing.
        large = values / np.abs(values).max() * 1e9
        side.call(f"sparseness/{method}", quantus.Sparseness(**sizes), large)
        side.call(f"sparseness as it comes/{method}", quantus.Sparseness(), values)
        side.call(f"complexity/{method}", quantus.Complexity(**sizes), values)
        normalised = sizes | {"normalise": True}
        side.call(
            f"effective_complexity/{method}", quantus.EffectiveComplexity(**normalised), values
        )
        positive = np.clip(values, 0, None)
        for name, metric in signed.items():
            mine = positive if name == "relevance_mass" else values
            side.call(f"{name}/{method}", metric(**PLAIN), mine, s_batch=masks)
        side.call(
            f"relevance_mass as it comes/{method}", quantus.RelevanceMassAccuracy(),
            values, s_batch=masks,
        )  # fmt: skip
        inside = PLAIN | {"normalise": True, "positive_attributions": True}
        side.call(
            f"attribution_localisation/{method}", quantus.AttributionLocalisation(**inside),
            values, s_batch=masks,
        )  # fmt: skip
    planted = side.given["planted"]
    side.call(
        "effective_complexity/planted",
        quantus.EffectiveComplexity(**(PLAIN | {"abs": True, "normalise": True})), planted,
    )  # fmt: skip


def removals(side: Side) -> None:
    """Metrics that ask the network about images with pixels removed."""
    removed = PLAIN | {"perturb_baseline": side.baseline}
    aside = side.given
    for method, values in side.attributions().items():
        indices: list[Any] = []
        noted = _noting(indices, side.baseline)
        np.random.seed(0)
        side.call(
            f"faithfulness_correlation/{method}",
            quantus.FaithfulnessCorrelation(
                nr_runs=int(aside["draws"]), subset_size=int(aside["subset"]), perturb_func=noted,
                return_aggregate=False, **PLAIN,
            ),
            values,
        )  # fmt: skip
        side.said[f"faithfulness_correlation sets/{method}"] = np.array(indices)
        step = int(aside["step"])
        flipping = quantus.PixelFlipping(features_in_step=step, **removed)
        side.call(f"pixel_flipping/{method}", flipping, values)
        side.call(
            f"pixel_flipping area/{method}",
            quantus.PixelFlipping(features_in_step=step, return_auc_per_sample=True, **removed),
            values,
        )  # fmt: skip
        side.call(
            f"region_perturbation/{method}",
            quantus.RegionPerturbation(patch_size=int(aside["patch"]), **removed), values,
        )  # fmt: skip
        few = {"features_in_step": int(aside["few"])}
        sizes = np.abs(values)
        side.call(
            f"monotonicity as it comes/{method}", quantus.Monotonicity(**few, **removed), sizes
        )
        side.call(
            f"monotonicity/{method}",
            quantus.Monotonicity(perturb_func=_restoring(side.x), **few, **removed), sizes,
        )  # fmt: skip
        # Values are per unit of the removed amount here: it multiplies them by that.
        per_amount = values / (side.x - side.baseline)
        sets = aside["infidelity_sets"]  # images x draws x pixels, true where removed
        side.call(
            f"infidelity/{method}",
            quantus.Infidelity(
                perturb_patch_sizes=[side.x.shape[-1]], n_perturb_samples=sets.shape[1],
                perturb_func=_removing(side.x, sets, side.baseline), **PLAIN,
            ),
            per_amount,
        )  # fmt: skip
        rises: list[Any] = []
        side.call(
            f"completeness/{method}",
            quantus.Completeness(output_func=_remembering(rises), **removed), values,
        )  # fmt: skip
        side.said[f"completeness rise/{method}"] = np.concatenate(rises)


def repeats(side: Side) -> None:
    """Metrics for which a method explains again."""
    noises = side.given["noises"]  # neighbours x images x ...
    for method, times_input in SIGNED.items():
        explain = _explaining(times_input)
        values = gradients(side.network, side.x, side.y, times_input)
        side.said[f"gradients/{method}"] = values
        for name, metric in (
            ("max_sensitivity", quantus.MaxSensitivity),
            ("local_lipschitz", quantus.LocalLipschitzEstimate),
        ):
            chosen = metric(nr_samples=len(noises), perturb_func=_adding(noises), **PLAIN)
            side.call(f"{name}/{method}", chosen, values, explain_func=explain)
        others = side.given["other_targets"]
        similar = quantus.similarity_func.correlation_spearman
        side.call(
            f"random_logit/{method}",
            quantus.RandomLogit(similarity_func=similar, num_classes=3, **PLAIN), values,
            explain_func=_explaining(times_input, others),
        )  # fmt: skip
        side.call(
            f"random_logit as it comes/{method}", quantus.RandomLogit(num_classes=3), values,
            explain_func=_explaining(times_input, others),
        )  # fmt: skip
        side.network.others = side.weights("randomised/")
        side.call(
            f"mprt/{method}",
            quantus.MPRT(
                similarity_func=similar, skip_layers=True, return_last_correlation=True, **PLAIN
            ),
            values,
            explain_func=explain,
        )  # fmt: skip
        side.network.others = None
        for name, shift in (("input_invariance as it comes", None), ("input_invariance", _shift)):
            again: list[Any] = []
            chosen = quantus.InputInvariance(input_shift=-1, perturb_func=shift, **PLAIN)
            side.call(
                f"{name}/{method}", chosen, values,
                explain_func=_explaining(times_input, kept=again),
            )  # fmt: skip
            if again:
                side.said[f"{name} values/{method}"] = again[-1]


# --- what Quantus is given in the place of its own draws --------------------------------------


def _noting(indices: list[Any], baseline: float) -> Callable[..., Any]:
    """Removes what it is told, and remembers it."""

    def perturb(arr: Any, indices: Any, **_: Any) -> Any:
        noted.append(indices.copy())
        found = arr.copy()
        np.put_along_axis(found, indices, baseline, axis=1)
        return found

    noted = indices
    return perturb


def _restoring(images: Any) -> Callable[..., Any]:
    """Puts pixels of the images back."""
    flat = images.reshape(len(images), -1)

    def perturb(arr: Any, indices: Any, **_: Any) -> Any:
        found = arr.copy()
        np.put_along_axis(found, indices, np.take_along_axis(flat, indices, axis=1), axis=1)
        return found

    return perturb


def _removing(images: Any, sets: Any, baseline: float) -> Callable[..., Any]:
    """The images without the next set, whatever it is told."""
    flat, numbers = images.reshape(len(images), -1), iter(range(sets.shape[1]))

    def perturb(**_: Any) -> Any:
        return np.where(sets[:, next(numbers)], np.float32(baseline), flat)

    return perturb


def _adding(noises: Any) -> Callable[..., Any]:
    """The images with the next noise."""
    several = iter(noises)

    def perturb(arr: Any, **_: Any) -> Any:
        return arr + next(several).reshape(arr.shape)

    return perturb


def _shift(arr: Any, input_shift: float, **_: Any) -> Any:
    """Every pixel shifted."""
    return arr + np.float32(input_shift)


def _remembering(rises: list[Any]) -> Callable[..., Any]:
    def output(rise: Any) -> Any:
        rises.append(rise)
        return rise

    return output


def _explaining(times_input: bool, others: Any = None, kept: Any = None) -> Callable[..., Any]:
    """A method as Quantus calls it: of the targets it names, or of `others`."""

    def explain(model: Any, inputs: Any, targets: Any, **_: Any) -> Any:
        found = gradients(model, inputs, targets if others is None else others, times_input)
        if kept is not None:
            kept.append(found)
        return found

    return explain


if __name__ == "__main__":
    place = Path(sys.argv[1])
    one = Side(place)
    for part in (looks, removals, repeats):
        part(one)
    np.savez(place / "said.npz", **one.said)
    (place / "failed.json").write_text(json.dumps(one.failed))
