"""What a source leaves out on request: rows and files with an error, counted and listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from harness.records import HarnessError
from harness.tables import Row, read_rows, select

LISTED = 10  # more faults than this are counted, not listed


class LeftOut:
    """The faults of what a source reads at `path`; unless `skip` is set, the first is raised."""

    def __init__(self, path: str, skip: bool, what: str = "rows") -> None:
        self._path, self._skip, self._what = path, skip, what
        self._faults: list[str] = []
        self._asked = 0

    def rows(self, where: Mapping[str, Any] | None, columns: Sequence[str | None]) -> list[Row]:
        """The rows of a table with a value, begun anew. Raises `HarnessError` for a column that
        there is not, whatever is skipped."""
        self._faults = []
        rows = select(read_rows(self._path, self._faults if self._skip else None), where)
        self._asked = len(self._faults)
        for name in filter(None, columns):
            if rows and name not in rows[0].values:
                rows[0].column(name)
        return rows

    def begin(self) -> None:
        """Forgets the faults of an earlier reading."""
        self._faults, self._asked = [], 0

    @contextmanager
    def unless_valid(self) -> Iterator[None]:
        """Reads one of them: an error in here is kept as a fault, or raised."""
        self._asked += 1
        try:
            yield
        except HarnessError as error:
            if not self._skip:
                raise
            self._faults.append(str(error))

    @property
    def notes(self) -> list[str]:
        """How many were left out, and each with its fault."""
        if not self._faults:
            return []
        count = len(self._faults)
        head = (
            f"{self._path}: {count:,} of {self._asked:,} {self._what} are left out (skip_invalid)."
        )
        listed = [f"Left out: {fault}." for fault in self._faults[:LISTED]]
        if count > LISTED:
            listed.append(f"{count - LISTED:,} more {self._what} are left out.")
        return [head, *listed]
