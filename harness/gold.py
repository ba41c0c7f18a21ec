"""Loads and checks expert gold, and finds the record that an explanation is held against.

Gold is a folder of JSON, JSONL or YAML records (checked by `schema gold`), a table with one claim a
row, or what a source brings along. A class-level record belongs to (label, aspect), a
sample-level record to (sample, aspect); where both exist the sample's is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import documents
from harness.identity import digest, text_id
from harness.records import Claim, GoldRecord, GoldSource, HarnessError
from harness.sentences import split
from harness.tables import Row

_SUFFIXES = (".json", ".jsonl", ".yaml", ".yml")
# What else data lie in: beside gold it is no gold, and would be left out in silence.
_FOREIGN = (".csv", ".tsv", ".ndjson", ".parquet", ".xlsx", ".xls", ".txt", ".xml", ".toml")
_SENTENCES = 3  # more of them are an explanation; the longest claims of K-QA have two
_STRUCTURE = re.compile(r"^\s*[\[{].*[\]}]\s*$", re.DOTALL)
_ITEM = re.compile(r"^\s*(?:[-*\u2022]|\(?\d+[.)])\s+\S")


@dataclass(frozen=True)
class Gold:
    """All gold of a family. `hash` is the SHA-256 over its records, part of score versions."""

    records: tuple[GoldRecord, ...] = ()
    _by_label: Mapping[tuple[str, str], GoldRecord] = field(default_factory=dict, repr=False)
    _by_sample: Mapping[tuple[str, str], GoldRecord] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, records: Iterable[GoldRecord]) -> Gold:
        """Gold from records; two records for the same place are refused."""
        records = tuple(records)
        by_label: dict[tuple[str, str], GoldRecord] = {}
        by_sample: dict[tuple[str, str], GoldRecord] = {}
        for record in records:
            index, owner = (
                (by_label, record.label) if record.label is not None else (by_sample, record.sample)
            )
            place = (str(owner), record.aspect)
            if place in index:
                raise HarnessError(f"gold: {place[0]} / {place[1]} has two records")
            index[place] = record
        return cls(records, by_label, by_sample)

    def find(self, aspect: str, *, sample: str | None, label: str | None) -> GoldRecord | None:
        """The sample's own record, else the label's, else `None`."""
        if sample is not None and (sample, aspect) in self._by_sample:
            return self._by_sample[sample, aspect]
        return self._by_label.get((label, aspect)) if label is not None else None

    def others(self, aspect: str, record: GoldRecord) -> list[GoldRecord]:
        """The records of the same aspect and level that speak of something else."""
        index: Mapping[tuple[str, str], GoldRecord] = (
            self._by_label if record.label is not None else self._by_sample
        )
        return [other for (_, a), other in sorted(index.items()) if a == aspect and other != record]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that class-level gold speaks of, sorted."""
        return tuple(sorted({label for label, _ in self._by_label}))

    @property
    def hash(self) -> str:
        """SHA-256 over all records, whatever their order in the files."""
        return digest(sorted(digest(record) for record in self.records))


def gold_text(record: GoldRecord) -> str:
    """The explanation that gold itself would give: its text, else its claims joined.

    `must_not` claims are what an explanation must not say, so they do not stand in it.
    """
    if record.text:
        return record.text
    return join(claim.text for claim in record.claims if claim.importance != "must_not")


def join(sentences: Iterable[str]) -> str:
    """Sentences as one paragraph, each closed by a full stop."""
    return " ".join(
        text if text[-1] in ".!?" else text + "." for text in map(str.strip, sentences) if text
    )


def load(folder: Path) -> Gold:
    """The gold in a folder. Raises `HarnessError` naming file, line and place, and for a file of
    data that is no gold."""
    everything = sorted(p for p in folder.rglob("*") if p.is_file() and p.name[0] != ".")
    files = [p for p in everything if p.suffix.lower() in _SUFFIXES]
    foreign = [p for p in everything if p.suffix.lower() in _FOREIGN]
    if foreign:
        raise HarnessError(
            f"{foreign[0]} is no gold file ({', '.join(_SUFFIXES)}); a table with one claim a row "
            "is named as gold: {kind: table, path: ..., claim: ...}, outside of the folder"
        )
    records = [record for path in files for record in _records(path)]
    if not records:
        raise HarnessError(f"{folder} holds no gold (.json, .jsonl, .yaml)")
    return Gold.of(records)


