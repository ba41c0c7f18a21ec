"""Are our metrics of attributions those of Quantus, on the same images, values and draws?

    python -m venv quantus && quantus/bin/pip install quantus torch
    OMP_NUM_THREADS=1 python benchmarks/explain/against_quantus.py --quantus quantus/bin/python

OCTA images of 28 x 28 pixels with their lesions as evidence, a small network with random weights
(`small_cnn.py`), values by saliency, integrated gradients and at random. Quantus runs in a process
of its own environment (`quantus_side.py`); where a metric draws, both sides see the same draws.
The table says for each metric both means, the largest difference, and that over the largest value.
Exit code 1 where metrics that should be equal are more than 1e-6 apart.

Where definitions differ, and what the cited paper says (Quantus 0.6.0, read in its source):

- Sparseness: it adds 1e-7 to every value, so at its own scale (the largest value 1) an index is
  off by about 1e-7 times the number of pixels over their sum. Hurley and Rickard 2009 add nothing.
- EffectiveComplexity counts the values above 1e-5 of the largest. Our `effective_size` is Hill's
  number of order 2, which needs no threshold; both are k where k values are equal and the rest 0,
  and Hill's is never the larger. Nguyen and Martinez 2020 define neither: theirs is the fewest
  features for which the expected loss stays within a tolerance.
- RelevanceMassAccuracy sums signed values, so it leaves [0, 1] for signed attributions. Arras et
  al. 2022 pool relevance to positive values first; ours takes the positive part.
- AUC is that of the ROC curve, our `auprc` average precision (DeYoung et al. 2020): other numbers.
- PixelFlipping leaves out the unperturbed image, and its area is over steps of 1 and outputs as
  they are; ours starts from it, over shares of the units, between empty and full. The curves are
  the same, and ours with the first point is that of Petsiuk et al. 2018 and Samek et al. 2017. Its
  area needs `numpy.trapz`, which NumPy 2.4 no longer has: it raises, and is listed below the table.
- Monotonicity as it comes never puts a feature back: it replaces baseline values by the baseline,
  so every output is the same and every attribution monotonic. Arya et al. 2019 add each feature in
  turn. With a `perturb_func` that does so it leaves out the step from the empty input to the first
  features, which the definition counts ("as each feature is added") and ours too.
- Infidelity multiplies values by the amount a pixel changes, as Yeh et al. 2019 define it; ours are
  values of whole units, whose perturbation is to be there or not. Given values per amount it is the
  same. As it comes it removes block after block without putting back, so its "samples" are equal.
- MaxSensitivity: both over the length of the values (the definition is not; Captum's is).
- LocalLipschitz: theirs is Alvarez-Melis and Jaakkola's ratio of lengths; ours takes both relative
  to the sample's own, as Agarwal et al. 2022 do: ours times |values| / |image| is theirs.
- RandomLogit compares by SSIM of flattened values as it comes (as Sixt et al. 2020 do of images);
  ours by Spearman's correlation, which it has too. MPRT: both Spearman; it draws weights anew by
  their initialisation, ours puts each weight's entries in another order. It is given ours here.
- Completeness is true or false by equality of floats, of values it first divides by their largest:
  false for methods that are complete to 1e-9. Ours is how far they miss it, relative to the rise.
- InputInvariance as it comes leaves the first pixel unshifted (`perturb_batch` drops an index)
  while the network takes the shift away from all of them, so that invariant methods fail. Given a
  shift of all pixels it agrees. It says true or false at 1e-4; ours is a relative change.
- SensitivityN there correlates over images the values of each step of a deletion curve with the
  output's fall; Ancona et al. 2018 correlate over random sets of n features of one image, as ours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measured_images import (
    DRAWS,
    FEW,
    NEIGHBOURS,
    PATCH,
    RADIUS,
    STEP,
    GivenSensitivityN,
    Ours,
    RecordedInfidelity,
    given_to_quantus,
    planted,
)
from numpy.typing import NDArray
from small_cnn import SIDE, gradients

from harness.explainers.units.images import Patch

TOLERANCE = 1e-6
SIGNED = {"saliency": False, "input_x_gradient": True}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One comparison; `same` says whether both should be equal."""

    ours: str
    theirs: str
    a: Floats
    b: Floats
    same: bool

    @property
    def difference(self) -> float:
        return float(np.abs(self.a - self.b).max())

    @property
    def relative(self) -> float:
        """Over the largest value: of a metric that is 0 for a perfect method, no other will do."""
        largest = float(max(np.abs(self.a).max(), np.abs(self.b).max()))
        return self.difference / largest if largest else 0.0

    @property
    def failed(self) -> bool:
        return self.same and not self.relative <= TOLERANCE

    def __str__(self) -> str:
        verdict = ("DIFFERS" if self.failed else "equal") if self.same else "other"
        return (
            f"{self.ours:34} {self.theirs:44} {self.a.size:6} {self.a.mean():11.5f} "
            f"{self.b.mean():11.5f} {self.difference:9.1e} {self.relative:9.1e}  {verdict}"
        )


