"""The gastrointestinal gold: complete, honest about thin cells, sourced, in words of its own.

What can be checked without the source always runs; the hashes of quotes and the distance from the
source's wording are checked where the shared data are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from harness.gold import load
from harness.records import Claim, GoldRecord

FOLDER = Path(__file__).resolve().parents[2] / "gold" / "gi"
LABELS = (
    "gastritis",
    "gastroparesis",
    "indigestion",
    "dumping syndrome",
    "Menetrier disease",
    "Zollinger-Ellison syndrome",
    "cyclic vomiting syndrome",
    "viral gastroenteritis",
)
ASPECTS = ("causes", "symptoms", "treatment", "lifestyle", "follow-up")
# A quote is one to four consecutive pieces of an answer, cut after sentence and list punctuation.
CUT = re.compile(r"(?<=[.!?:;])\s+|\n")
LONGEST_QUOTE = 4
# Six words in a row that also stand in the source are a copy, whatever the condition's name adds.
LONGEST_SHARED_RUN = 5

# Numbers as they stand in a sentence; "one" is mostly a pronoun.
NUMBER = re.compile(
    r"\b(?:\d+|two|three|four|five|six|seven|eight|nine|ten|half|quarters?|tenth|twice|fortnight)\b"
)
DENIAL = re.compile(
    r"\b(?:no|not|never|none|nothing|neither|nor|nobody|without|cannot|unknown|unclear)\b",
    re.IGNORECASE,
)

RECORDS = load(FOLDER).records
CLAIMS = [(record, claim) for record in RECORDS for claim in record.claims]


def _name(record: GoldRecord, claim: Claim | None = None) -> str:
    return f"{record.label} / {record.aspect}" + (f" / {claim.id}" if claim else "")


def _affirming(record: GoldRecord) -> list[Claim]:
    return [claim for claim in record.claims if claim.importance != "must_not"]


def _sentences(claim: Claim) -> list[str]:
    return [claim.text, *claim.paraphrases, *filter(None, [claim.contradiction])]


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _runs(text: str, length: int) -> set[tuple[str, ...]]:
    words = _words(text)
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def _quote_hashes(answer: str) -> set[str]:
    bounds, start = [], 0
    for cut in CUT.finditer(answer):
        bounds.append((start, cut.start()))
        start = cut.end()
    bounds.append((start, len(answer)))
    bounds = [(a, b) for a, b in bounds if answer[a:b].strip()]
    return {
        hashlib.sha256(answer[bounds[i][0] : bounds[j][1]].strip().encode()).hexdigest()
        for i in range(len(bounds))
        for j in range(i, min(i + LONGEST_QUOTE, len(bounds)))
    }


@pytest.fixture(scope="module")
def source(shared_data: Path) -> dict[str, dict[str, str]]:
    lines = (shared_data / "nih_qa" / "nih_qa.jsonl").read_text("utf-8").splitlines()
    return {record["id"]: record for record in map(json.loads, lines)}


def test_every_label_has_every_aspect_once() -> None:
    places = Counter((record.label, record.aspect) for record in RECORDS)
    assert places == Counter((label, aspect) for label in LABELS for aspect in ASPECTS)


def test_a_file_is_named_after_the_one_label_it_holds() -> None:
    for path in FOLDER.glob("*.json"):
        labels = {record["label"] for record in json.loads(path.read_text("utf-8"))}
        assert [label.lower().replace(" ", "-") for label in labels] == [path.stem]


def test_claim_ids_are_short_kebab_case_and_unique_in_a_record() -> None:
    for record in RECORDS:
        ids = [claim.id for claim in record.claims]
        assert len(set(ids)) == len(ids), _name(record)
        assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+){0,4}", id) for id in ids), _name(record)


def test_a_cell_with_fewer_than_five_claims_says_what_its_source_lacks() -> None:
    thin = [record for record in RECORDS if len(_affirming(record)) < 5]
    assert all(record.note and "source" in record.note for record in thin)
    assert all(any(c.importance == "must" for c in record.claims) for record in RECORDS)


def test_treatment_and_follow_up_name_dangerous_advice_and_no_other_aspect_does() -> None:
    for record in RECORDS:
        dangerous = [claim for claim in record.claims if claim.importance == "must_not"]
        assert bool(dangerous) == (record.aspect in ("treatment", "follow-up")), _name(record)
        assert all(claim.contradiction is None for claim in dangerous), _name(record)


def test_every_claim_has_a_paraphrase_in_largely_other_words_and_a_source_that_was_opened() -> None:
    for record, claim in CLAIMS:
        assert claim.paraphrases, _name(record, claim)
        for paraphrase in claim.paraphrases:
            own, other = set(_words(claim.text)), set(_words(paraphrase))
            assert len(own & other) / len(own | other) <= 0.6, _name(record, claim)
        assert claim.sources, _name(record, claim)
        assert all(s.opened and s.url and s.quote_sha256 for s in claim.sources)


def test_every_claim_has_three_paraphrases_and_no_two_of_them_are_alike() -> None:
    for record, claim in CLAIMS:
        different = {" ".join(_words(text)) for text in (claim.text, *claim.paraphrases)}
        assert len(claim.paraphrases) == 3, _name(record, claim)
        assert len(different) == 4, _name(record, claim)


def test_a_close_paraphrase_has_the_numbers_of_its_claim() -> None:
    """The first paraphrase is freer: it may round a number or write it in another unit."""
    for record, claim in CLAIMS:
        own = set(NUMBER.findall(claim.text.lower()))
        for paraphrase in claim.paraphrases[1:]:
            found = set(NUMBER.findall(paraphrase.lower()))
            assert found == own, f"{_name(record, claim)}: {paraphrase}"


def test_a_close_paraphrase_denies_only_where_its_claim_does() -> None:
    for record, claim in CLAIMS:
        for paraphrase in claim.paraphrases[1:]:
            denies = bool(DENIAL.search(paraphrase))
            assert denies == bool(DENIAL.search(claim.text)), (
                f"{_name(record, claim)}: {paraphrase}"
            )


def test_a_close_paraphrase_is_as_certain_as_its_claim() -> None:
    possible = re.compile(
        r"\b(may|can|could|might|some|certain|sometimes|possibl[ey]|probably|likely|hints?|suggests?)\b",
        re.IGNORECASE,
    )
    for record, claim in CLAIMS:
        for paraphrase in claim.paraphrases[1:]:
            if claim.hedged:
                assert possible.search(paraphrase), f"{_name(record, claim)}: {paraphrase}"
            elif claim.importance != "must_not":
                assert not re.search(r"\b(may|might|could|sometimes)\b", paraphrase), paraphrase


def test_every_sentence_can_be_read_alone_because_it_names_its_condition() -> None:
    for record, claim in CLAIMS:
        assert record.label is not None
        for sentence in _sentences(claim):
            assert record.label.lower() in sentence.lower(), _name(record, claim)
            assert sentence[0].isupper(), _name(record, claim)
            assert sentence.endswith("."), _name(record, claim)


def test_no_sentence_stands_for_two_claims_of_a_cell() -> None:
    for record in RECORDS:
        counts = Counter(sentence for claim in record.claims for sentence in _sentences(claim))
        repeated = [sentence for sentence, count in counts.items() if count > 1]
        assert not repeated, _name(record)


def test_a_claim_that_denies_something_carries_a_word_of_denial() -> None:
    denial = re.compile(r"\b(no|not|never|unknown|without|cannot|nothing)\b", re.IGNORECASE)
    for record, claim in CLAIMS:
        if claim.polarity == "negated":
            assert denial.search(claim.text), _name(record, claim)


def test_hedged_claims_are_those_worded_as_a_possibility() -> None:
    possibility = re.compile(
        r"\b(may|can|might|some|sometimes|possible|probably|suggest|hints)\b", re.IGNORECASE
    )
    for record, claim in CLAIMS:
        if claim.hedged:
            assert possibility.search(claim.text), _name(record, claim)
        elif claim.importance != "must_not":
            assert not re.search(r"\b(may|might|sometimes)\b", claim.text), _name(record, claim)


def test_nothing_claims_to_have_been_reviewed() -> None:
    assert {record.status for record in RECORDS} == {"draft"}
    assert not any(record.reviews for record in RECORDS)


def test_the_readme_counts_the_claims_that_are_there_and_repeats_the_notes() -> None:
    lines = (FOLDER / "README.md").read_text("utf-8").splitlines()
    for record in filter(lambda record: record.note, RECORDS):
        assert f"- {record.label}, {record.aspect}: {record.note}" in lines
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    table = {row[0]: row[1:] for row in rows if row[0] in LABELS}
    cells = {(record.label, record.aspect): record for record in RECORDS}
    for label in LABELS:
        expected = []
        for aspect in ASPECTS:
            counts = Counter(claim.importance for claim in cells[label, aspect].claims)
            numbers = [counts["must"], counts["nice"], counts["must_not"]]
            expected.append(" / ".join(map(str, numbers if counts["must_not"] else numbers[:2])))
        assert table[label] == expected


def test_every_source_is_an_answer_on_this_condition_with_this_address(
    source: dict[str, dict[str, str]],
) -> None:
    for record, claim in CLAIMS:
        for cited in claim.sources:
            collection, _, id = cited.id.partition(":")
            assert collection == "nih_qa", _name(record, claim)
            assert source[id]["condition"].lower() == str(record.label).lower()
            assert source[id]["url"] == cited.url


def test_every_quote_hash_is_that_of_consecutive_sentences_in_the_cited_answer(
    source: dict[str, dict[str, str]],
) -> None:
    hashes = {
        id: _quote_hashes(source[id]["answer"])
        for id in {s.id.partition(":")[2] for _, claim in CLAIMS for s in claim.sources}
    }
    for record, claim in CLAIMS:
        for cited in claim.sources:
            assert cited.quote_sha256 in hashes[cited.id.partition(":")[2]], _name(record, claim)


def test_no_sentence_copies_a_run_of_words_from_the_answers_on_its_condition(
    source: dict[str, dict[str, str]],
) -> None:
    copied_length = LONGEST_SHARED_RUN + 1
    answers: dict[str, set[tuple[str, ...]]] = {label.lower(): set() for label in LABELS}
    for answer in source.values():
        if answer["condition"].lower() in answers:
            answers[answer["condition"].lower()] |= _runs(answer["answer"], copied_length)
    for record, claim in CLAIMS:
        for sentence in _sentences(claim):
            shared = _runs(sentence, copied_length) & answers[str(record.label).lower()]
            assert not shared, _name(record, claim)
