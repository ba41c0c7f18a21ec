"""A run's manifest: the suite as resolved, versions, seeds and hashes, stored inside the run.

Scoring, statistics and report read this and the store, never the suite file, so a run's folder
is all that they need.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import __version__, joins, plugins, serial
from harness.identity import digest, tree_hash
from harness.inputs import Inputs, samples_hash
from harness.plan import Plan
from harness.plugin_code import code_named
from harness.records import HarnessError
from harness.store import Store
from harness.suite import PartSpec, Suite

_LIBRARIES = ("numpy", "scipy", "torch", "transformers", "sentence-transformers", "scikit-learn")


@dataclass(frozen=True)
class VariantInfo:
    """What scoring and statistics need to know of a variant."""

    name: str
    axis: str | None
    preserves_meaning: bool
    oracle: bool = False
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class FamilyInfo:
    """A family as run."""

    name: str
    aspects: tuple[str, ...]
    variants: tuple[VariantInfo, ...]
    gold_hash: str
    hash: str
    own_gold_hash: str = ""  # of its gold without what the source brings


@dataclass(frozen=True)
class ModelInfo:
    """A model or control as run; `not_planned` counts cells left out by reason."""

    name: str
    backend: str
    control: bool = False
    price: tuple[float, ...] = ()
    not_planned: Mapping[str, int] = field(default_factory=dict)
    entry: str = ""  # whose answers it has; empty in runs whose answers are kept by key alone


@dataclass(frozen=True)
class Manifest:
    """The run as planned."""

    suite: str
    hash: str
    folder: str
    created: str
    harness_version: str
    seed: int
    arms: tuple[str, ...]
    repeats: int
    families: tuple[FamilyInfo, ...]
    models: tuple[ModelInfo, ...]
    scorers: tuple[PartSpec, ...]
    classes: tuple[str, ...]
    cluster: str
    cluster_name: str = "sample"
    about: str = ""
    classifier: str | None = None
    classifier_revision: str = ""  # empty without one, and in runs that did not keep it
    baselines: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ()
    report_samples: int = 12
    max_unscored: float | None = None
    require: Mapping[str, float] = field(default_factory=dict)
    human_labels: Mapping[str, str] | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    topics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of warnings, by sentence
    max_cost: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    samples_hash: str = ""
    scorers_added: tuple[str, ...] = ()  # by `harness score`, beside the suite's
    files: Mapping[str, str] = field(default_factory=dict)  # SHA-256 by place in the suite

    def family(self, name: str) -> FamilyInfo:
        """The family of this name."""
        return next(family for family in self.families if family.name == name)

    def variant(self, family: str, name: str) -> VariantInfo:
        """The variant of this family and name."""
        return next(v for v in self.family(family).variants if v.name == name)

    def entry(self, model: str) -> str:
        """Under which entry a model's answers are kept."""
        return next(info.entry for info in self.models if info.name == model)

    @property
    def gold_hash(self) -> str:
        """One hash over the gold of all families; part of every score's version."""
        return digest({family.name: family.gold_hash for family in self.families})

    def with_scorers(self, names: Sequence[str]) -> Manifest:
        """The manifest with those of the named scorers added that it does not hold."""
        held = {spec.name for spec in self.scorers}
        new = [spec for spec in map(PartSpec, names) if spec.name not in held]
        added = (*self.scorers_added, *(spec.name for spec in new))
        return replace(self, scorers=(*self.scorers, *new), scorers_added=added)

    def describes(self, suite: Suite) -> bool:
        """Whether a suite asks, scores and shows just what this run did."""
        models = {model.name: (model.entry, tuple(model.price)) for model in self.models}
        own = [spec for spec in self.scorers if spec.name not in self.scorers_added]
        return (
            self.hash == suite.hash
            and all(models.get(m.name) == (m.entry, m.price or ()) for m in suite.models)
            and digest(own) == digest(suite.scorers)
            and {f.name: f.own_gold_hash for f in self.families}
            == {spec.family.name: spec.gold.hash for spec in suite.families}
            and (self.about, self.group_by, self.report_samples, self.max_unscored, self.require)
            == (
                suite.about,
                suite.group_by,
                suite.report_samples,
                suite.max_unscored,
                suite.require,
            )
        )

    def save(self, store: Store) -> None:
        """Keeps the manifest in the run."""
        store.set_meta({"manifest": serial.dumps(self)})

    @classmethod
    def load(cls, store: Store) -> Manifest:
        """The manifest of a run; raises `HarnessError` where a run was never planned."""
        text = store.meta().get("manifest")
        if text is None:
            raise HarnessError(f"{store.folder} was never planned; run its suite first")
        return serial.loads(cls, text)

    @classmethod
    def of(cls, suite: Suite, inputs: Inputs, plan: Plan) -> Manifest:
        """The manifest of a plan."""
        cluster = _cluster(inputs)
        warned = _warnings(suite, plan, inputs)
        return cls(
            suite=suite.name,
            about=suite.about,
            hash=suite.hash,
            folder=str(suite.folder),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            harness_version=__version__,
            seed=suite.seed,
            arms=suite.arms,
            repeats=suite.repeats,
            families=tuple(
                FamilyInfo(
                    name=spec.family.name,
                    aspects=spec.aspects,
                    variants=tuple(
                        VariantInfo(v.name, v.axis, v.preserves_meaning, v.oracle, v.schema)
                        for v in spec.family.variants
                        if v.name in spec.variants
                    ),
                    gold_hash=inputs.gold[spec.family.name].hash,
                    hash=spec.family.hash,
                    own_gold_hash=spec.gold.hash,
                )
                for spec in suite.families
            ),
            models=tuple(
                ModelInfo(
                    name=spec.name,
                    backend=spec.backend,
                    control=spec.control,
                    price=spec.price or (),
                    not_planned={
                        reason: count
                        for (model, reason), count in sorted(plan.not_planned.items())
                        if model == spec.name
                    },
                    entry=spec.entry,
                )
                for spec in suite.models
            ),
            scorers=suite.scorers,
            classes=inputs.classes,
            cluster=cluster,
            cluster_name=inputs.cluster_name if cluster == "cluster" else cluster,
            classifier=suite.classifier.kind if suite.classifier else None,
            classifier_revision=inputs.revision,
            baselines=tuple(inputs.baselines),
            group_by=suite.group_by,
            report_samples=suite.report_samples,
            max_unscored=suite.max_unscored,
            require=suite.require,
            human_labels=suite.human_labels,
            label_map=suite.label_map,
            warnings=(*(text for text, _ in warned), *inputs.notes, *plan.notes),
            topics=dict(warned) | dict.fromkeys(plan.notes, ("coverage",)),
            max_cost=suite.max_cost,
            versions=_versions(),
            samples_hash=samples_hash(inputs.samples),
            files=file_hashes(suite),
        )


