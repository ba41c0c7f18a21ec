"""Templates print values as they are, say where they stand, and reach nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import HarnessError, Media, Part
from harness.templates import Template, render

CONTEXT: dict[str, Any] = {
    "id": "ab12",
    "input": (Part("a note"),),
    "label": "gastritis",
    "probability": 0.8333,
    "probabilities": {"gastritis": 0.8333, "indigestion": 0.1667},
    "aspect": "causes",
    "question": "Why?",
    "language": "en",
}


def test_spans_say_where_each_variable_stands() -> None:
    template = Template(
        "Finding: {{ label }} ({{ probability | round(2) }}).\n{{ input }} {{ aspect | upper }}",
        "Language: {{ language }}",
    )
    turn = render(template, CONTEXT)[0]
    found = {
        span.variable: turn.messages[span.message].parts[span.part].text[span.start : span.end]
        for span in turn.spans
    }
    assert found == {
        "language": "en", "label": "gastritis", "probability": "0.83", "input": "a note",
        "aspect": "CAUSES",
    }  # fmt: skip


@given(st.text(max_size=40), st.text(max_size=20))
def test_spans_hold_whatever_the_values_are(note: str, label: str) -> None:
    context = {**CONTEXT, "input": (Part(note),), "label": label}
    turn = render(Template("A {{ label }} B {{ input }} C"), context)[0]
    text = turn.messages[0].text
    spans = {span.variable: text[span.start : span.end] for span in turn.spans}
    assert text == f"A {label} B {note} C"
    assert spans == {"label": label, "input": note}


def test_a_value_that_looks_like_a_template_is_printed_not_run() -> None:
    context = {**CONTEXT, "input": (Part("{{ label }} {% raw %}"),)}
    assert render(Template("{{ input }}"), context)[0].messages[0].text == "{{ label }} {% raw %}"


def test_a_value_that_holds_marks_as_rendering_makes_them_is_printed_as_it_is() -> None:
    marks = "".join(f"a\x02{n}:0\x03b\x02{n}m0\x03c\x02{n}/\x03" for n in ("", 0, 1, 12345))
    context = {**CONTEXT, "input": (Part(marks), Part(media=Media("ab", "image/png", data=b"")))}
    first, second = render(Template("{{ input }}"), context)[0].messages[0].parts
    assert first.text.rstrip() == marks
    assert second.media is not None


@pytest.mark.parametrize(
    "cut", ["truncate(5, true, '', 0)", "list | first", "upper", "replace('m', '')", "reverse"]
)
def test_a_filter_that_breaks_a_picture_is_refused_and_no_half_mark_is_sent(cut: str) -> None:
    context = {**CONTEXT, "input": (Part(media=Media("ab", "image/png", data=b"")),)}
    source = f"Look: {{{{ input | {cut} }}}}"
    with pytest.raises(HarnessError, match="cuts a picture or a printed value in two"):
        render(Template(source), context)
    assert render(Template("{{ 'A picture' if input }} {{ input }}"), context)
    text = {**CONTEXT, "input": (Part("no picture, \x02 at all"),)}
    assert render(Template(source), text)


@pytest.mark.parametrize(
    "source",
    [
        "{% filter truncate(9, true, '', 0) %}{{ label }}{% endfilter %}",
        "{% filter truncate(30, true, '', 0) %}{{ label }} and more of it{% endfilter %}",
        "{% filter reverse %}{{ label }}{% endfilter %}",
        "{% set told %}{{ label }}{% endset %}{{ told[25:] }}",
        "{% set told %}{{ label }}{% endset %}{{ told | first }}",
        "{% macro told() %}{{ label }}{% endmacro %}{{ told() | truncate(9, true, '', 0) }}",
    ],
)
def test_a_filter_that_cuts_what_was_printed_is_refused(source: str) -> None:
    with pytest.raises(HarnessError, match="cuts a picture or a printed value in two"):
        render(Template(source), CONTEXT)


def test_a_value_may_hold_the_characters_that_marks_are_made_of() -> None:
    odd = "a\x02b\x03c"
    for values in ({"label": odd}, {"input": (Part(odd),)}, {"probabilities": {odd: 1.0}}):
        context = {**CONTEXT, **values}
        source = "{{ label }} {{ input }} {% for name in probabilities %}{{ name }}{% endfor %}"
        assert odd in render(Template(source), context)[0].messages[0].text


def test_a_filter_that_leaves_values_whole_may_go_over_a_block() -> None:
    source = "{% filter upper | trim %} told {{ label }} {% endfilter %}"
    turn = render(Template(source), CONTEXT)[0]
    assert turn.messages[0].text == "TOLD GASTRITIS"
    assert [(s.start, s.end) for s in turn.spans] == [(5, 14)]


def test_a_picture_becomes_a_content_part_where_the_input_stands() -> None:
    picture = Media("ab", "image/png", data=b"")
    context = {**CONTEXT, "input": (Part(media=picture),)}
    parts = render(Template("Look:\n{{ input }}\nWhat is it?"), context)[0].messages[0].parts
    assert [part.media is not None for part in parts] == [False, True, False]
    assert parts[1].media == picture


def test_later_turns_are_messages_of_their_own() -> None:
    turns = render(Template("{{ label }}?", "S", ("Sure about {{ label }}?",)), CONTEXT)
    assert [[m.role for m in turn.messages] for turn in turns] == [["system", "user"], ["user"]]
    assert turns[1].messages[0].text == "Sure about gastritis?"
    assert turns[1].spans[0].message == 3  # after system, user and the assistant's answer


@pytest.mark.parametrize(
    "source",
    [
        "{{ true_label }}",
        "{{ sample.label }}",
        "{{ evidence }}",
        "{{ gold }}",
        "{{ label.__class__.__mro__[1].__subclasses__() }}",
        "{{ self._TemplateReference__context.parent }}",
        "{{ input.__globals__ }}",
        "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
        "{{ lipsum() }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ probabilities.update({'a': 1}) }}",
        "{% include 'secret' %}",
    ],
)
def test_a_template_cannot_reach_beyond_its_context(source: str) -> None:
    with pytest.raises(HarnessError):
        render(Template(source), CONTEXT)


def test_typing_errors_hit_words_of_the_template_and_never_a_value() -> None:
    source = "Please explain thoroughly and carefully the probable reasons behind {{ label }} today"
    text = render(Template(source, typos=0.5), CONTEXT, "seed")[0].messages[0].text
    assert "gastritis" in text
    clean = source.replace("{{ label }}", "gastritis").split()
    changed = [a for a, b in zip(clean, text.split(), strict=True) if a != b]
    assert 2 <= len(changed) <= 8
    assert text == render(Template(source, typos=0.5), CONTEXT, "seed")[0].messages[0].text
    assert text != render(Template(source, typos=0.5), CONTEXT, "other")[0].messages[0].text


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 10**9 }}",
        "{{ [1] * 10**9 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ 2 ** 65 }}",
        "{{ 2 ** -65 }}",
        "{% set n = 10 ** 1000 %}{{ label }}",
        "{{ ((9 ** 64) ** 64) ** 64 }}",
        "{% set a = 9 ** 64 %}{% set b = a * a * a * a %}{{ b * b * b * b * b * b }}",
    ],
)
def test_a_template_cannot_fill_the_memory(source: str) -> None:
    with pytest.raises(HarnessError, match="is for numbers alone|is too large"):
        render(Template(source), CONTEXT)
    assert render(Template("{{ 100 * probability }} {{ '%.1f' % probability }}"), CONTEXT)
    assert render(Template("{{ 2 ** 64 }}"), CONTEXT)[0].messages[0].text == str(2**64)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ['first', 'then'] | random }}",
        "{% for name in probabilities if name | random %}{{ name }}{% endfor %}",
        "{{ ['first', 'then'] | map('random') | join }}",
        "{{ lipsum(n=1) }}",
    ],
)
def test_a_template_cannot_draw_lots(source: str) -> None:
    with pytest.raises(HarnessError):
        render(Template(source), CONTEXT)


def spans_of(source: str, **values: Any) -> list[tuple[str, int, str]]:
    """Variable, part and characters of each span of a template's only message."""
    turn = render(Template(source), {**CONTEXT, **values})[0]
    parts = turn.messages[0].parts
    return [(s.variable, s.part, parts[s.part].text[s.start : s.end]) for s in turn.spans]


