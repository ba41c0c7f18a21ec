"""Answers recorded in a table, from any tool or any earlier run, scored as if they were new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.identity import sha256, text_id
from harness.records import Capabilities, Cell, Generation, HarnessError, Request
from harness.tables import read_rows

_CELL_COLUMNS = ("family", "variant", "arm", "aspect", "repeat")


class Replay:
    """Generations from a CSV, JSONL or Parquet table with one answer a row.

    `text` names the column of answers; `sample` that of sample ids, or `input` that of sample texts
    where samples have no id column. `by` names the column whose value must be `model`. `match`
    lists those of family, variant, arm, aspect and repeat that the table also has; what it
    lacks is answered alike for all cells. Two different answers to one cell are refused.
    """

    capabilities = Capabilities(schema=True, images=True, concurrency=256)
    reads_cell = True

    def __init__(
        self,
        model: str,
        path: str,
        text: str = "text",
        sample: str | None = None,
        input: str | None = None,
        by: str | None = None,
        match: Sequence[str] = (),
    ) -> None:
        if (sample is None) == (input is None):
            raise HarnessError("backend 'replay': name one of the columns 'sample' and 'input'")
        unknown = sorted(set(match) - set(_CELL_COLUMNS))
        if unknown:
            raise HarnessError(
                f"backend 'replay': cells have no '{unknown[0]}'; match takes "
                f"{', '.join(_CELL_COLUMNS)}"
            )
        self._match = tuple(match)
        self.revision = sha256(Path(path).read_bytes()) if Path(path).is_file() else None
        self._answers: dict[tuple[str, ...], str] = {}
        for row in read_rows(path):
            if by is not None and row.text(by) != model:
                continue
            owner = row.text(sample) if sample is not None else text_id(row.text(str(input)) or "")
            key = (str(owner), *(str(row.text(name)) for name in self._match))
            answer = row.text(text) or ""
            if self._answers.setdefault(key, answer) != answer:
                raise HarnessError(f"{row.place}: a second, different answer for {' / '.join(key)}")
        if not self._answers:
            raise HarnessError(f"{path} holds no answer" + (f" by '{model}'" if by else ""))

    def answers(self, cell: Cell) -> bool:
        """Whether the table holds an answer for the cell."""
        return self._key(cell) in self._answers

    def reads(self, cell: Cell) -> str:  # noqa: ARG002  one table for all cells
        """The hash of the table."""
        return str(self.revision)

    async def generate(self, request: Request) -> Generation:
        """The recorded answer; empty where it is blank."""
        answer = self._answers[self._key(Cell.parse(request.cell or ""))]
        if not answer.strip():
            return Generation(answer, outcome="empty", finish_reason="stop")
        return Generation(answer, finish_reason="stop")

    def _key(self, cell: Cell) -> tuple[str, ...]:
        fields: Mapping[str, Any] = vars(cell)
        return (cell.sample, *(str(fields[name]) for name in self._match))