def file_hashes(suite: Suite) -> dict[str, str]:
    """Hashes of the files and folders that classifiers, scorers and models are made from, and of
    the code of the plug-ins among all parts.

    What the source reads stands in `samples_hash`, prompts and gold in the hashes of families.
    """
    parts: dict[str, tuple[str, PartSpec]] = {
        f"classifier_baselines.{name}": ("classifiers", spec)
        for name, spec in suite.classifier_baselines.items()
    }
    parts |= {f"scorers.{spec.name}": ("scorers", spec) for spec in suite.scorers}
    parts |= {
        f"models.{spec.name}": (
            "backends", PartSpec(spec.backend, {"model": spec.model, **spec.options})
        )
        for spec in suite.models
        if not spec.control
    }  # fmt: skip
    if suite.classifier is not None:
        parts["classifier"] = ("classifiers", suite.classifier)
    found = {}
    for part, (_, spec) in parts.items():
        for name, value in _texts(spec.options):
            read = None if name == "environment" else _read(value, suite.folder)
            if read is not None:
                found[f"{part}.{name}"] = read
    parts["source"] = ("sources", suite.source)
    if suite.explain is not None:
        parts |= {f"explain.{m.name}": ("explainers", m) for m in suite.explain.methods}
        parts |= {f"explain.{unit.name}": ("units", unit) for unit in suite.explain.unit}
    for part, (kind, spec) in parts.items():
        code = plugins.code(kind, spec.kind, suite.folder)
        if code is not None:
            found[f"{part} (code)"] = code
    return found


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The texts among a part's options, at any depth, by the fields that lead to them."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _texts(item, f"{name}.{i}")


def _read(value: str, folder: Path) -> str | None:
    """A hash of the file, folder or code that a text names; `None` where it names none."""
    with contextlib.suppress(OSError, ValueError):  # too long for a name
        if Path(value).exists():
            return tree_hash(Path(value))
    return code_named(value, folder)


def _cluster(inputs: Inputs) -> str:
    """The largest cause that samples share: the label where gold speaks of labels."""
    if any(gold.labels for gold in inputs.gold.values()):
        return "label"
    return "cluster" if any(sample.cluster for sample in inputs.samples) else "sample"


def _warnings(suite: Suite, plan: Plan, inputs: Inputs) -> list[tuple[str, tuple[str, ...]]]:
    """Sentences, each with the lines of the verdict that it is about."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for family, labels in plan.labels_without_gold.items():
        if labels:
            what = "for the labels" if inputs.gold[family].records else "at all; the labels are"
            likely = joins.hint(labels, plan.gold_without_label[family], "gold")
            text = f"Family {family} has no gold {what} {', '.join(labels)}{likely}."
            found.append((text, ("gold",)))
    for family, labels in plan.gold_without_label.items():
        if labels:
            text = f"The gold of family {family} speaks of labels that do not occur: "
            found.append((f"{text}{', '.join(labels)}.", ()))
    asked = {planned.cell.model for planned in plan.cells}
    for model in suite.models:
        if model.name not in asked and not model.control:
            reasons = sorted({reason for name, reason in plan.not_planned if name == model.name})
            text = f"Model {model.name} is asked nothing: {'; '.join(reasons)}."
            found.append((text, ("coverage",)))
    unpriced = [spec.name for spec in suite.models if spec.price is None and not spec.control]
    if suite.max_cost is not None and unpriced:
        text = f"limits.max_cost does not count {', '.join(unpriced)}: give each a price."
        found.append((text, ()))
    for spec in suite.families:
        for variant, reason in spec.left_out.items():
            text = f"Variant {variant} of family {spec.family.name} is left out: it {reason}."
            found.append((text, ()))
    return found


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "explanation-harness": __version__}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
