"""Texts from a table: one sample a row of a CSV, JSON lines or Parquet file.

What could make two runs differ in silence, or a score mean nothing, is refused here with its
line: an empty text, two samples of one id, evidence that lies outside its text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import fields
from harness.identity import text_id
from harness.joins import shown
from harness.records import Evidence, HarnessError, Part, Sample
from harness.sources.invalid import LeftOut
from harness.tables import Row


class Table:
    """A table of texts.

    `text`, `label`, `id`, `cluster`, `evidence` and each of `metadata` name columns. Without `id`
    a sample is known by the first 12 hexadecimal digits of its text's SHA-256. `evidence` holds
    spans, `[[start, end], ...]` in characters, end exclusive, as a list or as JSON. `where` keeps
    the rows with a value, or one of several: `{split: test}`. `distinct` takes one sample from
    rows that share id, text and label; otherwise a second row of one id is an error.

    A text is text: bytes are read as UTF-8, and a number, a date, a list or `nan` is an error.
    White space around labels is no part of them. `skip_invalid` leaves out each row with an error,
    and lists it, in place of stopping.
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
        skip_invalid: bool = False,
    ) -> None:
        fields.switches("source 'table'", distinct=distinct, skip_invalid=skip_invalid)
        self._path = path
        self._text = text
        self._label = label
        self._id = id
        self._evidence = evidence
        self._metadata = column_names(metadata)
        self._cluster = cluster
        self._where = where
        self._distinct = distinct
        self._left_out = LeftOut(path, skip_invalid)
        self._bare: list[str] = []
        self._count = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Which rows were left out, and how many samples have no evidence where others have."""
        found = list(self._left_out.notes)
        if 0 < len(self._bare) < self._count:
            found.append(
                f"{self._path}: {len(self._bare):,} of {self._count:,} samples have no evidence in "
                f"column '{self._evidence}' "
                f"({shown({name: name for name in self._bare}, self._bare)})."
            )
        return tuple(found)

    def samples(self) -> list[Sample]:
        """One sample a row, in the order of the table. Raises `HarnessError` naming the line."""
        found: dict[str, tuple[Sample, Row]] = {}
        columns = [self._text, self._label, self._id, self._evidence, self._cluster]
        for row in self._left_out.rows(self._where, [*columns, *self._metadata]):
            with self._left_out.unless_valid():
                self._add(row, found)
        if not found:
            raise HarnessError(f"{self._path} has no rows")
        samples = [sample for sample, _ in found.values()]
        self._count = len(samples)
        self._bare = [s.id for s in samples if self._evidence and not s.evidence]
        return samples

    def _add(self, row: Row, found: dict[str, tuple[Sample, Row]]) -> None:
        sample = self._sample(row)
        if sample.id not in found:
            found[sample.id] = (sample, row)
            return
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

    def _sample(self, row: Row) -> Sample:
        text = row.written(self._text)
        if text is None or not text.strip():
            raise HarnessError(f"{row.place}: the text in column '{self._text}' is empty")
        return Sample(
            id=row_id(row, self._id) if self._id else text_id(text),
            input=(Part(text),),
            label=row.label(self._label) if self._label else None,
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
    # JSON keeps whole numbers up to 2 ** 53 exactly; a longer one is a name, not a quantity.
    return {
        name: str(value) if isinstance(value, int) and abs(value) >= 2**53 else value
        for name, value in values.items()
        if value is not None
    }


def column_names(value: Sequence[str]) -> tuple[str, ...]:
    """Names of columns; a single name may stand without brackets."""
    return (value,) if isinstance(value, str) else tuple(value)


def _is_span(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(number, int) and not isinstance(number, bool) for number in value)
    )
