"""Texts from a table: one sample a row of a CSV, JSON lines or Parquet file.

What could make two runs differ in silence, or a score mean nothing, is refused here with its
line: an empty text, two samples of one id, evidence that lies outside its text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.identity import text_id
from harness.records import Evidence, HarnessError, Part, Sample
from harness.tables import Row, read_rows, select


class Table:
    """A table of texts.

    `text`, `label`, `id`, `cluster`, `evidence` and each of `metadata` name columns. Without `id`
    a sample is known by the first 12 hexadecimal digits of its text's SHA-256. `evidence` holds
    spans, `[[start, end], ...]` in characters, end exclusive, as a list or as JSON. `where` keeps
    the rows with a value, or one of several: `{split: test}`. `distinct` takes one sample from
    rows that share id, text and label; otherwise a second row of one id is an error.
    """

    def __init__(
        self,
        path: str,
        text: str = "text",
        label: str | None = None,
        id: str | None = None,
        evidence: str | None = None,
        metadata: Sequence[str] = (),
        cluster: str | None = None,
        where: Mapping[str, Any] | None = None,
        distinct: bool = False,
    ) -> None:
        self._path = path
        self._text = text
        self._label = label
        self._id = id
        self._evidence = evidence
        self._metadata = column_names(metadata)
        self._cluster = cluster
        self._where = where
        self._distinct = distinct

    def samples(self) -> list[Sample]:
        """One sample a row, in the order of the table. Raises `HarnessError` naming the line."""
        found: dict[str, tuple[Sample, Row]] = {}
        for row in select(read_rows(self._path), self._where):
            sample = self._sample(row)
            if sample.id not in found:
                found[sample.id] = (sample, row)
                continue
            first, before = found[sample.id]
            if not self._distinct:
                raise HarnessError(
                    f"{row.place}: the id '{sample.id}' is already that of line {before.line}; "
                    "ids must differ (`distinct: true` takes one sample from equal rows)"
                )
            for name in ("text", "label"):
                if getattr(sample, name) != getattr(first, name):
                    raise HarnessError(
                        f"{row.place}: has the id '{sample.id}' of line {before.line}, "
                        f"but another {name}; only equal rows can be taken as one sample"
                    )
        if not found:
            raise HarnessError(f"{self._path} has no rows")
        return [sample for sample, _ in found.values()]

    def _sample(self, row: Row) -> Sample:
        text = row.text(self._text)
        if text is None or not text.strip():
            raise HarnessError(f"{row.place}: the text in column '{self._text}' is empty")
        return Sample(
            id=row_id(row, self._id) if self._id else text_id(text),
            input=(Part(text),),
            label=row.text(self._label) if self._label else None,
            evidence=self._spans(row, text) if self._evidence else (),
            metadata=row_metadata(row, self._metadata),
            cluster=row.text(self._cluster) if self._cluster else None,
        )

    def _spans(self, row: Row, text: str) -> tuple[Evidence, ...]:
        assert self._evidence is not None
        value = row.structure(self._evidence)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(_is_span(item) for item in value):
            raise HarnessError(
                f"{row.place}: evidence in column '{self._evidence}' must read "
                f"[[start, end], ...] in whole numbers, not {value!r}"
            )
        for start, end in value:
            if not 0 <= start < end <= len(text):
                raise HarnessError(
                    f"{row.place}: the evidence [{start}, {end}] does not lie in the text, "
                    f"which has {len(text)} characters"
                )
        spans = tuple(sorted((start, end) for start, end in value))
        return (Evidence("spans", self._evidence, spans),) if spans else ()


def row_id(row: Row, column: str) -> str:
    """The id in a column. Raises `HarnessError` where it is empty."""
    value = row.text(column)
    if value is None or not value.strip():
        raise HarnessError(f"{row.place}: the id in column '{column}' is empty")
    return value


def row_metadata(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    """The values of some columns by name; a sample has no entry for what is empty."""
    values = {name: row.column(name) for name in columns}
    return {name: value for name, value in values.items() if value is not None}


def column_names(value: Sequence[str]) -> tuple[str, ...]:
    """Names of columns; a single name may stand without brackets."""
    return (value,) if isinstance(value, str) else tuple(value)


def _is_span(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(number, int) and not isinstance(number, bool) for number in value)
    )
