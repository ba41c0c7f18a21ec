"""Loads prompt families and renders them into messages.

A family is a folder: `family.yaml` and one file a variant, which overrides only what it changes.
Templates run in Jinja2's sandbox and see an opaque id, the input, and what the arm tells: the
true label and the evidence do not exist in their context. The renderer records where each
variable stands in the prompt.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from harness import documents
from harness.identity import digest, draw
from harness.records import HarnessError, Media, Message, Part, Role, Span

LABEL_VARIABLES = frozenset({"label", "probability", "probabilities"})
VARIABLES = LABEL_VARIABLES | {"id", "input", "aspect", "evidence_summary", "question", "language"}
ORACLE_VARIABLES = VARIABLES | {"gold_evidence"}  # for variants marked oracle alone


@dataclass(frozen=True)
class Template:
    """The texts of one way of asking: Jinja2 source of system, user and later user turns."""

    user: str
    system: str | None = None
    then: tuple[str, ...] = ()
    typos: float = 0.0

    @property
    def sources(self) -> tuple[tuple[Role, str], ...]:
        """Role and source of every message that the template writes."""
        first: tuple[tuple[Role, str], ...] = (("user", self.user),)
        if self.system is not None:
            first = (("system", self.system), *first)
        return (*first, *(("user", text) for text in self.then))

    @property
    def variables(self) -> frozenset[str]:
        """The names that the template uses."""
        return frozenset().union(*(_variables(source) for _, source in self.sources))


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


@dataclass(frozen=True)
class Rendered:
    """The messages of one turn, and where the variables stand in them."""

    messages: tuple[Message, ...]
    spans: tuple[Span, ...]


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


def render(template: Template, context: Mapping[str, Any], seed_name: str = "") -> list[Rendered]:
    """What the template says in this context, one `Rendered` a turn.

    The first holds system and user message, the later ones one user message each; spans count
    messages over all turns with the assistant's answers between them. `context["input"]` is a
    tuple of `Part`. Raises `HarnessError` for an undefined variable or a failing filter.
    """
    media: list[Media] = []
    names: list[str] = []
    values = dict(context)
    if "input" in values:
        values["input"] = _input_text(values["input"], media)
    first: list[Message] = []
    turns: list[Rendered] = []
    spans: list[Span] = []
    count = 0
    for role, source in template.sources:
        compiled = _compiled(source, template.typos, seed_name)
        names.clear()
        text = _run(compiled, values, names, source)
        message, found = _message(role, text, names, media, count)
        spans.extend(found)
        count += 1
        first.append(message)
        if role == "user":
            turns.append(Rendered(tuple(first), tuple(spans)))
            first, spans = [], []
            count += 1  # the assistant's answer
    return turns


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
            _variables(source)
        except HarnessError as error:
            raise document.error(place, str(error)) from error


def _check_templates(document: documents.Document, variant: Variant) -> None:
    for template in filter(None, (variant.template, variant.none)):
        fields = (
            ["system"] * (template.system is not None) + ["user"] + ["then"] * len(template.then)
        )
        for field, (_, source) in zip(fields, template.sources, strict=True):
            known = ORACLE_VARIABLES if variant.oracle else VARIABLES
            unknown = sorted(_variables(source) - known)
            if unknown:
                raise document.error(
                    (field,),
                    f"the template of variant '{variant.name}' uses the undefined variable "
                    f"'{unknown[0]}'; there are {', '.join(sorted(known))}",
                )


# --- rendering ----------------------------------------------------------------------------

# Control characters and a number drawn anew in every process stand around each value while a
# template runs, so nothing that a value holds can be taken for a mark.
_NONCE = str(secrets.randbelow(10**12))
_OPEN, _CLOSE = f"\x02{_NONCE}:", f"\x02{_NONCE}/\x03"
_MARK = re.compile(f"\x02{_NONCE}(?::(?P<open>[0-9]+)|m(?P<media>[0-9]+)|(?P<close>/))\x03")


@cache
def _environment(typos: float = 0.0, seed_name: str = "") -> Any:
    from jinja2 import StrictUndefined, nodes, pass_context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """Marks every value that a template prints, and mistypes its fixed text where asked."""

        def _parse(self, source: str, name: Any, filename: Any) -> nodes.Template:
            tree = super()._parse(source, name, filename)
            for output in tree.find_all(nodes.Output):
                for i, child in enumerate(output.nodes):
                    if isinstance(child, nodes.TemplateData):
                        if typos:
                            child.data = mistype(child.data, typos, f"{seed_name}/{i}/{source}")
                    else:
                        names = sorted({node.name for node in child.find_all(nodes.Name)})
                        if isinstance(child, nodes.Name):
                            names = [child.name]
                        arguments = [nodes.Const(" ".join(names))]
                        output.nodes[i] = nodes.Filter(child, "_mark", arguments, [], None, None)
            return tree

    @pass_context
    def mark(context: Any, value: Any, names: str) -> str:
        spans = context["_spans"]
        if isinstance(value, StrictUndefined):
            str(value)  # raises jinja2.UndefinedError with the variable's name
        spans.append(names)
        return f"{_OPEN}{len(spans) - 1}\x03{value}{_CLOSE}"

    environment = Environment(undefined=StrictUndefined, autoescape=False)
    environment.globals = {"range": environment.globals["range"]}  # lipsum and the like draw lots
    del environment.filters["random"]
    environment.filters["_mark"] = mark
    return environment


@cache
def _compiled(source: str, typos: float, seed_name: str) -> Any:
    return _environment(typos, seed_name).from_string(source)


@cache
def _variables(source: str) -> frozenset[str]:
    from jinja2 import TemplateSyntaxError, meta

    try:
        return frozenset(
            meta.find_undeclared_variables(_environment().parse(source)) - {"_spans", "range"}
        )
    except TemplateSyntaxError as error:
        raise HarnessError(f"line {error.lineno} of the template: {error.message}") from error


def _run(compiled: Any, values: dict[str, Any], names: list[str], source: str) -> str:
    from jinja2 import TemplateError

    try:
        return str(compiled.render(values, _spans=names)).strip()
    except TemplateError as error:
        raise HarnessError(f"template '{_start(source)}': {error.message}") from error
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise HarnessError(f"template '{_start(source)}': {error}") from error


def _start(source: str) -> str:
    line = source.strip().splitlines()[0] if source.strip() else ""
    return line if len(line) <= 50 else line[:47] + "..."


def _input_text(parts: tuple[Part, ...], media: list[Media]) -> str:
    pieces = []
    for part in parts:
        if part.media is None:
            pieces.append(part.text)
        else:
            media.append(part.media)
            pieces.append(f"\x02{_NONCE}m{len(media) - 1}\x03")
    return "\n".join(pieces)


def _message(
    role: Role, text: str, names: list[str], media: list[Media], number: int
) -> tuple[Message, list[Span]]:
    """Takes the marks out of a rendered text: parts and spans remain."""
    parts: list[Part] = []
    spans: list[Span] = []
    open_marks: list[tuple[str, int, int]] = []
    plain = ""

    def close_part() -> None:
        nonlocal plain
        if plain.strip():
            parts.append(Part(plain))
        plain = ""

    position = 0
    for match in _MARK.finditer(text):
        plain += text[position : match.start()]
        position = match.end()
        if match["open"] is not None:
            open_marks.append((names[int(match["open"])], len(parts), len(plain)))
        elif match["media"] is not None:
            close_part()
            parts.append(Part(media=media[int(match["media"])]))
        else:
            variable, part, start = open_marks.pop()
            if part == len(parts) and variable:
                spans.append(Span(variable, number, part, start, len(plain)))
            elif variable:  # the value held media: the span is the part that the medium is
                spans.append(Span(variable, number, len(parts) - 1, 0, 0))
    plain += text[position:]
    if "\x02" + _NONCE in plain:
        raise HarnessError("a template cuts its input with a filter; print it whole")
    close_part()
    return Message(role, tuple(parts) or (Part(""),)), sorted(
        spans, key=lambda s: (s.part, s.start)
    )


def mistype(text: str, rate: float, seed: str) -> str:
    """The text with typing errors in this share of its words of four letters and more.

    An error is a swap of neighbours, a lost letter or a doubled one, inside the word; which words
    and which errors follows from `seed` alone.
    """

    def spoil(match: re.Match[str]) -> str:
        word = match[0]
        if draw(seed, match.start(), "typo") >= rate:
            return word
        place = 1 + int(draw(seed, match.start(), "place") * (len(word) - 2))
        kind = int(draw(seed, match.start(), "kind") * 3)
        if kind == 0 and word[place] != word[place + 1]:
            return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        if kind == 1:
            return word[:place] + word[place + 1 :]
        return word[: place + 1] + word[place:]

    return re.sub(r"[A-Za-z]{4,}", spoil, text)