# --- running Quantus -------------------------------------------------------------------------


def run_quantus(python: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """What Quantus says, and what it failed at."""
    side = Path(__file__).with_name("quantus_side.py")
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "given.npz", **given)
        subprocess.run([python, str(side), folder], check=True, stdout=subprocess.DEVNULL)
        with np.load(Path(folder) / "said.npz", allow_pickle=False) as file:
            said = dict(file)
        return said, json.loads((Path(folder) / "failed.json").read_text())


# --- lines of the table -----------------------------------------------------------------------


def _numbers(several: Sequence[Any]) -> Floats:
    return np.array([np.nan if one.value is None else one.value for one in several])


def looking(ours: Ours, said: Mapping[str, Any]) -> Iterator[Line]:
    """Metrics of the values alone, and of values against evidence."""
    names = (
        "sparseness", "entropy", "effective_size", "pointing_game", "relevance_mass",
        "relevance_rank", "auprc",
    )  # fmt: skip
    found = ours.measured({name: name for name in names}, ours.values)
    pairs = (
        ("sparseness", "sparseness", "Sparseness", True),
        ("sparseness", "sparseness as it comes", "Sparseness as it comes", False),
        ("entropy", "complexity", "Complexity", True),
        ("effective_size", "effective_complexity", "EffectiveComplexity", False),
        ("pointing_game", "pointing_game", "PointingGame", True),
        ("relevance_mass", "relevance_mass", "RelevanceMassAccuracy, positive part", True),
        (
            "relevance_mass",
            "relevance_mass as it comes",
            "RelevanceMassAccuracy as it comes",
            False,
        ),
        ("relevance_mass", "attribution_localisation", "AttributionLocalisation, positive", True),
        ("relevance_rank", "relevance_rank", "RelevanceRankAccuracy", True),
        ("auprc", "auc", "AUC (of ROC)", False),
    )
    for name, key, theirs, same in pairs:
        a = np.concatenate([_numbers(found[name][m]) for m in ours.values])
        b = np.concatenate([said[f"{key}/{m}"].reshape(-1) for m in ours.values])
        yield Line(name, theirs, a, b, same)
    values = planted(tuple(ours.x.shape)).reshape(len(ours.x), -1)
    sizes = ours.measured({"effective_size": "effective_size"}, {"planted": values})
    yield Line(
        "effective_size, planted", "EffectiveComplexity, planted",
        _numbers(sizes["effective_size"]["planted"]), said["effective_complexity/planted"], True,
    )  # fmt: skip


