"""Templates see what the arm tells and nothing else; spans say where it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import prompts
from harness.prompts import Template, render
from harness.records import HarnessError, Media, Part

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


def family(folder: Path, text: str, **variants: str) -> prompts.Family:
    (folder / "family.yaml").write_text(text)
    for name, variant in variants.items():
        (folder / f"{name}.yaml").write_text(variant)
    return prompts.load(folder)


BASE = """
family: f
question: Why?
aspects: [causes]
user: "Finding: {{ label }}. Explain its {{ aspect }}."
"""


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


def test_an_undefined_variable_is_an_error_when_the_family_is_loaded(tmp_path: Path) -> None:
    variant = 'variant: v\nof: base\naxis: wording\npreserves_meaning: true\nuser: "{{ lable }}"\n'
    with pytest.raises(HarnessError, match=r"v\.yaml:5: user: .*undefined variable 'lable'"):
        family(tmp_path, BASE, v=variant)


def test_gold_evidence_is_for_oracle_variants_alone(tmp_path: Path) -> None:
    oracle = (
        "variant: o\nof: base\naxis: detail\npreserves_meaning: false\noracle: true\n"
        "user: '{{ label }}: {{ gold_evidence }}'\n"
    )
    assert family(tmp_path, BASE, o=oracle).variant("o").oracle
    with pytest.raises(HarnessError, match="undefined variable 'gold_evidence'"):
        family(tmp_path, BASE, o=oracle.replace("oracle: true\n", ""))


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"family\.yaml:5: user: line 1 of the template"):
        family(tmp_path, BASE.replace("{{ label }}", "{{ label "))


def test_a_variant_overrides_only_what_it_changes(tmp_path: Path) -> None:
    persona = "variant: p\nof: base\naxis: persona\npreserves_meaning: true\nsystem: Be kind.\n"
    both = "variant: q\nof: p\naxis: noise\npreserves_meaning: true\ntypos: 0.3\n"
    loaded = family(tmp_path, BASE, p=persona, q=both)
    base, p, q = (loaded.variant(name).template for name in ("base", "p", "q"))
    assert (p.user, p.system) == (base.user, "Be kind.")
    assert (q.user, q.system, q.typos) == (base.user, "Be kind.", 0.3)


def test_a_variant_that_starts_from_itself_is_refused(tmp_path: Path) -> None:
    a = "variant: a\nof: b\naxis: wording\npreserves_meaning: true\n"
    b = "variant: b\nof: a\naxis: wording\npreserves_meaning: true\n"
    with pytest.raises(HarnessError, match="starts from itself"):
        family(tmp_path, BASE, a=a, b=b)


def test_the_arm_none_never_tells_a_label(tmp_path: Path) -> None:
    loaded = family(tmp_path, BASE + "none: {user: 'What is it? {{ input }}'}\n")
    template = loaded.variant("base").none
    assert template is not None
    assert not template.variables & prompts.LABEL_VARIABLES
    without = tmp_path / "without"
    without.mkdir()
    assert family(without, BASE).variant("base").none is None


def test_typing_errors_hit_words_of_the_template_and_never_a_value() -> None:
    source = "Please explain thoroughly and carefully the probable reasons behind {{ label }} today"
    text = render(Template(source, typos=0.5), CONTEXT, "seed")[0].messages[0].text
    assert "gastritis" in text
    clean = source.replace("{{ label }}", "gastritis").split()
    changed = [a for a, b in zip(clean, text.split(), strict=True) if a != b]
    assert 2 <= len(changed) <= 8
    assert text == render(Template(source, typos=0.5), CONTEXT, "seed")[0].messages[0].text
    assert text != render(Template(source, typos=0.5), CONTEXT, "other")[0].messages[0].text


def test_the_medical_family_has_its_axes_and_loads() -> None:
    loaded = prompts.load(Path(prompts.__file__).parent.parent / "prompts" / "gi")
    axes = {variant.axis for variant in loaded.variants if variant.axis}
    assert len(loaded.variants) >= 8
    assert sum(v.preserves_meaning for v in loaded.variants) >= 5
    assert {"wording", "persona", "order", "format", "detail", "noise", "pressure"} <= axes
    assert loaded.aspects == ("causes", "symptoms", "treatment", "lifestyle", "follow-up")
    assert json.dumps(loaded.variant("json").schema)
