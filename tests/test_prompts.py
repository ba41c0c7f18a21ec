"""A family's files become variants, and what they may not say is told with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import prompts
from harness.records import HarnessError


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


def test_what_the_arm_without_a_label_is_asked_is_checked_as_well(tmp_path: Path) -> None:
    for none in ("{{ lable }}", "{{ gold_evidence }}"):
        with pytest.raises(HarnessError, match="undefined variable"):
            family(tmp_path, BASE + f"none: {{user: 'What? {none}'}}\n")
        variant = "variant: v\nof: base\naxis: wording\npreserves_meaning: true\n"
        with pytest.raises(HarnessError, match="variant 'v' uses the undefined variable"):
            family(tmp_path, BASE, v=f"{variant}none: {{user: 'What? {none}'}}\n")
        (tmp_path / "v.yaml").unlink()


def test_what_starts_from_an_oracle_is_none_unless_it_says_so(tmp_path: Path) -> None:
    head = "axis: detail\npreserves_meaning: false\n"
    oracle = f"variant: o\nof: base\n{head}oracle: true\nuser: '{{{{ gold_evidence }}}}'\n"
    plain = f"variant: p\nof: o\n{head}user: 'Why {{{{ label }}}}?'\n"
    assert not family(tmp_path, BASE, o=oracle, p=plain).variant("p").oracle
    with pytest.raises(HarnessError, match="undefined variable 'gold_evidence'"):
        family(tmp_path, BASE, o=oracle, p=f"variant: p\nof: o\n{head}system: Be kind.\n")


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"family\.yaml:5: user: line 1 of the template"):
        family(tmp_path, BASE.replace("{{ label }}", "{{ label "))


@pytest.mark.parametrize("schema", ["{type: nope}", "{pattern: '('}", "{required: 3}"])
def test_an_answer_schema_that_is_none_is_told_with_its_line(tmp_path: Path, schema: str) -> None:
    json = f"variant: json\nof: base\naxis: format\npreserves_meaning: true\nformat: {{schema: {schema}}}\n"
    with pytest.raises(HarnessError, match=r"json\.yaml:\d+: format\.schema.*no JSON Schema"):
        family(tmp_path, BASE, json=json)


def test_an_empty_template_is_refused(tmp_path: Path) -> None:
    empty = "variant: e\nof: base\naxis: wording\npreserves_meaning: true\nuser: ' '\n"
    with pytest.raises(HarnessError, match="user: the text is empty"):
        family(tmp_path, BASE, e=empty)


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


def test_a_variant_whose_words_tell_the_label_has_none_for_the_arm_without_a_label(
    tmp_path: Path,
) -> None:
    head = "variant: v\nof: base\naxis: wording\npreserves_meaning: true\n"
    none = "none: {user: 'What is it? {{ input }}'}\n"
    for i, telling in enumerate(
        (
            "user: 'Why {{ label }}?'\n",
            "user: 'Why, at {{ probability }}?'\n",
            "user: 'Why, of {{ probabilities }}?'\n",
            "user: 'What is it?'\nsystem: 'It is {{ label }}.'\n",
            "user: 'What is it?'\nthen: [{user: 'Sure of {{ label }}?'}]\n",
        )
    ):
        folder = tmp_path / str(i)
        folder.mkdir()
        assert family(folder, BASE + none, v=head + telling).variant("v").none is None
        own = head + telling.partition("system")[0].partition("then")[0] + none
        kept = family(folder, BASE + none, v=own).variant("v").none
        assert kept is not None
        assert kept.user == "What is it? {{ input }}"


def test_the_medical_family_has_its_axes_and_loads() -> None:
    loaded = prompts.load(Path(prompts.__file__).parent.parent / "prompts" / "gi")
    axes = {variant.axis for variant in loaded.variants if variant.axis}
    assert len(loaded.variants) >= 8
    assert sum(v.preserves_meaning for v in loaded.variants) >= 5
    assert {"wording", "persona", "order", "format", "detail", "noise", "pressure"} <= axes
    assert loaded.aspects == ("causes", "symptoms", "treatment", "lifestyle", "follow-up")
    assert json.dumps(loaded.variant("json").schema)
