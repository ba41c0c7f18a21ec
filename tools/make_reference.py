"""Writes the reference pages that follow from the code: commands, files, parts, metrics, Python.

What is said there stands in argument parsers, JSON Schemas, docstrings and metric declarations
already; saying it twice by hand would make one of the two wrong. A test compares the committed
pages with what this makes.

    python tools/make_reference.py
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

from harness import cli, contracts, documents, pipeline, plugins, records
from harness import run as run_function
from harness.backends.control import Control
from harness.drawing.figure import Figure
from harness.explainers import lenses, pictures
from harness.explainers.explain import explain as explain_function
from harness.explainers.explanation import Explanation
from harness.explainers.lenses.lens import logit_lens, tuned_lens
from harness.explainers.lenses.readings import LensReading, LensReadings
from harness.explainers.lenses.tuned import TunedLens, train_tuned_lens
from harness.explainers.metrics.evaluate import evaluate as evaluate_function
from harness.explainers.metrics.evaluation import Evaluation, Measurement, MetricRow
from harness.explainers.metrics.roar import roar
from harness.explainers.pictures.curves import Curve, deletion_and_insertion
from harness.explainers.pictures.draw import draw
from harness.explainers.pictures.gallery import Concept, Crop, Excerpt, gallery
from harness.explainers.pictures.heat_map import Column, Entry, Row, heat_map
from harness.records import Metric
from harness.suite import CONTROLS, EVIDENCE_CONTROLS

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
NOTICE = "<!-- Made by tools/make_reference.py; change the code, not this page. -->"
KINDS = ("sources", "classifiers", "explainers", "units", "metrics", "backends", "scorers", "views")
FILES = {
    "suite": "A suite file",
    "family": "A prompt family: `family.yaml`",
    "variant": "A prompt variant: one file beside `family.yaml`",
    "gold": "A gold record",
}
Schema = Mapping[str, Any]


def pages() -> dict[str, str]:
    """Every generated page by file name."""
    return {
        "commands.md": page("Commands", commands()),
        "files.md": page("Files you write", files()),
        "parts.md": page("Built-in parts", parts()),
        "metrics.md": page("Metrics and controls", metrics()),
        "python.md": page("Python", python()),
    }


def page(title: str, blocks: Iterable[str]) -> str:
    """A Markdown page from its blocks."""
    return "\n\n".join([f"# {title}", NOTICE, *blocks]) + "\n"


# --- commands -----------------------------------------------------------------------------


def commands() -> Iterator[str]:
    """Every command with its arguments, as the parsers declare them."""
    yield (
        "`harness COMMAND --help` says the same. Exit codes and outcomes are on "
        "[a page of their own](outcomes.md)."
    )
    for name, about in cli.COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"harness {name}", add_help=False)
        importlib.import_module(f"harness.cli.{name}").add_arguments(parser)
        actions = parser._actions
        yield f"## harness {name}"
        yield f"{about[:1].upper()}{about[1:]}."
        synopsis = " ".join([f"harness {name}", *map(_synopsis, actions)])
        yield f"    {synopsis}"
        yield table(
            ("argument", "meaning", "default"),
            ((f"`{_spelled(a)}`", _meaning(a), _default(a)) for a in actions),
        )


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.metavar is not None:
        return str(action.metavar)
    if action.choices is not None and action.option_strings:
        return f"{{{','.join(map(str, action.choices))}}}"
    return action.dest.upper() if action.option_strings else action.dest


def _spelled(action: argparse.Action) -> str:
    return " ".join(filter(None, [", ".join(action.option_strings), _value(action)]))


def _synopsis(action: argparse.Action) -> str:
    optional = bool(action.option_strings) and not action.required
    return f"[{_spelled(action)}]" if optional or action.nargs == "?" else _spelled(action)


def _meaning(action: argparse.Action) -> str:
    listed = () if action.option_strings else action.choices or ()
    choices = ", ".join(f"`{choice}`" for choice in listed)
    return "; ".join(filter(None, [action.help, choices and f"one of {choices}"]))


def _default(action: argparse.Action) -> str:
    return "" if action.default in (None, False, []) else f"`{action.default}`"


# --- files --------------------------------------------------------------------------------


def files() -> Iterator[str]:
    """The fields of suites, families, variants and gold, as their schemas declare them."""
    yield (
        "Files are YAML or JSON, checked against these schemas; `harness schema NAME` prints one. "
        "An unknown field, a duplicate key and a wrong type are errors with file and line. "
        "`[]` stands for an entry of a list; a field in bold is required. Paths are relative to "
        "the file, `${NAME}` in a suite is taken from the environment."
    )
    for name, title in FILES.items():
        schema = documents.schema(name)
        yield f"## {title}"
        yield f"{schema['title']}." + (
            f" It is {schema['description']}." if "description" in schema else ""
        )
        yield table(
            ("field", "type", "meaning"),
            (
                (
                    f"**`{path}`**" if required else f"`{path}`",
                    _type(own),
                    own.get("description", ""),
                )
                for path, own, required in fields(schema, schema)
            ),
        )
    yield (
        "Every entry with a `kind` (and every model, with its `backend`) takes the fields of that "
        "part besides: see [built-in parts](parts.md)."
    )


def fields(schema: Schema, root: Schema, prefix: str = "") -> Iterator[tuple[str, Schema, bool]]:
    """Path, schema and necessity of every field; shared definitions are written out in place."""
    for name, given in schema.get("properties", {}).items():
        own = _resolved(given, root)
        path = f"{prefix}{name}"
        yield path, own, name in schema.get("required", ())
        for inner, ending in _inside(own, root):
            if inner.get("properties") and name != "kind":
                yield from fields(inner, root, f"{path}{ending}.")


def _inside(schema: Schema, root: Schema) -> Iterator[tuple[Schema, str]]:
    """The objects that a field may hold, with what their place adds to its path."""
    if schema.get("type") == "array" and "items" in schema:
        for inner, ending in _inside(_resolved(schema["items"], root), root):
            yield inner, f"[]{ending}"
        return
    for choice in schema.get("anyOf", (schema,)):
        choice = _resolved(choice, root)
        if choice.get("properties"):
            yield choice, ""


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema behind a reference; what stands beside the reference comes first."""
    if "$ref" not in schema:
        return schema
    target: Any = root
    for step in schema["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return "null" if schema["const"] is None else f"`{schema['const']}`"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(choice) for choice in schema["anyOf"]))
    kind = schema.get("type", "object")
    if kind == "array":
        items = schema.get("items", {})
        return f"list of {_type(items)}" if "$ref" not in items else "list of objects"
    words = kind if isinstance(kind, str) else " or ".join(kind)
    limits = [
        f"{sign} {schema[key]}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
        if key in schema
    ]
    return " ".join([words, *limits])


# --- parts --------------------------------------------------------------------------------


def parts() -> Iterator[str]:
    """Every built-in part with the fields it takes."""
    yield (
        "What a suite may name, and the fields that each takes. A field of a backend stands in the "
        "model's entry, that of another part beside its `kind`. `harness list KIND` also shows the "
        "parts that installed packages add; `./file.py:Class` and `package.module:Class` name one "
        "without packaging. What a part of your own must offer is on the [Python page](python.md)."
    )
    for kind in KINDS:
        yield f"## {kind.capitalize()}"
        for name, part in builtin(kind):
            yield f"### {kind.removesuffix('s')} `{name}`"
            yield docstring(part)
            yield from _options(part)
            if hasattr(part, "train"):
                yield "`harness train` trains it, with these fields in the suite's `train` entry."
                yield docstring(part.train)
                yield from _options(part.train)


def _options(function: Any) -> Iterator[str]:
    """The fields that a suite may give, with type and default."""
    # Told by the harness and not by the suite.
    ours = ("beside", "samples")
    taken = [p for p in inspect.signature(function).parameters.values() if p.name not in ours]
    if taken:
        yield table(
            ("field", "type", "default"),
            (
                (
                    f"`{parameter.name}`",
                    f"`{parameter.annotation}`",
                    "required"
                    if parameter.default is parameter.empty
                    else f"`{parameter.default!r}`",
                )
                for parameter in taken
            ),
        )


def builtin(kind: str) -> Iterator[tuple[str, Any]]:
    """The parts of a kind that come with the harness, by name."""
    for name, point in sorted(plugins.registered(kind).items()):
        if point.value.startswith("harness."):
            yield name, plugins.load(kind, name)


# --- metrics ------------------------------------------------------------------------------


def metrics() -> Iterator[str]:
    """Every metric of every built-in scorer, and the controls that test them."""
    yield (
        "A metric declares what it is as data: its range, which direction is better, and which "
        "control it promises to score above which other by more than a margin. In every run the "
        "promise is held against the controls; [controls and validity](../explanation/controls.md) "
        "says how. A baseline is what a measure of truth has to beat, and promises nothing. "
        "Reports, verdicts and `harness show` put the title before the id: *required claims stated "
        "(claims.recall_vs_true)*."
    )
    for name, part in builtin("scorers"):
        yield f"## {name}"
        yield docstring(part)
        yield table(
            ("metric", "title", "what it is", "of", "range", "better", "separates"),
            (
                (f"`{metric.name}`", metric.title, metric.about, _subject(metric), _range(metric),
                 metric.direction or "neither", _separates(metric))
                for metric in part.metrics
            ),
        )  # fmt: skip
    yield "## Metrics of attributions"
    yield (
        "What an attribution is worth, measured by `harness.evaluate` and `harness explain --best` "
        "beside attributions that know nothing. [Parts](parts.md#metrics) has the settings and "
        "sources of each."
    )
    yield table(
        ("metric", "title", "family", "what it is", "range", "better"),
        (
            (f"`{name}`", part.metric.title, part.family, part.metric.about, _range(part.metric),
             part.metric.direction or "neither")
            for name, part in builtin("metrics")
        ),
    )  # fmt: skip
    yield "## Controls"
    yield (
        f"`controls: all` asks {', '.join(f'`{name}`' for name in CONTROLS)}; where the suite has "
        f"an `explain` entry, {' and '.join(f'`{name}`' for name in EVIDENCE_CONTROLS)} too."
    )
    yield docstring(Control)


def _subject(metric: Metric) -> str:
    marks = [f"a {metric.subject}" + (f" along {metric.axis}" if metric.axis else "")]
    marks += ["baseline"] if metric.baseline else []
    marks += [f"headline for {metric.headline}"] if metric.headline else []
    if metric.balanced:
        marks.append(f"balanced over {metric.balanced[1]} within {metric.balanced[0]}")
    return "; ".join(marks)


def _range(metric: Metric) -> str:
    low, high = ("open" if end is None else f"{end:g}" for end in metric.range)
    return f"{low} to {high}"


def _separates(metric: Metric) -> str:
    return "; ".join(f"{s.better} from {s.worse} by {s.margin:g}" for s in metric.separates)


# --- Python -------------------------------------------------------------------------------


def python() -> Iterator[str]:
    """The public API: running, what parts must offer, the records."""
    yield "## Running"
    yield f"### harness.run{inspect.signature(run_function)}".replace("'", "")
    yield docstring(run_function)
    yield f"### harness.pipeline.run{_keywords(pipeline.run)}"
    yield docstring(pipeline.run)
    yield f"### harness.explain{_keywords(explain_function)}"
    yield docstring(explain_function)
    yield f"### harness.evaluate{_keywords(evaluate_function)}"
    yield docstring(evaluate_function)
    for kind in (Evaluation, MetricRow, Measurement):
        yield f"### {kind.__name__}"
        yield docstring(kind)
        yield from _methods(kind)
    yield f"### harness.explainers.metrics.roar.roar{_keywords(roar)}"
    yield docstring(roar)
    yield "### Explanation"
    yield docstring(Explanation)
    yield from _methods(Explanation)
    yield "### RunResult"
    yield docstring(pipeline.RunResult)
    yield table(
        ("attribute", "meaning"),
        [
            *((f"`{f.name}`", f"`{f.type}`") for f in dataclasses.fields(pipeline.RunResult)),
            *(
                (f"`{name}`", docstring(member))
                for name, member in vars(pipeline.RunResult).items()
                if isinstance(member, property)
            ),
        ],
    )
    yield "## Lenses"
    yield docstring(lenses)
    for function in (logit_lens, train_tuned_lens, tuned_lens):
        yield f"### {function.__module__}.{function.__name__}{_keywords(function)}"
        yield docstring(function)
    for kind in (LensReading, LensReadings, TunedLens):
        yield f"### {kind.__name__}"
        yield docstring(kind)
        yield from _methods(kind)
    yield "## Pictures"
    yield docstring(pictures)
    for function in (draw, deletion_and_insertion, heat_map, gallery):
        yield f"### {function.__module__}.{function.__name__}{_keywords(function)}"
        yield docstring(function)
    for kind in (Figure, Curve, Column, Entry, Row, Concept, Excerpt, Crop):
        yield f"### {kind.__name__}{_keywords(kind)}"
        yield docstring(kind)
        yield from _methods(kind)
    yield "## What parts must offer"
    yield docstring(contracts)
    for name, member in _own(contracts):
        yield f"### {name}"
        yield docstring(member)
        yield from _attributes(member)
        yield from _methods(member)
    yield "## Records"
    yield docstring(records)
    for name, member in _own(records):
        yield f"### {name}"
        yield docstring(member)
        if dataclasses.is_dataclass(member):
            yield table(
                ("field", "type", "default"),
                ((f"`{f.name}`", f"`{f.type}`", _field_default(f))
                 for f in dataclasses.fields(member)),
            )  # fmt: skip


def _own(module: Any) -> Iterator[tuple[str, Any]]:
    for name, member in vars(module).items():
        if inspect.isclass(member) and member.__module__ == module.__name__:
            yield name, member


def _attributes(kind: Any) -> Iterator[str]:
    """The attributes that a protocol asks for, with their types, in one line."""
    found = {
        name: inspect.signature(member.fget).return_annotation
        for name, member in vars(kind).items()
        if isinstance(member, property)
    }
    types = {**vars(kind).get("__annotations__", {}), **found}
    if types:
        named = [f"`{name}: {type_}`" for name, type_ in types.items()]
        yield f"Attributes: {', '.join(named)}"


def _methods(kind: Any) -> Iterator[str]:
    """The public methods of a class, a line each."""
    methods = [
        f"- {': '.join(filter(None, [f'`{method}{_plain(function)}`', docstring(function)]))}"
        for method, function in vars(kind).items()
        if isinstance(function, FunctionType | staticmethod) and not method.startswith("_")
    ]
    if methods:
        yield "Methods:"
        yield "\n".join(methods)


def _keywords(function: Any) -> str:
    """The parameters by name, with the stars that say how they are given."""
    names, by_name = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not by_name:
            names.append("*")
        by_name |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        names.append(star + parameter.name)
    return f"({', '.join(names)})"


def _plain(function: Any) -> str:
    return re.sub(r"self(, )?", "", str(inspect.signature(function)), count=1).replace("'", "")


def _field_default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    return "required" if field.default_factory is dataclasses.MISSING else "empty"


# --- Markdown -----------------------------------------------------------------------------


def docstring(subject: Any) -> str:
    """A docstring as Markdown; empty where there is none of its own."""
    return inspect.cleandoc(subject.__doc__ or "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar or a line break inside a cell would end it."""
    written = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in row)} |"
        for row in written
    )


def main() -> None:
    """Writes the pages."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
        print(REFERENCE / name)


if __name__ == "__main__":
    main()
