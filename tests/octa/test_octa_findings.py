"""Findings as record, text and claims, and how well foreign wording is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.octa.findings import (
    BUCKETS,
    Findings,
    LesionFinding,
    bucket_of,
    findings_of,
    gold_record,
    parse,
    turned_findings,
    write,
)
from harness.octa.geometry import SECTORS
from harness.octa.pathology import LABELS, LESIONS, Instance
from harness.octa.writer import NAMES, STYLES, lesion_sentence
from harness.records import HarnessError

HERE = Path(__file__).parent

present = st.builds(
    LesionFinding,
    st.just(True),
    st.lists(st.sampled_from(SECTORS), unique=True).map(tuple),
    st.sampled_from([None, *BUCKETS]),
)
lesion_findings = st.one_of(st.just(LesionFinding()), st.just(LesionFinding(False)), present)
any_findings = st.builds(
    Findings,
    st.sampled_from([None, *LABELS]),
    lesion_findings,
    lesion_findings,
    lesion_findings,
)
instances = st.lists(
    st.builds(
        Instance,
        st.sampled_from(LESIONS),
        st.floats(0, 3),
        st.floats(0, 3),
        st.floats(0.01, 0.4),
        st.sampled_from(SECTORS),
    ),
    max_size=14,
).map(tuple)


@settings(max_examples=1000, deadline=None)
@given(any_findings, st.integers(0, 2**32 - 1))
def test_the_parser_reads_back_whatever_the_writer_writes(findings, seed):
    parsed = parse(write(findings, np.random.default_rng(seed)))
    assert parsed.findings == findings
    assert parsed.read_share == 1.0
    assert parsed.conflicts == ()


@settings(max_examples=60, deadline=None)
@given(any_findings)
def test_every_style_says_the_same(findings):
    texts = {write(findings, style=style) for style in range(STYLES)}
    assert {parse(text).findings for text in texts} == {findings}
    assert len(texts) == STYLES or findings == Findings()


def _expected(row: dict) -> Findings:
    lesions = (
        LesionFinding(
            row[lesion].get("present"),
            tuple(row[lesion].get("sectors", ())),
            row[lesion].get("count"),
        )
        if lesion in row
        else LesionFinding()
        for lesion in LESIONS
    )
    return Findings(row.get("stage"), *lesions)


def _share_right(name: str) -> tuple[float, list[str]]:
    rows = [json.loads(line) for line in (HERE / name).read_text().splitlines()]
    assert len(rows) == len({row["text"] for row in rows}) == 100
    wrong = [row["text"] for row in rows if parse(row["text"]).findings != _expected(row)]
    return 1 - len(wrong) / len(rows), wrong


def test_sentences_written_before_the_parser_are_read_right():
    # 97 of 100 at the parser's first run, before anything was mended.
    share, wrong = _share_right("sentences.jsonl")
    assert share >= 0.97, wrong


def test_sentences_written_after_the_parser_are_read_right_for_the_most_part():
    # Two further sets of 50, hard on purpose: 35 and 36 were right when first read. What was mended
    # then were rules that several of them share, so this share is no longer one of unseen text.
    share, wrong = _share_right("sentences_unseen.jsonl")
    assert share >= 0.90, wrong


def test_the_hand_written_sentences_are_not_the_writers():
    rows = [
        json.loads(line)["text"].lower()
        for name in ("sentences.jsonl", "sentences_unseen.jsonl")
        for line in (HERE / name).read_text().splitlines()
    ]
    own = {
        lesion_sentence(lesion, finding, style).lower()
        for lesion in LESIONS
        for style in range(STYLES)
        for finding in (LesionFinding(False), LesionFinding(True))
    }
    assert len(own & set(rows)) <= 1  # "Microaneurysms are absent." is how anybody says it


@given(st.text(max_size=300))
def test_any_text_at_all_is_parsed_without_an_error(text):
    parsed = parse(text)
    assert 0.0 <= parsed.read_share <= 1.0


@pytest.mark.parametrize(
    "text",
    [
        "The weather was fine. We had lunch. The bus came late.",
        "Bitte wenden Sie sich an Ihren Arzt.",
        "Nasal dropout is seen.",  # nasal is east in one eye and west in the other
    ],
)
def test_what_cannot_be_read_lowers_the_share(text):
    parsed = parse(text)
    assert parsed.read_share == 0.0
    assert len(parsed.unread) == parsed.sentences


def test_the_share_counts_sentences():
    parsed = parse(
        "No dropout is seen. The bus came late. The scan is healthy. Microaneurysms: none."
    )
    assert parsed.read_share == 0.75
    assert parsed.unread == ("The bus came late.",)


def test_nothing_said_is_nothing_read():
    for text in ("", "  \n", "***"):
        assert parse(text).findings == Findings()
        assert parse(text).sentences == 0


def test_affirming_and_denying_the_same_is_a_conflict():
    assert parse("No dropout is seen. Dropout lies in the north.").conflicts == ("dropout",)
    two = parse("The stage is healthy. The stage is proliferative.")
    assert two.conflicts == ("stage",)


def test_a_denial_of_one_place_does_not_deny_the_lesion():
    parsed = parse("There is no dropout in the south. Dropout is seen in the north.")
    assert parsed.findings.dropout == LesionFinding(True, ("north",))
    assert parsed.conflicts == ()
    assert parse("There is no dropout in the south.").findings.dropout == LesionFinding()
    assert parse("There is no dropout in any sector.").findings.dropout == LesionFinding(False)


def test_a_pronoun_carries_on_the_last_lesion():
    parsed = parse("Microaneurysms are seen. They lie in the west and number five.")
    assert parsed.findings.microaneurysm == LesionFinding(True, ("west",), "several")


@pytest.mark.parametrize(
    "text",
    [
        '{"stage": "proliferative", "dropout": {"present": true, "sectors": ["north", "east"]},'
        ' "microaneurysms": {"present": false}, "neovascularisation": {"present": true,'
        ' "sectors": ["south"], "count": "few"}}',
        '```json\n{"stage": "proliferative", "dropout": ["north", "east"], "microaneurysms": null,'
        ' "explanation": "No microaneurysms are seen. A few tufts lie in the south."}\n```',
        "# Findings\n- **Stage:** proliferative\n- **Dropout**: north and east\n"
        "- **Microaneurysms**: none\n- **Neovascularisation**: few, in the south",
    ],
)
def test_json_and_lists_are_read_like_prose(text):
    if "null" in text:
        text = text.replace('"microaneurysms": null,', "")
    assert parse(text).findings == Findings(
        "proliferative",
        LesionFinding(True, ("north", "east")),
        LesionFinding(False),
        LesionFinding(True, ("south",), "few"),
    )


def test_nested_json_and_braces_that_are_no_json_are_read_too():
    nested = {
        "report": {"dropout": {"present": True, "sectors": ["west"]}, "MA": {"present": False}}
    }
    findings = parse(json.dumps(nested)).findings
    assert findings.dropout == LesionFinding(True, ("west",))
    assert findings.microaneurysm == LesionFinding(False)
    assert parse("{dropout} in the west").findings.dropout == LesionFinding(True, ("west",))
    values = {"dropout": ["west", None], "count": 2, "text": "No microaneurysms are seen here."}
    assert parse(json.dumps(values)).findings == findings


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("The eye is not healthy.", None),
        ("The rest of the scan is normal.", None),
        ("Retinopathy is not seen.", "healthy"),
        ("Proliferative retinopathy is unlikely.", None),
        ("This is non-proliferative rather than proliferative.", "non-proliferative"),
        ("No proliferative changes are seen.", None),
        ("The retinopathy is not proliferative.", "non-proliferative"),
    ],
)
def test_a_stage_counts_only_where_it_is_asserted(text, stage):
    parsed = parse(text)
    assert parsed.findings.stage == stage
    assert parsed.conflicts == ()
    assert parsed.read_share == 1.0


def test_an_exception_belongs_to_the_lesion_before_it():
    parsed = parse("Dropout lies in the north, not in the south, and microaneurysms in the south.")
    assert parsed.findings.dropout == LesionFinding(True, ("north",))
    assert parsed.findings.microaneurysm == LesionFinding(True, ("south",))


def test_buckets_are_those_of_the_definition():
    assert [bucket_of(n) for n in (1, 3, 4, 8, 9, 30)] == [
        "few", "few", "several", "several", "numerous", "numerous",
    ]  # fmt: skip


def test_only_what_is_present_has_sectors_or_a_count():
    with pytest.raises(HarnessError, match="must be present"):
        LesionFinding(False, ("north",))
    with pytest.raises(HarnessError, match="must be present"):
        LesionFinding(None, (), "few")
    with pytest.raises(HarnessError, match="'up' is no sector"):
        LesionFinding(True, ("up",))
    assert LesionFinding(True, ("west", "north", "west")).sectors == ("north", "west")


@given(any_findings, st.integers(0, 3), st.booleans())
def test_turning_findings_back_gives_them_back(findings, k, flip):
    turned = turned_findings(findings, k, flip)
    back = turned_findings(turned, k if flip else -k, flip)
    assert back == findings
    moved = Findings(dropout=LesionFinding(True, ("north",)))
    assert turned_findings(moved, 1, False).dropout.sectors == ("east",)
    east = Findings(dropout=LesionFinding(True, ("northeast",)))
    assert turned_findings(east, 0, True).dropout.sectors == ("northwest",)


@settings(max_examples=200, deadline=None)
@given(instances)
def test_gold_text_says_what_was_drawn_and_nothing_else(drawn):
    record = gold_record("s1", drawn)
    assert record.sample == "s1"
    assert record.label is None
    parsed = parse(record.text)
    assert parsed.findings == findings_of(drawn)
    for lesion in LESIONS:
        own = [instance for instance in drawn if instance.kind == lesion]
        said = parsed.findings.of(lesion)
        assert said.present == bool(own)
        assert set(said.sectors) == {instance.sector for instance in own}
        assert said.count == (bucket_of(len(own)) if own else None)
        assert (f"no {NAMES[lesion]}" in record.text.lower()) == (not own)


@settings(max_examples=100, deadline=None)
@given(instances)
def test_claims_agree_with_the_gold_and_contradictions_contradict_it(drawn):
    record = gold_record("s1", drawn)
    truth = findings_of(drawn)
    assert len({claim.id for claim in record.claims}) == len(record.claims)
    for claim in record.claims:
        for text in (claim.text, *claim.paraphrases):
            said = parse(text)
            assert said.read_share == 1.0
            assert said.findings.stage in (None, truth.stage)
            for lesion in LESIONS:
                finding, true = said.findings.of(lesion), truth.of(lesion)
                assert finding.present in (None, true.present)
                assert finding.sectors in ((), true.sectors)
                assert finding.count in (None, true.count)
        if claim.contradiction is not None:
            opposite = parse(claim.contradiction).findings
            clashes = opposite.stage not in (None, truth.stage)
            for lesion in LESIONS:
                finding, true = opposite.of(lesion), truth.of(lesion)
                clashes |= finding.present not in (None, true.present)
                clashes |= bool(finding.sectors) and not set(finding.sectors) & set(true.sectors)
                clashes |= finding.count not in (None, true.count)
            assert clashes
