"""Rows of the tables that users bring: CSV, TSV, JSON lines and Parquet, read alike.

Sources, recorded predictions, recorded answers and gold all read tables through this module, so a
byte-order mark, a quoted newline or a misspelt column is handled, and reported, in one way.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import difflib
import io
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.records import HarnessError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True)
class Row:
    """One row. `values` has every column of the table; an empty or NaN value is `None`.

    Values of a CSV are text, as written; those of JSON lines and Parquet keep their type. `line`
    is the line on which the row begins, counted from 1 (in Parquet the number of the row).
    """

    values: Mapping[str, Any]
    line: int
    table: str

    @property
    def place(self) -> str:
        """The row as an error message names it."""
        return f"{self.table}, {'row' if self.table.endswith('.parquet') else 'line'} {self.line}"

    def column(self, name: str) -> Any:
        """The value in a column. Raises `HarnessError` with the nearest name of a wrong one."""
        if name in self.values:
            return self.values[name]
        near = difflib.get_close_matches(name, self.values, 1, 0.5)
        names = ", ".join(f"'{column}'" for column in self.values)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {names}"
        raise HarnessError(f"{self.table} has no column '{name}'; {hint}")

    def text(self, name: str) -> str | None:
        """The value in a column as text (see `as_text`), or `None` where it is empty."""
        value = self.column(name)
        return None if value is None else as_text(value)

    def structure(self, name: str) -> Any:
        """The value in a column; text is read as JSON, for tables whose cells hold text only."""
        value = self.column(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise HarnessError(f"{self.place}: column '{name}' is no JSON: {error}") from error


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a table in the order of the file, blank lines left out.

    The kind of table is told by the name's ending. A CSV is comma-separated, or semicolon-separated
    where its header has semicolons and no comma. Text is UTF-8, or UTF-16 with a byte-order mark.
    Raises `HarnessError` for a missing file and for a line that cannot be read.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise HarnessError(f"{path} is no table: its name must end in {', '.join(SUFFIXES)}")
    if not file.is_file():
        raise HarnessError(f"there is no table {path}")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror}") from error
    if suffix == ".parquet":
        found = _parquet(data, str(path))
    elif suffix in (".jsonl", ".ndjson"):
        found = _json_lines(_text(data, str(path)), str(path))
    else:
        found = _csv(_text(data, str(path)), str(path), "\t" if suffix == ".tsv" else None)
    columns = dict.fromkeys(name for _, values in found for name in values)
    return [
        Row({name: _plain(values.get(name)) for name in columns}, line, str(path))
        for line, values in found
    ]


def select(rows: Sequence[Row], where: Mapping[str, Any] | None) -> list[Row]:
    """The rows whose columns hold the wanted value, or one of the wanted values.

    Values are compared as text, `None` with an empty cell, truth values in any case. Raises
    `HarnessError` where no row is left, with what the column holds instead.
    """
    chosen = list(rows)
    for name, value in (where or {}).items():
        wanted = {_comparable(item) for item in (value if isinstance(value, list) else [value])}
        left = [row for row in chosen if _comparable(row.column(name)) in wanted]
        if chosen and not left:
            held = sorted({as_text(row.column(name)) for row in chosen})
            more = ", ..." if len(held) > 5 else ""
            raise HarnessError(
                f"{chosen[0].table} has no row with {name} = {value!r}; "
                f"the column holds {', '.join(held[:5])}{more}"
            )
        chosen = left
    return chosen


def as_text(value: Any) -> str:
    """An id or label as text: a whole number is written without a fraction, whatever its type.

    Parquet turns a column of whole numbers with a gap into floats; `3.0` and a CSV's `3` must
    still name the same sample.
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _comparable(value: Any) -> str | None:
    if value is None:
        return None
    text = as_text(value)
    return text.casefold() if text.casefold() in ("true", "false") else text


def _text(data: bytes, path: str) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HarnessError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; "
            "save the table as UTF-8"
        ) from error


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lifts the csv module's limit of 131,072 characters a field, which long notes exceed."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _csv(text: str, path: str, delimiter: str | None) -> list[tuple[int, dict[str, Any]]]:
    if delimiter is None:
        first = text.lstrip("\r\n").split("\n", 1)[0]
        delimiter = ";" if ";" in first and "," not in first else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[tuple[int, dict[str, Any]]] = []
    header: list[str] | None = None
    line = 1
    with _long_fields():
        try:
            for fields in reader:
                if not fields:
                    pass  # a blank line
                elif header is None:
                    header = fields
                    doubled = sorted({name for name in header if header.count(name) > 1})
                    if doubled:
                        raise HarnessError(f"{path} has two columns named '{doubled[0]}'")
                elif len(fields) != len(header):
                    raise HarnessError(
                        f"{path}, line {line}: {len(fields)} fields where the header has "
                        f"{len(header)}; quote a field that holds '{delimiter}' or a newline"
                    )
                else:
                    found.append((line, dict(zip(header, fields, strict=True))))
                line = reader.line_num + 1
        except csv.Error as error:
            raise HarnessError(f"{path}, line {line}: cannot be read: {error}") from error
    if header is None:
        raise HarnessError(f"{path} is empty")
    return found


def _json_lines(text: str, path: str) -> list[tuple[int, dict[str, Any]]]:
    found = []
    # Not splitlines(): JSON strings may hold U+2028 and other separators as they are.
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            value = json.loads(written)
            # Half a surrogate pair is legal JSON and no text: it can be neither hashed nor stored.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise HarnessError(f"{path}, line {line}: holds half of a surrogate pair") from error
        except (ValueError, RecursionError) as error:
            raise HarnessError(f"{path}, line {line}: is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise HarnessError(f"{path}, line {line}: is no JSON object, as each line must be")
        found.append((line, value))
    return found


def _parquet(data: bytes, path: str) -> list[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        message = str(error).splitlines()[0]
        raise HarnessError(f"{path} is no readable Parquet file: {message}") from error
    return list(enumerate(rows, 1))


def _plain(value: Any) -> Any:
    """A value that can stand in JSON; what is empty or not a number is `None`."""
    if value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value) if value.is_finite() else None
    return value
