"""Concepts of a suite's classifier: collected, fitted, measured, kept in the run's folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.explainers.concepts.activations import INDEX, Activations, collect
from harness.explainers.concepts.asked import Asked
from harness.explainers.concepts.figures import shapes_of
from harness.explainers.concepts.importance import importance, overall
from harness.explainers.concepts.meaning import top_samples
from harness.explainers.concepts.metrics.completeness import completeness
from harness.explainers.concepts.metrics.known import auc, best, strengths_of
from harness.explainers.concepts.metrics.reconstruction import output_kept, reconstruction
from harness.explainers.concepts.metrics.sparsity import sparsity
from harness.explainers.concepts.metrics.stability import stability
from harness.explainers.concepts.spaces.fit import fit, parameters
from harness.explainers.concepts.spaces.training import Recipe
from harness.explainers.engine import Progress
from harness.explainers.metrics.evidence import located
from harness.identity import digest
from harness.records import (
    ConceptExample,
    ConceptSpace,
    HarnessError,
    Metric,
    Sample,
    StoredScore,
)
from harness.scoring import code_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCORER = "concept_metrics"
_SHOWN = 5  # places of each concept
METRICS = (
    Metric(
        "r2", "concept_space", (None, 1.0), "higher",
        about="share of the rows' variance told", title="activations told by the concepts",
    ),
    Metric(
        "mse", "concept_space", (0.0, None), "lower",
        about="mean square of what is missed", title="activations missed",
    ),
    Metric(
        "output_agreement", "concept_space", (0.0, 1.0), "higher",
        about="share of samples whose prediction stays when rows are made of the concepts",
        title="predictions kept by the concepts",
    ),
    Metric(
        "output_recovered", "concept_space", (None, 1.0), "higher",
        about="share of the output's change by removing all concepts that they give back",
        title="output given back by the concepts",
    ),
    Metric(
        "completeness", "concept_space", (None, None), "higher",
        about="predictions that concepts alone give, from guessing (0) to the model's own (1)",
        title="what concepts alone predict",
    ),
    Metric(
        "l0", "concept_space", (0.0, None), None,
        about="concepts that are not 0, a row", title="concepts met in a row",
    ),
    Metric(
        "hoyer", "concept_space", (0.0, 1.0), None,
        about="sparseness of a row's concepts", title="few concepts a row",
    ),
    Metric(
        "dead", "concept_space", (0.0, 1.0), "lower",
        about="share of concepts never met", title="concepts never met",
    ),
    Metric(
        "stability", "concept_space", (-1.0, 1.0), "higher",
        about="mean cosine of directions matched with those of another seed",
        title="agreement between seeds",
    ),
)  # fmt: skip


def found(
    classifier: Any,
    samples: Sequence[Sample],
    layer: str,
    at: str,
    kinds: Sequence[str],
    count: int,
    folder: Path,
    *,
    target: Any = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[tuple[ConceptSpace, list[StoredScore]]]:
    """The spaces of these kinds with `count` concepts each, and what they are worth.

    Activations and directions are written below `folder`; activations that are there already are
    taken where they are of the same model and samples. `settings` go to the kinds that take them.
    Where samples have evidence, each space has the AUC of one concept for each name of evidence
    (`auc[name]`): chosen, with its sign, on every other cluster of samples, measured on the rest.

    Raises `HarnessError` as `collect` and `fit` do.
    """
    asked = Asked.of(classifier, samples, layer, at, target)
    activations = _activations(classifier, samples, layer, at, folder, asked, progress)
    known = _known(asked, samples, activations)
    shapes = shapes_of(activations)
    made = []
    for kind in kinds:
        taken = parameters(kind)
        given = {"concepts": count, **(settings or {})}
        mine = {name: value for name, value in given.items() if name in taken}
        one = fit(kind, activations, **mine, **_seeded(taken, seed))
        # What draws nothing is the same with any seed.
        other = _seeded(taken, seed + 1)
        again = fit(kind, activations, **mine, **other) if other else one
        path = folder / f"{kind}.safetensors"
        one.save(path)
        effects = overall(importance(asked, one, "gradient_x_concept"))
        identity = {
            "kind": kind,
            "settings": dict(one.settings),
            "seed": seed,
            "activations": activations.key,
        }
        space = ConceptSpace(
            digest(identity), kind, layer, at, tuple(one.names), len(activations),
            activations.width, len(samples), asked.targets[0].names[0] if target else "predicted",
            path.name, {name: mean for name, (mean, _) in effects.items()},
            tuple(
                tuple(
                    ConceptExample(e.sample, e.unit, e.strength, shapes.get(e.sample)) for e in top
                )
                for top in top_samples(one, activations, _SHOWN)
            ),
            dict(one.settings), seed, activations.revision,
        )  # fmt: skip
        values = {
            **asdict(reconstruction(one, activations)),
            **asdict(sparsity(one, activations)),
            "completeness": completeness(asked, one, activations),
            "stability": stability([one, again]),
        }
        kept = output_kept(asked, one)
        values |= {"output_agreement": kept.agreement, "output_recovered": kept.recovered}
        told = _aucs(space, one, activations, known, samples)
        made.append((space, [*_scores(space, values), *told]))
    return made


def _seeded(taken: Collection[str], seed: int) -> dict[str, Any]:
    """The seed as a kind takes it: by itself, or in the recipe of a training; none for what draws
    nothing."""
    if "seed" in taken:
        return {"seed": seed}
    return {"recipe": Recipe(seed=seed)} if "recipe" in taken else {}


def _activations(
    classifier: Any,
    samples: Sequence[Sample],
    layer: str,
    at: str,
    folder: Path,
    asked: Asked,
    progress: Progress | None,
) -> Activations:
    where = folder / "activations"
    if (where / INDEX).is_file():
        held = Activations(where)
        same = (held.revision, held.layer, held.at) == (asked.layer.model.revision, layer, at)
        if same and held.samples == tuple(sample.id for sample in samples):
            return held
        raise HarnessError(
            f"{where} holds activations of another layer, model or samples; name another --out, or "
            "delete them"
        )
    return collect(classifier, samples, layer, at, where, progress=progress)


def _known(
    asked: Asked, samples: Sequence[Sample], activations: Activations
) -> dict[str, NDArray[np.bool_]]:
    """For each name of evidence whether a row's unit holds any of it."""
    import numpy as np

    evidence = {
        sample.id: located(sample, reading, asked.layer.model)
        for sample, reading in zip(samples, asked.readings, strict=True)
    }
    parts = {
        sample.id: reading.parts for sample, reading in zip(samples, asked.readings, strict=True)
    }
    names = dict.fromkeys(name for found in evidence.values() for name in found if name)
    rows: dict[str, list[bool]] = {name: [] for name in names}
    for sample, unit in activations.units():
        for name in names:
            mine = evidence[sample].get(name)
            rows[name].append(mine is not None and _holds(mine, parts[sample], unit))
    found = {name: np.array(values) for name, values in rows.items()}
    return {name: values for name, values in found.items() if 0 < values.sum() < len(values)}


