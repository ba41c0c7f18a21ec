"""Loads prompt families: one question with its aspects, and the ways of asking it.

A family is a folder: `family.yaml` and one file a variant, which overrides only what it changes.
Templates see an opaque id, the input, and what the arm tells: the true label and the evidence do
not exist in their context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness import documents
from harness.identity import digest
from harness.records import HarnessError
from harness.templates import Template, variables_of

LABEL_VARIABLES = frozenset({"label", "probability", "probabilities"})
VARIABLES = LABEL_VARIABLES | {"id", "input", "aspect", "evidence_summary", "question", "language"}
ORACLE_VARIABLES = VARIABLES | {"gold_evidence"}  # for variants marked oracle alone


@dataclass(frozen=True)
class Variant:
    """One way of asking, resolved against what it starts from.

    `none` is the template for the arm that tells no label; `None` where the variant has none.
    """

    name: str
    axis: str | None
    preserves_meaning: bool
    template: Template
    none: Template | None
    media: Literal["required", "optional"] = "required"
    oracle: bool = False
    schema: Mapping[str, Any] | None = None
    of: str | None = None

    def for_arm(self, arm: str) -> Template | None:
        """The template that asks in this arm."""
        return self.none if arm == "none" else self.template


@dataclass(frozen=True)
class Family:
    """One question with its aspects and variants, `base` first."""

    name: str
    question: str
    aspects: tuple[str, ...]
    variants: tuple[Variant, ...]
    gold: str
    language: str = "en"

    @property
    def hash(self) -> str:
        """SHA-256 of everything that its prompts are made from."""
        return digest(self)

    def variant(self, name: str) -> Variant:
        """The variant of this name; raises `HarnessError` with those there are."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = ", ".join(variant.name for variant in self.variants)
        raise HarnessError(f"family '{self.name}' has no variant '{name}'; it has {names}")


def load(folder: Path) -> Family:
    """The family in a folder; every template is parsed and its variables checked.

    Raises `HarnessError` naming file, line and field.
    """
    path = folder / "family.yaml"
    document = documents.read(path, "family")
    value = document.value
    files = {p: documents.read(p, "variant") for p in sorted(folder.glob("*.yaml")) if p != path}
    by_name: dict[str, documents.Document] = {}
    for variant in files.values():
        name = variant.value["variant"]
        if name == "base" or name in by_name:
            raise variant.error(("variant",), f"there is already a variant '{name}'")
        by_name[name] = variant
    for written in (document, *by_name.values()):
        _check_syntax(written)
        _check_format(written)
    base = Variant(
        name="base",
        axis=None,
        preserves_meaning=True,
        template=Template(value["user"], value.get("system"), _then(value)),
        none=_none_of_family(value),
        media=value.get("media", "required"),
        schema=value.get("format", {}).get("schema"),
    )
    resolved = {"base": base}
    for name in by_name:
        _resolve(name, by_name, resolved, ())
    for name, whole in resolved.items():
        _check_templates(by_name.get(name, document), whole)
    return Family(
        name=value["family"],
        question=value["question"],
        aspects=tuple(value["aspects"]),
        variants=(base, *(resolved[name] for name in by_name)),
        gold=value.get("gold", value["family"]),
        language=value.get("language", "en"),
    )


def names_gold(folder: Path) -> bool:
    """Whether the family in a folder names its gold, which must then be there; otherwise gold of
    the family's own name is taken where there is any."""
    return "gold" in documents.read(folder / "family.yaml").value


# --- loading ------------------------------------------------------------------------------


def _then(value: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(turn["user"] for turn in value.get("then", ()))


def _none_of_family(value: Mapping[str, Any]) -> Template | None:
    none = value.get("none", {})
    template = Template(
        none.get("user", value["user"]),
        none.get("system", value.get("system")),
        _then(none) or _then(value),
    )
    return None if template.variables & LABEL_VARIABLES else template


def _resolve(
    name: str,
    documents_by_name: Mapping[str, documents.Document],
    resolved: dict[str, Variant],
    above: tuple[str, ...],
) -> Variant:
    if name in resolved:
        return resolved[name]
    document = documents_by_name[name]
    value = document.value
    parent_name = value["of"]
    if parent_name in above or parent_name == name:
        raise document.error(("of",), f"'{name}' starts from itself")
    if parent_name != "base" and parent_name not in documents_by_name:
        raise document.error(("of",), f"there is no variant '{parent_name}' to start from")
    parent = _resolve(parent_name, documents_by_name, resolved, (*above, name))
    template = Template(
        value.get("user", parent.template.user),
        value.get("system", parent.template.system),
        _then(value) or parent.template.then,
        value.get("typos", parent.template.typos),
    )
    resolved[name] = Variant(
        name=name,
        of=parent_name,
        axis=value["axis"],
        preserves_meaning=value["preserves_meaning"],
        template=template,
        none=_none_of_variant(value, parent, template),
        media=value.get("media", parent.media),
        oracle=value.get("oracle", False),
        schema=value["format"]["schema"] if "format" in value else parent.schema,
    )
    return resolved[name]


def _none_of_variant(
    value: Mapping[str, Any], parent: Variant, template: Template
) -> Template | None:
    """The variant's own words for the arm `none`, so that it still differs from its parent."""
    own = value.get("none", {})
    if "user" in own:
        user: str | None = own["user"]
    elif "user" in value:
        user = value["user"]
    else:
        user = parent.none.user if parent.none is not None else None
    if user is None:
        return None
    inherited = parent.none.system if parent.none is not None else template.system
    system = own.get("system", value.get("system", inherited))
    none = Template(user, system, template.then, template.typos)
    return None if none.variables & LABEL_VARIABLES else none


def _check_format(document: documents.Document) -> None:
    """Raises for an answer's schema that is no JSON Schema."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    schema = document.value.get("format", {}).get("schema")
    if schema is None:
        return
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = ("format", "schema", *error.absolute_path)
        raise document.error(place, f"no JSON Schema: {error.message}") from error


def _check_syntax(document: documents.Document) -> None:
    """Raises for the first template in the file that Jinja2 cannot read."""
    value, none = document.value, document.value.get("none", {})
    places: list[tuple[documents.Place, str]] = [
        *((("none", field), none[field]) for field in ("system", "user") if field in none),
        *(((field,), value[field]) for field in ("system", "user") if field in value),
        *((("then", i, "user"), turn["user"]) for i, turn in enumerate(value.get("then", ()))),
    ]
    for place, source in places:
        try:
            variables_of(source)
        except HarnessError as error:
            raise document.error(place, str(error)) from error


def _check_templates(document: documents.Document, variant: Variant) -> None:
    for template in filter(None, (variant.template, variant.none)):
        fields = (
            ["system"] * (template.system is not None) + ["user"] + ["then"] * len(template.then)
        )
        for field, (_, source) in zip(fields, template.sources, strict=True):
            known = ORACLE_VARIABLES if variant.oracle else VARIABLES
            unknown = sorted(variables_of(source) - known)
            if unknown:
                raise document.error(
                    (field,),
                    f"the template of variant '{variant.name}' uses the undefined variable "
                    f"'{unknown[0]}'; there are {', '.join(sorted(known))}",
                )
