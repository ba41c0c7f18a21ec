"""A suite file becomes objects: what is classified, which models are asked, how it is scored."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from harness import checks, documents, plugins, resolve
from harness import gold as gold_module
from harness import prompts as prompts_module
from harness.gold import Gold
from harness.identity import digest
from harness.prompts import Family
from harness.records import ARMS, Arm, HarnessError, Sampling

CONTROLS = (
    "gold", "paraphrase", "reworded", "one-dropped", "one-reversed", "number-changed",
    "other-label", "told", "negated", "empty", "echo", "mix(0.5)",
)  # fmt: skip
EVIDENCE_CONTROLS = ("evidence", "other-evidence")
"""Among all controls where a suite explains its classifier: they say what it relied on."""
DEFAULT_SCORERS = ("claims", "similarity", "label", "schema", "stability")
CONTROL_PREFIX = "control:"

# Of a suite: what changes no request, so that an edit of it goes on with the same run.
_NOT_ASKED = frozenset({"about", "limits", "max_unscored", "report", "require", "scorers"})
_NOT_ASKED_OF_MODELS = frozenset({"price", "same_as"})
_ADDRESS = ("base_url", "azure_deployment")  # of what is reached, these say whom

# Of a model's transport: what may choose the model that answers, beside its address.
_CHOOSE = frozenset({"headers", "env", "azure_deployment"})

_UNSAID = object()  # a field that is not there, where null says something


@dataclass(frozen=True)
class PartSpec:
    """A plug-in named in a suite, with the fields it takes."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)  # a secret may be in it
    called: str | None = None

    @property
    def name(self) -> str:
        """What the part is called: as the suite says, else its kind or class."""
        return self.called or self.kind.rpartition(":")[2]

    def create(self, group: str, folder: Path) -> Any:
        """The part itself. Raises `HarnessError` where there is none, or a field is wrong."""
        return plugins.create(group, self.kind, folder, **self.options)


@dataclass(frozen=True)
class ModelSpec:
    """A model of the suite, or a control."""

    name: str
    backend: str
    model: str
    options: Mapping[str, Any] = field(repr=False)  # a secret may be in it
    sampling: Sampling
    price: tuple[float, float] | None = None  # per million tokens in and out
    entry: str = (
        ""  # under whose name its answers are kept: its own, or that of whom it shares them
    )
    same_as: str | None = None

    @property
    def revision(self) -> str | None:
        """Which model it is, as far as the suite says so."""
        revision = self.options.get("revision")
        return None if revision is None else str(revision)

    @property
    def control(self) -> bool:
        """Whether its score is known beforehand."""
        return self.backend == "control"


@dataclass(frozen=True)
class TrainSpec:
    """What the suite's classifier is trained on, and how."""

    source: PartSpec
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)  # a secret may be in it