def from_rows(
    rows: Sequence[Row],
    *,
    claim: str,
    aspects: Sequence[str],
    sample: str | None = None,
    input: str | None = None,
    label: str | None = None,
    aspect: str | None = None,
    importance: str | None = None,
    source: str | None = None,
) -> Gold:
    """Gold from a table with one claim a row; the names are those of columns.

    `input` names a column of sample texts, from which ids are derived as a source without an id
    column does. `aspect` is one of the family's `aspects`, or a column that names one. Raises
    `HarnessError` for a row whose claim is no single statement: a list, a rubric, several lines.
    """
    if (sample is not None) + (input is not None) + (label is not None) != 1:
        raise HarnessError("gold table: name exactly one of the columns sample, input and label")
    grouped: dict[tuple[str, str], list[Claim]] = {}
    for row in rows:
        text = _statement(row, claim)
        column = str(input or sample or label)
        written = row.written(column) if input else row.label(column) if label else row.text(column)
        if written is None or not written.strip():
            raise HarnessError(f"{row.place}: column '{column}' is empty, so nothing is spoken of")
        owner = text_id(written) if input is not None else written
        if aspect is None:
            if len(aspects) != 1:
                raise HarnessError("gold table: the family has several aspects, so name 'aspect'")
            place = aspects[0]
        else:
            place = aspect if aspect in aspects else _aspect(row, aspect)
        claims = grouped.setdefault((owner, place), [])
        if any(known.text == text for known in claims):
            continue
        claims.append(
            Claim(
                id=f"c{len(claims) + 1}",
                text=text,
                importance=_importance(row, importance) if importance else "must",
                sources=(GoldSource(id=str(row.text(source))),) if source else (),
            )
        )
    return Gold.of(
        GoldRecord(
            aspect=place,
            claims=tuple(claims),
            label=owner if label is not None else None,
            sample=owner if label is None else None,
        )
        for (owner, place), claims in grouped.items()
    )


def _statement(row: Row, column: str) -> str:
    """The one statement that a row's claim is. A list of criteria, a rubric or a whole list of
    points is none: held against an explanation as one claim, it would measure nothing."""
    value = row.column(column)
    if isinstance(value, (list, dict)):
        what = f"a list of {len(value)}" if isinstance(value, list) else "an object"
        raise row.error(column, f"holds {what}, no claim; write one claim a row")
    text = (row.written(column) or "").strip()
    if not text:
        raise HarnessError(f"{row.place}: there is no claim in column '{column}'")
    fault = _no_statement(text)
    if fault is not None:
        raise row.error(column, f"{fault}; write one claim a row")
    return text


def _no_statement(text: str) -> str | None:
    """Why a text is no single statement, or `None`."""
    if not any(char.isalpha() for char in text):
        return f"holds '{text[:40]}', which states nothing"
    if _STRUCTURE.match(text):
        return f"holds a list or an object as text ({text[:40]}...)"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        items = sum(bool(_ITEM.match(line)) for line in lines)
        if items > 1 or all(line[-1] in ".;!?" for line in lines):
            return f"holds a list of {len(lines)} lines"
    count = len(split(text))
    return f"holds an explanation of {count} sentences" if count > _SENTENCES else None


def _aspect(row: Row, column: str) -> str:
    aspect = (row.text(column) or "").strip()
    if not aspect:
        raise HarnessError(f"{row.place}: the aspect in column '{column}' is empty")
    return aspect


def _importance(row: Row, column: str) -> Any:
    """`must`, `nice` or `must_not`, also as written by others (`Must_have`, `Nice_to_have`)."""
    value = row.text(column)
    word = str(value).strip().lower().replace("-", "_").replace(" ", "_")
    if word in ("must_not", "must_not_have"):
        return "must_not"
    for importance in ("must", "nice"):
        if word.startswith(importance):
            return importance
    raise row.error(column, f"holds the importance '{value}', none of must, nice, must_not")


def _records(path: Path) -> list[GoldRecord]:
    if path.suffix.lower() == ".jsonl":
        lines = _lines(path)
        parsed = [
            documents.parse("\n" * number + line, str(path))
            for number, line in enumerate(lines)
            if line.strip()
        ]
    else:
        whole = documents.read(path)
        if isinstance(whole.value, list):
            parsed = [
                documents.Document(
                    whole.name,
                    value,
                    {place[1:]: line for place, line in whole.lines.items() if place[:1] == (i,)},
                )
                for i, value in enumerate(whole.value)
            ]
        else:
            parsed = [whole]
    records = []
    for document in parsed:
        documents.check(document, "gold")
        records.append(_record(document))
    return records


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").split("\n")  # a text may hold other line marks
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path}: not UTF-8 at byte {error.start}") from error


def _record(document: documents.Document) -> GoldRecord:
    value = document.value
    for name in ("label", "sample", "aspect"):
        if name in value and not value[name].strip():
            raise document.error((name,), "the text is empty")
    seen: set[str] = set()
    for i, claim in enumerate(value["claims"]):
        if claim["id"] in seen:
            raise document.error(("claims", i, "id"), f"the claim id '{claim['id']}' stands twice")
        seen.add(claim["id"])
        fault = _no_statement(claim["text"])
        if fault is not None:
            raise document.error(("claims", i, "text"), f"{fault}; a claim is one statement")
    verification = value.get("verification", {})
    return GoldRecord(
        aspect=value["aspect"],
        claims=tuple(_claim(claim) for claim in value["claims"]),
        label=value["label"].strip() if "label" in value else None,
        sample=value.get("sample"),
        text=value.get("text"),
        status=verification.get("status", "draft"),
        reviews=tuple(verification.get("reviews", ())),
        note=value.get("note"),
    )


def _claim(value: Mapping[str, Any]) -> Claim:
    fields = dict(value)
    fields["paraphrases"] = tuple(fields.get("paraphrases", ()))
    fields["sources"] = tuple(GoldSource(**source) for source in fields.get("sources", ()))
    return Claim(**fields)
