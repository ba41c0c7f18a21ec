"""Rows of the tables that users bring: CSV, TSV, JSON lines and Parquet, read alike.

Sources, recorded predictions, recorded answers and gold all read tables through this module, so a
byte-order mark, a quoted newline or a misspelt column is handled, and reported, in one way. What a
column may hold depends on what it is for: texts are text and nothing else, ids and labels may also
be numbers and dates, metadata may be anything that JSON can hold.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import difflib
import io
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.records import HarnessError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_EXACT = 2**53  # beyond it a float no longer tells neighbouring whole numbers apart
_MISSING = frozenset({"nan", "NaN", "NAN", "<NA>", "NaT"})  # what pandas and R write for nothing


@dataclass(frozen=True)
class Row:
    """One row. `values` has every column of the table; an empty or NaN value is `None`.

    Values of a CSV are text, as written; those of JSON lines and Parquet keep their type, except
    that bytes are read as UTF-8 and dates are written out. `line` is the line on which the row
    begins, counted from 1 (in Parquet the number of the row). `dates` names the columns whose value
    was a date or a time.
    """

    values: Mapping[str, Any]
    line: int
    table: str
    dates: frozenset[str] = field(default_factory=frozenset)

    @property
    def place(self) -> str:
        """The row as an error message names it."""
        return f"{self.table}, {'row' if self.table.endswith('.parquet') else 'line'} {self.line}"

    def column(self, name: str) -> Any:
        """The value in a column. Raises `HarnessError` with the nearest name of a wrong one, and
        for a value that JSON cannot hold."""
        if name in self.values:
            value = self.values[name]
            kind = _no_json(value)
            if kind is not None:
                raise self.error(name, f"holds {kind}, which JSON cannot hold; write it as text")
            return value
        near = difflib.get_close_matches(name, self.values, 1, 0.5)
        names = ", ".join(f"'{column}'" for column in self.values)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {names}"
        raise HarnessError(f"{self.table} has no column '{name}'; {hint}")

    def error(self, name: str, message: str) -> HarnessError:
        """A `HarnessError` that says file, line and column."""
        return HarnessError(f"{self.place}: column '{name}' {message}")

    def text(self, name: str) -> str | None:
        """An id or another name in a column as text (see `as_text`), `None` where it is empty.

        Raises `HarnessError` for a list or an object, for a word that stands for a missing value
        (`nan`), and for a float too large to tell whole numbers apart.
        """
        value = self.column(name)
        if value is None:
            return None
        if isinstance(value, (list, dict)):
            raise self.error(name, f"holds {_kind(value)} {_shown(value)}, which is no name")
        if value in _MISSING:
            raise self.error(
                name, f"holds '{value}', which stands for a missing value; leave the cell empty"
            )
        if isinstance(value, float) and abs(value) > _EXACT:
            raise self.error(
                name,
                f"holds the floating-point number {value:.17g}, whose last digits are lost; store "
                "ids as text or as whole numbers",
            )
        return as_text(value)

    def label(self, name: str) -> str | None:
        """A label in a column, without the white space around it; `None` where it is empty."""
        return (self.text(name) or "").strip() or None

    def written(self, name: str) -> str | None:
        """A text in a column that holds texts, as it is written; `None` where it is empty.

        Raises `HarnessError` for what is no text: a number, a truth value, a date, a list, an
        object, and a word that stands for a missing value. (All that a CSV holds is text.)
        """
        value = self.column(name)
        if value is None:
            return None
        if not isinstance(value, str) or name in self.dates:
            kind = "the date" if name in self.dates else _kind(value)
            raise self.error(name, f"holds {kind} {_shown(value)}, which is no text")
        return self.text(name)

    def structure(self, name: str) -> Any:
        """The value in a column; text is read as JSON, for tables whose cells hold text only."""
        value = self.column(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise HarnessError(f"{self.place}: column '{name}' is no JSON: {error}") from error


def read_rows(path: str | Path, invalid: list[str] | None = None) -> list[Row]:
    """The rows of a table in the order of the file, blank lines left out.

    The kind of table is told by the name's ending. A CSV is comma-separated; where its header has
    no comma, it is separated by semicolons or tabs. Text is UTF-8, or UTF-16 or UTF-32 with a
    byte-order mark. Raises `HarnessError` for a missing file and for a row that cannot be read;
    where a list `invalid` is given, sentences about such rows are added to it instead.
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
    faults: list[HarnessError] = []
    if suffix == ".parquet":
        found = _parquet(data, str(path))
    elif suffix in (".jsonl", ".ndjson"):
        found = _json_lines(_text(data, str(path)), str(path), faults)
    else:
        delimiter = "\t" if suffix == ".tsv" else None
        found = _csv(_text(data, str(path)), str(path), delimiter, faults)
    columns = dict.fromkeys(name for _, values in found for name in values)
    rows = []
    for line, values in found:
        try:
            rows.append(_row(values, columns, line, str(path)))
        except HarnessError as error:
            faults.append(error)
    if faults and invalid is None:
        raise faults[0]
    if invalid is not None:
        invalid += map(str, faults)
    return rows


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
    """The text of a file. UTF-16 without its mark is told by its zero bytes, not guessed."""
    name, encoding = "UTF-8", "utf-8-sig"
    if data[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        name, encoding = "UTF-32", "utf-32"
    elif data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        name, encoding = "UTF-16", "utf-16"
    elif data[:4096].count(0) > len(data[:4096]) / 4:
        raise HarnessError(
            f"{path} looks like UTF-16 without a byte-order mark; save the table as UTF-8"
        )
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        likely = " (Latin-1 or Windows-1252?)" if name == "UTF-8" else ""
        raise HarnessError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not {name}{likely}; "
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


def _delimiter(text: str) -> str:
    """What separates the fields of a CSV, by its header."""
    header = next((line for line in re.split("[\r\n]+", text, maxsplit=2) if line), "")
    return next((mark for mark in ",;\t" if mark in header), ",")


def _csv(
    text: str, path: str, delimiter: str | None, faults: list[HarnessError]
) -> list[tuple[int, dict[str, Any]]]:
    delimiter = delimiter or _delimiter(text)
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
                    header = [name.removeprefix("\ufeff") for name in fields]
                    _refuse_doubled(header, path)
                elif len(fields) != len(header):
                    faults.append(
                        HarnessError(
                            f"{path}, line {line}: {len(fields)} fields where the header has "
                            f"{len(header)}; quote a field that holds '{delimiter}' or a newline"
                        )
                    )
                else:
                    found.append((line, dict(zip(header, fields, strict=True))))
                line = reader.line_num + 1
        except csv.Error as error:
            # What follows a broken quotation cannot be told from what it quotes.
            raise HarnessError(
                f"{path}, line {line}: cannot be read: {error}; a quotation mark inside a field is "
                'written twice ("")'
            ) from error
    if header is None:
        raise HarnessError(f"{path} is empty")
    return found


def _refuse_doubled(columns: Sequence[str], path: str) -> None:
    doubled = sorted({name for name in columns if list(columns).count(name) > 1})
    if doubled:
        named = f"named '{doubled[0]}'" if doubled[0].strip() else "without a name"
        raise HarnessError(f"{path} has two columns {named}; name each column once")


def _json_lines(
    text: str, path: str, faults: list[HarnessError]
) -> list[tuple[int, dict[str, Any]]]:
    found = []
    # Not splitlines(): JSON strings may hold U+2028 and other separators as they are.
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            found.append((line, _json_object(written)))
        except ValueError as error:
            faults.append(HarnessError(f"{path}, line {line}: {error}"))
    return found


def _json_object(written: str) -> dict[str, Any]:
    """The object on a line. Raises `ValueError` that says what is wrong with it."""
    try:
        value = json.loads(written, object_pairs_hook=_once)
        # Half a surrogate pair is legal JSON and no text: it can be neither hashed nor stored.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("holds half of a surrogate pair") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("is no JSON object, as each line must be")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys stand once: of two, the parser would drop the first in silence."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(n for n in names if names.count(n) > 1)}' stands twice")
    return value


def _parquet(data: bytes, path: str) -> list[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        _refuse_doubled(pq.read_schema(io.BytesIO(data)).names, path)
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        message = str(error).splitlines()[0]
        raise HarnessError(f"{path} is no readable Parquet file: {message}") from error
    return list(enumerate(rows, 1))


def _row(values: Mapping[str, Any], columns: Mapping[str, None], line: int, path: str) -> Row:
    """A row with plain values. Raises `HarnessError` with its place and column."""
    row = Row({}, line, path)
    plain, dates = {}, set()
    for name in columns:
        value = values.get(name)
        if isinstance(value, (datetime.date, datetime.time)):
            dates.add(name)
        try:
            plain[name] = _plain(value)
        except UnicodeDecodeError as error:
            raise row.error(
                name, f"holds bytes that are no UTF-8 text (0x{error.object[error.start]:02x})"
            ) from error
        if isinstance(plain[name], str) and "\0" in plain[name]:
            raise row.error(name, "holds a NUL character; remove it")
    return Row(plain, line, path, frozenset(dates))


def _plain(value: Any) -> Any:
    """A value as JSON has it; what is empty or not a number is `None`.

    Parquet files often store text as bytes. Raises `UnicodeDecodeError` for bytes that are none.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value).decode("utf-8")
    if value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            return None
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _no_json(value: Any) -> str | None:
    """What JSON has no word for in a value, or `None`."""
    if isinstance(value, (str, bool, int)) or value is None:
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else "an infinite number"
    if isinstance(value, Mapping):
        return next(filter(None, map(_no_json, value.values())), None)
    if isinstance(value, list):
        return next(filter(None, map(_no_json, value)), None)
    return f"a {type(value).__name__}"


def _kind(value: Any) -> str:
    """What a value is, as a sentence names it."""
    if isinstance(value, bool):
        return "the truth value"
    if isinstance(value, (int, float)):
        return "the number"
    return "the list" if isinstance(value, list) else "the object"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