@dataclass(frozen=True)
class ExplainSpec:
    """How the classifier is explained before anything is asked, as `harness.explain` takes it.

    The first of `methods` fills the prompts' evidence summary with its `top` units.
    """

    methods: tuple[PartSpec, ...]
    unit: tuple[PartSpec, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    top: int = 3


@dataclass(frozen=True)
class FamilySpec:
    """A family with the variants and aspects that the suite uses, and its gold."""

    family: Family
    variants: tuple[str, ...]
    aspects: tuple[str, ...]
    gold: Gold
    left_out: Mapping[str, str] = field(default_factory=dict)  # variant -> why


@dataclass(frozen=True)
class Suite:
    """A suite as resolved. `identity` is what its run's folder is named after."""

    name: str
    folder: Path
    source: PartSpec
    classifier: PartSpec | None
    families: tuple[FamilySpec, ...]
    models: tuple[ModelSpec, ...]
    arms: tuple[Arm, ...]
    repeats: int
    seed: int
    scorers: tuple[PartSpec, ...]
    label_map: Mapping[str, str]
    classifier_baselines: Mapping[str, PartSpec]
    group_by: tuple[str, ...]
    report_samples: int
    max_time: float | None
    max_cost: float | None
    max_unscored: float | None
    require: Mapping[str, float]
    model_names: tuple[str, ...]  # of all models in the file, also those that --models leaves out
    human_labels: Mapping[str, str] | None
    train: TrainSpec | None
    explain: ExplainSpec | None
    about: str
    identity: Mapping[str, Any]

    @cached_property
    def hash(self) -> str:
        """The first 10 hexadecimal digits of the SHA-256 of what the suite asks.

        How answers are scored, judged, limited and shown is no part of it, so a run whose suite is
        edited there keeps its folder.
        """
        asked = {key: item for key, item in self.identity.items() if key not in _NOT_ASKED}
        if isinstance(models := asked.get("models"), list):
            asked["models"] = [
                {key: item for key, item in model.items() if key not in _NOT_ASKED_OF_MODELS}
                for model in models
            ]
        return self._digest(asked)

    @property
    def run_folder(self) -> Path:
        """Where its run goes unless the command says otherwise, or an older one lies elsewhere."""
        return Path("reports") / f"{self.name}-{self.hash}"

    @cached_property
    def hash_before(self) -> str:
        """The hash that runs until schema 3 had: over the whole suite."""
        return self._digest(self.identity)

    def _digest(self, identity: Mapping[str, Any]) -> str:
        families = {spec.family.name: spec.family.hash for spec in self.families}
        return digest({"suite": identity, "families": families})[:10]


def find(name: str) -> Path:
    """The suite file: a path, or the name of a built-in suite."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise HarnessError(f"there is no suite file {name}")
        return path
    builtin = Path(str(resources.files("harness").joinpath("suites", f"{name}.yaml")))
    if builtin.is_file():
        return builtin
    raise HarnessError(f"there is no suite '{name}'; built in are {', '.join(builtin_suites())}")


def builtin_suites() -> list[str]:
    """The names of the suites that come with the harness."""
    folder = Path(str(resources.files("harness").joinpath("suites")))
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(
    name: str, settings: Sequence[str] = (), models: Sequence[str] = (), *, asks: bool = True
) -> Suite:
    """The suite of this file or name.

    `settings` are `key.path=value` overrides (values read as YAML), `models` the names of those
    models to keep (controls stay). What does not ask (`asks=False`: explaining and training) needs
    neither families nor models. Raises `HarnessError` naming file, line and place.
    """
    path = find(name)
    document = documents.read(path)
    for setting in settings:
        resolve.override(document, setting)
    resolve.fill_in(document, "suite")
    documents.check(document, "suite")
    if asks and "families" not in document.value:
        raise document.error((), "the field 'families' is missing")
    resolved, identity = resolve.resolve(document, path.parent.resolve())
    suite = _suite(document, resolved, identity, path.parent.resolve(), models)
    if asks and not suite.models:
        raise document.error(("models",), "there is neither a model nor a control to ask")
    return suite


def _suite(
    document: documents.Document,
    value: Mapping[str, Any],
    identity: Mapping[str, Any],
    folder: Path,
    keep: Sequence[str],
) -> Suite:
    sampling = _sampling(value.get("sampling", {}), Sampling())
    models = _models(document, value, sampling, keep)
    classifier = _part(value["classifier"]) if "classifier" in value else None
    arms: tuple[Arm, ...] = tuple(value.get("arms", ["predicted"] if classifier else ["none"]))
    if classifier is None and arms != ("none",):
        raise document.error(
            ("arms",), "without a classifier nothing is predicted, so the only arm is 'none'"
        )
    if classifier is None and "explain" in value:
        raise document.error(("explain",), "without a classifier there is nothing to be explained")
    report = value.get("report", {})
    limits = value.get("limits", {})
    return Suite(
        name=value["name"],
        folder=folder,
        source=_part(value["source"]),
        classifier=classifier,
        families=_families(document, value, folder),
        models=models,
        arms=tuple(arm for arm in ARMS if arm in arms),
        repeats=value.get("repeats", 1),
        seed=value.get("seed", 0),
        scorers=_scorers(document, value.get("scorers", DEFAULT_SCORERS)),
        label_map=_label_map(document, value.get("label_map", {})),
        classifier_baselines={
            name: _part(item) for name, item in value.get("classifier_baselines", {}).items()
        },
        group_by=tuple(report.get("group_by", ())),
        report_samples=report.get("samples", 12),
        max_time=_seconds(document, limits["max_time"]) if "max_time" in limits else None,
        max_cost=limits.get("max_cost"),
        max_unscored=value.get("max_unscored"),
        require=value.get("require", {}),
        model_names=tuple(item["name"] for item in value.get("models", [])),
        human_labels=value.get("human_labels"),
        train=_train(value["train"]) if "train" in value else None,
        explain=_explain(document, value["explain"], folder) if "explain" in value else None,
        about=value.get("about", ""),
        identity=identity,
    )


def _label_map(document: documents.Document, value: Mapping[str, str]) -> dict[str, str]:
    """The names without white space around them, which is no part of a label."""
    found: dict[str, str] = {}
    for name, label in value.items():
        if found.setdefault(name.strip(), label.strip()) != label.strip():
            raise document.error(("label_map", name), f"'{name.strip()}' stands twice")
    return found


def _train(value: Mapping[str, Any]) -> TrainSpec:
    options = {key: item for key, item in value.items() if key != "source"}
    return TrainSpec(_part(value["source"]), options)


def _explain(document: documents.Document, value: Mapping[str, Any], folder: Path) -> ExplainSpec:
    """Raises `HarnessError` for unknown parts, and where two methods have one name."""
    methods = tuple(_named(item) for item in value["methods"])
    names = [spec.name for spec in methods]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise document.error(("explain", "methods", i), f"there is already a method '{name}'")
    unit = value.get("unit", [])
    units = tuple(_named(item) for item in (unit if isinstance(unit, list) else [unit]))
    for place, kind, parts in (
        (("explain", "methods"), "explainers", methods),
        (("explain", "unit"), "units", units),
    ):
        for part in parts:
            try:
                made = part.create(kind, folder)
            except HarnessError as error:
                raise document.error(place, str(error)) from error
            if kind == "units":
                checks.check_unit(part.name, made)
    own = {"methods", "unit", "top"}
    options = {key: item for key, item in value.items() if key not in own}
    if isinstance(options.get("target"), list):
        options["target"] = tuple(options["target"])
    return ExplainSpec(methods, units, options, value.get("top", 3))


def explain_spec(
    suite: Suite, methods: Sequence[str], units: Sequence[str], **options: Any
) -> ExplainSpec:
    """The suite's own `explain`, with what is given here in its place; `None` gives nothing."""
    own = suite.explain or ExplainSpec((PartSpec("kernel_shap"),))
    given = {name: value for name, value in options.items() if value is not None}
    if "baseline" in given:
        given.setdefault("removal", "baseline")
    fillers = ("baseline", "background") if "removal" in given else ()
    kept = {k: v for k, v in own.options.items() if k not in fillers}
    return ExplainSpec(
        tuple(map(PartSpec, methods)) or own.methods,
        tuple(map(PartSpec, units)) or own.unit,
        {**kept, **given},
        own.top,
    )


def _named(item: str | Mapping[str, Any]) -> PartSpec:
    """A part by its name alone, or by `kind` with its fields and perhaps a `name` of its own."""
    if isinstance(item, str):
        return PartSpec(item)
    part = _part(item)
    options = {key: option for key, option in part.options.items() if key != "name"}
    return PartSpec(part.kind, options, item.get("name"))


def _part(value: Mapping[str, Any]) -> PartSpec:
    return PartSpec(value["kind"], {key: item for key, item in value.items() if key != "kind"})


def _scorers(document: documents.Document, items: Sequence[Any]) -> tuple[PartSpec, ...]:
    scorers: list[PartSpec] = []
    for i, item in enumerate(items):
        spec = _named(item)
        if any(other.name == spec.name for other in scorers):
            raise document.error(
                ("scorers", i), f"there is already a scorer '{spec.name}'; give this one a 'name'"
            )
        scorers.append(spec)
    return tuple(scorers)


def _families(
    document: documents.Document, value: Mapping[str, Any], folder: Path
) -> tuple[FamilySpec, ...]:
    families: list[FamilySpec] = []
    for i, item in enumerate(value.get("families", ())):
        gold, explained = value.get("gold", _UNSAID), "explain" in value
        spec = _family(document, ("families", i), item, gold, folder, explained)
        if any(other.family.name == spec.family.name for other in families):
            raise document.error(("families", i), f"there is already a family '{spec.family.name}'")
        families.append(spec)
    return tuple(families)


def _sampling(value: Mapping[str, Any], above: Sampling) -> Sampling:
    fields = dict(value)
    if "stop" in fields:
        fields["stop"] = tuple(fields["stop"])
    return replace(above, **fields)


def _models(
    document: documents.Document,
    value: Mapping[str, Any],
    sampling: Sampling,
    keep: Sequence[str],
) -> tuple[ModelSpec, ...]:
    models: list[ModelSpec] = []
    own = ("name", "backend", "model", "sampling", "price", "same_as")
    for i, item in enumerate(value.get("models", [])):
        if any(model.name == item["name"] for model in models):
            raise document.error(("models", i, "name"), f"two models are named '{item['name']}'")
        if item["name"].startswith(CONTROL_PREFIX):
            raise document.error(("models", i, "name"), f"'{CONTROL_PREFIX}' is kept for controls")
        price = item.get("price")
        models.append(
            ModelSpec(
                name=item["name"],
                backend=item["backend"],
                model=item.get("model", item["name"]),
                options={key: option for key, option in item.items() if key not in own},
                sampling=_sampling(item.get("sampling", {}), sampling),
                price=(price["input"], price["output"]) if price else None,
                same_as=item.get("same_as"),
            )
        )
    models = _with_entries(document, models)
    unknown = sorted(set(keep) - {model.name for model in models})
    if unknown:
        names = ", ".join(model.name for model in models) or "none"
        raise HarnessError(f"--models: there is no model '{unknown[0]}'; the suite has {names}")
    if keep:
        models = [model for model in models if model.name in keep]
    controls = value.get("controls", "all")
    every = CONTROLS + EVIDENCE_CONTROLS if "explain" in value else CONTROLS
    chosen = {"all": every, "none": ()}[controls] if isinstance(controls, str) else controls
    for name in chosen:
        models.append(_control(name))
    return tuple(models)


def _control(name: str) -> ModelSpec:
    called = f"{CONTROL_PREFIX}{name}"
    return ModelSpec(called, "control", name, {}, Sampling(), entry=called)


def _with_entries(document: documents.Document, models: Sequence[ModelSpec]) -> list[ModelSpec]:
    """The models with the entry whose answers each has.

    That of the first which differs in nothing but name, price and transport other than the address,
    or of the one that `same_as` names. Raises `HarnessError` where `same_as` names none, leads in a
    circle, or names a model whose requests or settings differ.
    """
    by_name = {model.name: model for model in models}
    first: dict[str, str] = {}
    alike = {model.name: first.setdefault(digest(_reached(model)), model.name) for model in models}
    found = []
    for i, model in enumerate(models):
        place = ("models", i, "same_as")
        passed = [model.name]
        while (other := by_name[passed[-1]].same_as) is not None:
            if other not in by_name:
                raise document.error(place, f"there is no model '{other}' before or after this one")
            if other in passed:
                raise document.error(place, f"'{other}' is in the end the same as itself")
            passed.append(other)
        last = by_name[passed[-1]]
        different = _difference(model, last)
        if different is not None:
            raise document.error(
                place,
                f"'{model.name}' and '{last.name}' differ in {different}, so their answers cannot "
                "be the same",
            )
        found.append(replace(model, entry=alike[last.name]))
    return found


def _reached(model: ModelSpec) -> list[Any]:
    """All that makes the answers of one entry another's: what is asked, and of whom."""
    options = {k: v for k, v in model.options.items() if k in _ADDRESS or _tells_apart(k)}
    return [model.backend, model.model, model.sampling, options]


def _difference(one: ModelSpec, other: ModelSpec) -> str | None:
    """What of two models' requests differs, addresses apart; `None` where nothing does."""
    for name in ("backend", "model", "sampling"):
        if getattr(one, name) != getattr(other, name):
            return name
    for name in sorted({*one.options, *other.options}):
        here, there = one.options.get(name), other.options.get(name)
        if _tells_apart(name) and not resolve.reaches(name) and here != there:
            return name
    return None


def _tells_apart(option: str) -> bool:
    """Whether an option may choose who answers, as an address, a header or a deployment does."""
    return option in _CHOOSE or not resolve.reaches(option)


def _family(
    document: documents.Document,
    place: documents.Place,
    item: Any,
    suite_gold: Any,
    folder: Path,
    explained: bool,
) -> FamilySpec:
    name = item if isinstance(item, str) else item["family"]
    chosen: Mapping[str, Any] = {} if isinstance(item, str) else item
    try:
        prompts = _find("prompts", name, folder)
        family = prompts_module.load(prompts)
        variants = chosen.get("variants", [variant.name for variant in family.variants])
        left_out = {}
        for variant_name in list(variants):
            variant = family.variant(variant_name)
            if "evidence_summary" in variant.template.variables and not explained:
                reason = "shows an evidence summary, for which the suite needs an 'explain' entry"
                if "variants" in chosen:
                    raise HarnessError(f"the variant '{variant_name}' {reason}; take it out")
                left_out[variant_name] = reason
                variants.remove(variant_name)
        unknown = sorted(set(chosen.get("aspects", ())) - set(family.aspects))
        if unknown:
            raise HarnessError(
                f"family '{family.name}' has no aspect '{unknown[0]}'; "
                f"it has {', '.join(family.aspects)}"
            )
        aspects = tuple(chosen.get("aspects", family.aspects))
        gold = chosen.get("gold", suite_gold)
        named = gold is not _UNSAID or prompts_module.names_gold(prompts)
        loaded = _gold(family.gold if gold is _UNSAID else gold, aspects, folder, named)
    except HarnessError as error:
        raise document.error(place, str(error)) from error
    return FamilySpec(family, tuple(variants), aspects, loaded, left_out)


def _gold(value: Any, aspects: Sequence[str], folder: Path, named: bool) -> Gold:
    if value is None:
        return Gold.of(())
    if isinstance(value, str):
        try:
            gold_folder = _find("gold", value, folder)
        except HarnessError:
            if named:
                raise
            return Gold.of(())  # nobody names one: the source may bring its own along
        return gold_module.load(gold_folder)
    from harness.tables import read_rows

    columns = {key: item for key, item in value.items() if key not in ("kind", "path")}
    return gold_module.from_rows(read_rows(value["path"]), aspects=aspects, **columns)


def _find(kind: str, name: str, folder: Path) -> Path:
    """A folder of prompts or gold: beside the suite, then HARNESS_PATH, installed, checkout."""
    if "/" in name or name.startswith("."):
        path = folder / name
        if path.is_dir():
            return path
        raise HarnessError(f"there is no folder {path}")
    package = Path(str(resources.files("harness")))
    extra = [Path(p) for p in os.environ.get("HARNESS_PATH", "").split(os.pathsep) if p]
    roots = [folder, *extra, package / "data", package.parent]
    for root in roots:
        if (root / kind / name).is_dir():
            return root / kind / name
    searched = ", ".join(str(root / kind) for root in roots)
    raise HarnessError(f"there is no '{name}' in {searched}")


def _seconds(document: documents.Document, value: str | float) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    found = seconds(value)
    if found is None:
        raise document.error(("limits", "max_time"), f"'{value}' is no time such as 90s, 30m or 2h")
    return found


def seconds(text: str) -> float | None:
    """A time such as `90`, `90s`, `30m` or `2h` in seconds; `None` where it is none."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|d)?", text.strip())
    if match is None:
        return None
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, None: 1}[match[2]]