def _holds(evidence: NDArray[np.bool_], parts: Sequence[Any], unit: Any) -> bool:
    """Whether a unit holds any evidence."""
    start = sum(part.features for part in parts[: unit.part])
    part = parts[unit.part]
    mine = evidence[start : start + part.features]
    if unit.box is not None:
        top, left, height, width = unit.box
        return bool(
            mine.reshape(part.array.shape[:2])[top : top + height, left : left + width].any()
        )
    if unit.start is None or not hasattr(part, "spans"):
        return bool(mine.any())
    return any(
        inside and unit.start <= first < unit.end
        for inside, (first, _) in zip(mine.tolist(), part.spans, strict=True)
    )


def title_of(name: str) -> str:
    """What a score of a space says in a few words: one of `METRICS`, or `auc[evidence]`."""
    known = {metric.name: metric.title for metric in METRICS}
    return known.get(name, "evidence told by one concept")


def _scores(space: ConceptSpace, values: Mapping[str, float]) -> list[StoredScore]:
    version = code_hash(__name__)[:16]
    return [
        StoredScore("concept_space", space.id, metric.name, SCORER, version, values[metric.name])
        for metric in METRICS
    ]


def _aucs(
    space: ConceptSpace,
    one: Any,
    activations: Activations,
    known: Mapping[str, NDArray[np.bool_]],
    samples: Sequence[Sample],
) -> list[StoredScore]:
    """The AUC of one concept for each name of evidence that both halves of the samples have."""
    import numpy as np

    clusters = list(dict.fromkeys(sample.cluster or sample.id for sample in samples))
    chosen_on = np.array([clusters.index(s.cluster or s.id) % 2 == 0 for s in samples])
    rows = chosen_on[activations.sample_places()]
    strengths = strengths_of(one, activations)
    version, scores = code_hash(__name__)[:16], []
    for name, values in known.items():
        halves = (rows, ~rows)
        if not all(0 < values[half].sum() < half.sum() for half in halves):
            continue
        (place,), (sign,) = best(auc(strengths[rows], {name: values[rows].tolist()}))
        (column,) = auc(strengths[~rows][:, [place]], {name: values[~rows].tolist()})
        value = float(column[0]) if sign > 0 else 1 - float(column[0])
        detail = {"concept": one.names[place], "less_of_it": bool(sign < 0)}
        scores.append(
            StoredScore("concept_space", space.id, f"auc[{name}]", SCORER, version, value, detail)
        )
    return scores
