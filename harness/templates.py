"""Renders one way of asking into messages, and records where each variable stands in them.

Templates run in Jinja2's sandbox. Fixed text can be mistyped on purpose; values never are.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.identity import draw
from harness.records import HarnessError, Media, Message, Part, Role, Span


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
        return frozenset().union(*(variables_of(source) for _, source in self.sources))


@dataclass(frozen=True)
class Rendered:
    """The messages of one turn, and where the variables stand in them.

    What a loop or an assignment names stands for the variables it is made of. Of a value that holds
    media each part has a span: a medium's has no characters.
    """

    messages: tuple[Message, ...]
    spans: tuple[Span, ...]


def render(template: Template, context: Mapping[str, Any], seed_name: str = "") -> list[Rendered]:
    """What the template says in this context, one `Rendered` a turn.

    The first holds system and user message, the later ones one user message each; spans count
    messages over all turns with the assistant's answers between them. `context["input"]` is a
    tuple of `Part`. Raises `HarnessError` for an undefined variable, a syntax error, and a filter
    that is unknown or fails.
    """
    media: list[Media] = []
    names: list[str] = []
    values = dict(context)
    if "input" in values:
        values["input"] = _input_text(values["input"], media)
    plain = not _hold_control_characters(values)
    first: list[Message] = []
    turns: list[Rendered] = []
    spans: list[Span] = []
    count = 0
    for role, source in template.sources:
        compiled = _compiled(source, template.typos, seed_name)
        names.clear()
        text = _run(compiled, values, names, source)
        message, found = _message(role, text, names, media, count)
        if plain and any(_BROKEN.search(part.text) for part in message.parts):
            raise HarnessError(_CUT)
        spans.extend(found)
        count += 1
        first.append(message)
        if role == "user":
            turns.append(Rendered(tuple(first), tuple(spans)))
            first, spans = [], []
            count += 1  # the assistant's answer
    return turns


# Control characters and a number drawn anew in every process stand around each value while a
# template runs, so nothing that a value holds can be taken for a mark.
_NONCE = str(secrets.randbelow(10**12))
_OPEN, _CLOSE = f"\x02{_NONCE}:", f"\x02{_NONCE}/\x03"
_BROKEN = re.compile("[\x02\x03]")
_CUT = (
    "a filter cuts a picture or a printed value in two; print the input whole, and apply filters "
    "to values, not to blocks"
)
_MARK = re.compile(f"\x02{_NONCE}(?::(?P<open>[0-9]+)|m(?P<media>[0-9]+)|(?P<close>/))\x03")


@cache
def _environment(typos: float = 0.0, seed_name: str = "") -> Any:
    from jinja2 import StrictUndefined, nodes, pass_context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """Marks every value that a template prints, and mistypes its fixed text where asked."""

        intercepted_binops = frozenset(("*", "**"))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            """Arithmetic on numbers; a text times a billion would fill the memory."""
            if not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
                raise TypeError(f"'{operator}' is for numbers alone")
            if operator == "**" and abs(right) > 64:
                raise ValueError("the exponent is too large")
            found = super().call_binop(context, operator, left, right)
            if isinstance(found, int) and found.bit_length() > 4096:  # of a power of a power
                raise ValueError("the number is too large")
            return found

        def _parse(self, source: str, name: Any, filename: Any) -> nodes.Template:
            tree = super()._parse(source, name, filename)
            made_of = _made_of(tree)
            for output in tree.find_all(nodes.Output):
                for i, child in enumerate(output.nodes):
                    if isinstance(child, nodes.TemplateData):
                        if typos:
                            child.data = mistype(child.data, typos, f"{seed_name}/{i}/{source}")
                    else:
                        used = {child.name} if isinstance(child, nodes.Name) else set()
                        used |= {node.name for node in child.find_all(nodes.Name)}
                        names = sorted({own for one in used for own in made_of.get(one, {one})})
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


def _made_of(tree: Any) -> dict[str, set[str]]:
    """The variables behind each name that the template gives itself, in a loop or by `set`."""
    from jinja2 import nodes

    behind: dict[str, set[str]] = {"loop": set()}
    for node in tree.find_all((nodes.For, nodes.Assign)):
        source = node.iter if isinstance(node, nodes.For) else node.node
        made = {source.name} if isinstance(source, nodes.Name) else set()
        made |= {name.name for name in source.find_all(nodes.Name)}
        made = {own for name in made for own in behind.get(name, {name})}
        targets = [node.target] if isinstance(node.target, nodes.Name) else []
        for target in (*targets, *node.target.find_all(nodes.Name)):
            behind.setdefault(target.name, set()).update(made)
    return behind


@cache
def _compiled(source: str, typos: float, seed_name: str) -> Any:
    variables_of(source)  # raises for what is no template
    return _environment(typos, seed_name).from_string(source)


@cache
def variables_of(source: str) -> frozenset[str]:
    from jinja2 import TemplateSyntaxError, meta

    try:
        return frozenset(meta.find_undeclared_variables(_environment().parse(source)) - {"range"})
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


def _hold_control_characters(values: Mapping[str, Any]) -> bool:
    """Whether a value or a class name holds a character of marks; else one in a message is left of
    a mark that a filter broke."""
    texts = [v for v in values.values() if isinstance(v, str)]
    texts += [str(name) for v in values.values() if isinstance(v, Mapping) for name in v]
    return any(_BROKEN.search(_MARK.sub("", text)) for text in texts)


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
        else:
            spans[:] = [span for span in spans if span.part != len(parts)]
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
        elif not open_marks:
            raise HarnessError(_CUT)
        else:
            variable, part, start = open_marks.pop()
            if variable:
                for place in range(part, len(parts)):  # the value held media, and text before them
                    end = len(parts[place].text)
                    spans.append(Span(variable, number, place, min(start, end), end))
                    start = 0
                if part == len(parts) or plain:
                    spans.append(Span(variable, number, len(parts), start, len(plain)))
    plain += text[position:]
    if open_marks or "\x02" + _NONCE in plain:
        raise HarnessError(_CUT)
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