def test_what_a_loop_names_is_part_of_what_it_goes_over() -> None:
    loop = "{% for name, p in probabilities.items() %}{{ loop.index }}. {{ name }}: {{ p }}; {% endfor %}"
    assert spans_of(loop) == [
        ("probabilities", 0, "gastritis"), ("probabilities", 0, "0.8333"),
        ("probabilities", 0, "indigestion"), ("probabilities", 0, "0.1667"),
    ]  # fmt: skip
    assert spans_of("{% set told = label | upper %}{{ told }}") == [("label", 0, "GASTRITIS")]
    nested = "{% set p = probabilities %}{% for n in p %}{{ n | upper }}{{ aspect }} {% endfor %}"
    assert {name for name, _, _ in spans_of(nested)} == {"probabilities", "aspect"}


def test_every_part_of_a_value_that_holds_pictures_has_a_span() -> None:
    picture = Part(media=Media("ab", "image/png", data=b""))
    found = spans_of(
        "See: {{ input }} Why {{ label }}?", input=(Part("old"), picture, picture, Part("new"))
    )
    assert found == [
        ("input", 0, "old\n"), ("input", 1, ""), ("input", 2, ""), ("input", 3, "\nnew"), ("label", 3, "gastritis"),
    ]  # fmt: skip
    assert spans_of("{{ input }} Why?", input=(picture,)) == [("input", 0, "")]
    assert spans_of("{{ input }}", input=(picture, Part(" "), picture)) == [
        ("input", 0, ""),
        ("input", 1, ""),
    ]