def removing(ours: Ours, said: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[Line]:
    """Metrics that ask the network about images with pixels removed; `asked` are ours."""
    methods = list(ours.values)
    seeds = list(asked["infidelity"].sets)
    correlations = []
    for method in methods:
        indices = said[f"faithfulness_correlation sets/{method}"]  # draws x images x subset
        sets = np.zeros((len(seeds), DRAWS, ours.x[0].numel()), dtype=bool)
        np.put_along_axis(sets, indices.transpose(1, 0, 2).astype(int), True, axis=2)
        metric = GivenSensitivityN(dict(zip(seeds, sets, strict=True)))
        found = ours.measured({"sensitivity_n": metric}, {method: ours.values[method]})
        correlations.append(_numbers(found["sensitivity_n"][method]))
    yield _line(
        "sensitivity_n, one n", "FaithfulnessCorrelation", correlations, said,
        "faithfulness_correlation", methods,
    )  # fmt: skip
    found = asked["found"]
    yield _line(
        "infidelity, unscaled", "Infidelity, values per amount",
        [_numbers(found["infidelity"][m]) for m in methods], said, "infidelity", methods,
    )  # fmt: skip
    curves = [[one.detail["values"] for one in found["deletion"][m]] for m in methods]
    yield _line(
        "deletion, curve", "PixelFlipping, curve", [np.array(c)[:, 1:] for c in curves], said,
        "pixel_flipping", methods,
    )  # fmt: skip
    if f"pixel_flipping area/{methods[0]}" in said:
        yield _line(
            "deletion", "PixelFlipping, area", [_numbers(found["deletion"][m]) for m in methods],
            said, "pixel_flipping area", methods, same=False,
        )  # fmt: skip
    yield from _patches(ours, said)
    yield from _monotonic(ours, said)
    rises = np.concatenate([said[f"completeness rise/{m}"] for m in methods])
    theirs = np.concatenate([ours.values[m].sum(axis=1) for m in methods])
    gap = np.array([one.detail["values"][0] - one.detail["values"][-1]
                    for one in found["deletion"][methods[0]]])  # fmt: skip
    missed = np.abs(theirs - rises) / np.abs(np.tile(gap, len(methods)))
    completeness = np.concatenate([_numbers(found["completeness"][m]) for m in methods])
    yield Line("completeness", "Completeness, how far it misses", completeness, missed, True)
    yield Line(
        "completeness below 1 %", "Completeness (true or false)", (completeness < 0.01) * 1.0,
        np.concatenate([said[f"completeness/{m}"] for m in methods]), False,
    )  # fmt: skip


def _patches(ours: Ours, said: Mapping[str, Any]) -> Iterator[Line]:
    count = SIDE // PATCH
    sums = {
        method: values.reshape(-1, count, PATCH, count, PATCH)
        .sum(axis=(2, 4))
        .reshape(-1, count**2)
        for method, values in ours.values.items()
    }
    shares = [(size + 1) / count**2 for size in range(count**2)]
    found = ours.measured(
        {"deletion": "deletion", "comprehensiveness": "comprehensiveness"}, sums,
        unit={"patch": Patch(PATCH)},
        metric_settings={"comprehensiveness": {"shares": shares, "scale": "none"}},
    )  # fmt: skip
    falls = [
        np.array([np.subtract(one.detail["values"][0], one.detail["values"][1:]) for one in mine])
        for mine in (found["deletion"][m] for m in sums)
    ]
    yield _line(
        "deletion, falls by patch", "RegionPerturbation", falls, said, "region_perturbation", sums
    )
    means = [_numbers(found["comprehensiveness"][m]) for m in sums]
    yield Line(
        "comprehensiveness, all sizes", "RegionPerturbation, mean", np.concatenate(means),
        np.concatenate([said[f"region_perturbation/{m}"].mean(axis=1) for m in sums]), True,
    )  # fmt: skip


def _monotonic(ours: Ours, said: Mapping[str, Any]) -> Iterator[Line]:
    """Ours counts the step from the empty input too, which is taken from an insertion curve of the
    smallest values first (their negatives, largest first)."""
    sizes = {method: np.abs(values) for method, values in ours.values.items()}
    steps = ours.x[0].numel() // FEW
    settings = {"steps": steps}
    found = ours.measured(
        {"monotonicity": "monotonicity"}, sizes, metric_settings={"monotonicity": settings}
    )
    upwards = ours.measured(
        {"insertion": "insertion"}, {m: -s for m, s in sizes.items()},
        metric_settings={"insertion": settings},
    )  # fmt: skip
    every = [
        np.array([float(one.detail["all_steps"]) for one in found["monotonicity"][m]])
        for m in sizes
    ]
    first = [
        np.array([float(np.diff(one.detail["values"])[0] >= 0) for one in upwards["insertion"][m]])
        for m in sizes
    ]
    theirs = [said[f"monotonicity/{m}"] for m in sizes]
    yield Line(
        "monotonicity, all_steps", "Monotonicity, mended, and the first step",
        np.concatenate(every), np.concatenate(theirs) * np.concatenate(first), True,
    )  # fmt: skip
    yield Line(
        "monotonicity, all_steps", "Monotonicity, mended", np.concatenate(every),
        np.concatenate(theirs), False,
    )  # fmt: skip
    yield _line(
        "monotonicity, all_steps", "Monotonicity as it comes", every, said,
        "monotonicity as it comes", sizes, same=False,
    )  # fmt: skip


def repeating(ours: Ours, said: Mapping[str, Any]) -> Iterator[Line]:
    """Metrics for which a method explains again."""
    noisy = {"radius": RADIUS, "copies": NEIGHBOURS}
    names = (
        "max_sensitivity", "local_lipschitz", "random_logit", "parameter_randomisation",
        "input_invariance",
    )  # fmt: skip
    found = ours.measured(
        {name: name for name in names}, method=list(SIGNED),
        metric_settings={
            "max_sensitivity": noisy, "local_lipschitz": noisy, "input_invariance": {"shift": -1}
        },
    )  # fmt: skip
    values = {name: [_numbers(found[name][m]) for m in SIGNED] for name in names}
    yield _line(
        "max_sensitivity", "MaxSensitivity", values["max_sensitivity"], said, "max_sensitivity",
        SIGNED,
    )  # fmt: skip
    images = np.linalg.norm(ours.x.numpy().astype(np.float64).reshape(len(ours.x), -1), axis=1)
    lengths = [
        np.linalg.norm(said[f"gradients/{m}"].reshape(len(images), -1), axis=1) for m in SIGNED
    ]
    absolute = [v * n / images for v, n in zip(values["local_lipschitz"], lengths, strict=True)]
    yield _line(
        "local_lipschitz x |values|/|image|", "LocalLipschitzEstimate", absolute, said,
        "local_lipschitz", SIGNED,
    )  # fmt: skip
    yield _line(
        "local_lipschitz", "LocalLipschitzEstimate", values["local_lipschitz"], said,
        "local_lipschitz", SIGNED, same=False,
    )  # fmt: skip
    yield _line(
        "random_logit", "RandomLogit, Spearman", values["random_logit"], said, "random_logit",
        SIGNED,
    )  # fmt: skip
    yield _line(
        "random_logit", "RandomLogit as it comes (SSIM)", values["random_logit"], said,
        "random_logit as it comes", SIGNED, same=False,
    )  # fmt: skip
    yield _line(
        "parameter_randomisation", "MPRT, our weights", values["parameter_randomisation"], said,
        "mprt", SIGNED,
    )  # fmt: skip
    yield from _invariant(values["input_invariance"], said)


def _invariant(values: Sequence[Floats], said: Mapping[str, Any]) -> Iterator[Line]:
    for theirs, key, same in (
        ("InputInvariance, all shifted", "input_invariance", True),
        ("InputInvariance as it comes", "input_invariance as it comes", False),
    ):
        moved = []
        for method in SIGNED:
            before, after = said[f"gradients/{method}"], said[f"{key} values/{method}"]
            flat = (len(before), -1)
            change = np.linalg.norm((after - before).reshape(flat), axis=1)
            moved.append(change / np.linalg.norm(before.reshape(flat), axis=1))
        yield Line(
            "input_invariance", f"{theirs}, change", np.concatenate(values),
            np.concatenate(moved), same,
        )  # fmt: skip
        kept = [(v < 1e-4) * 1.0 for v in values]
        yield _line("input_invariance below 1e-4", theirs, kept, said, key, SIGNED, same=same)


def _line(
    ours: str, theirs: str, values: Sequence[Any], said: Mapping[str, Any], key: str,
    methods: Any, same: bool = True,
) -> Line:  # fmt: skip
    a = np.concatenate([np.asarray(v, dtype=np.float64).reshape(-1) for v in values])
    b = np.concatenate([said[f"{key}/{method}"].reshape(-1) for method in methods])
    return Line(ours, theirs, a, b, same)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quantus", required=True, help="a Python that has quantus and torch")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    ours = Ours(arguments.images, arguments.seed)
    infidelity = RecordedInfidelity(scaled=False, normalised=False, draws=6)
    found = ours.measured(
        {"infidelity": infidelity, "deletion": "deletion", "completeness": "completeness"},
        ours.values,
        metric_settings={"deletion": {"steps": ours.x[0].numel() // STEP}},
    )
    said, failed = run_quantus(arguments.quantus, given_to_quantus(ours, infidelity))
    same = all(
        np.allclose(
            gradients(ours.network, ours.x.numpy(), ours.targets, times), said[f"gradients/{m}"]
        )
        for m, times in SIGNED.items()
    )
    print(f"{len(ours.x)} images, {len(ours.values)} attributions; gradients of both sides "
          f"{'agree' if same else 'DIFFER'}")  # fmt: skip
    print(f"{'ours':34} {'Quantus':44} {'number':>6} {'our mean':>11} {'their mean':>11} "
          f"{'largest |d|':>9} {'relative':>8}")  # fmt: skip
    lines = []
    asked = {"infidelity": infidelity, "found": found}
    for several in (looking(ours, said), removing(ours, said, asked), repeating(ours, said)):
        for line in several:
            print(line)
            lines.append(line)
    for name, error in failed.items():
        print(f"Quantus failed at {name}: {error}")
    apart = [line for line in lines if line.failed]
    print(f"{sum(line.same for line in lines)} comparisons that should be equal, "
          f"{len(apart)} of them are not")  # fmt: skip
    return 1 if apart or not same else 0


if __name__ == "__main__":
    raise SystemExit(main())
