"""Answers recorded in a table, from any tool or any earlier run, scored as if they were new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import joins
from harness.identity import sha256, text_id
from harness.records import Capabilities, Cell, Generation, HarnessError, Request
from harness.tables import Row, read_rows

_CELL_COLUMNS = ("family", "variant", "arm", "aspect", "repeat")


class Replay:
    """Generations from a CSV, JSONL or Parquet table with one answer a row.

    `text` names the column of answers; `sample` that of sample ids, or `input` that of sample texts
    where samples have no id column. `by` names the column whose value must be `model`. `match`
    lists those of family, variant, arm, aspect and repeat that the table also has; what it
    lacks is answered alike for all cells. Two different answers to one cell are refused. A cell
    without a row is no answer and counts so in coverage; rows of no cell are counted too.
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
        self.table = path
        self._match = tuple(match)
        self.revision = sha256(Path(path).read_bytes()) if Path(path).is_file() else None
        self._answers: dict[tuple[str, ...], str] = {}
        self._named: dict[str, str] = {}
        others: dict[str, None] = {}
        for row in read_rows(path):
            said_by = None if by is None else row.text(by)
            if by is not None and said_by != model:
                others[said_by or ""] = None
                continue
            written = _owner(row, sample, input)
            owner = written if sample is not None else text_id(written)
            key = (owner, *(str(row.text(name)) for name in self._match))
            answer = row.written(text) or ""
            if self._answers.setdefault(key, answer) != answer:
                raise HarnessError(f"{row.place}: a second, different answer for {' / '.join(key)}")
            self._named[owner] = written
        near = joins.alike([model], others)
        if near:
            raise HarnessError(
                f"{path}, column '{by}': {near[0]}; write the model's name in one way, or give "
                f"'{near[0].other}' as model"
            )
        if not self._answers:
            said = f" by '{model}'; column '{by}' holds {', '.join(list(others)[:5])}" if by else ""
            raise HarnessError(f"{path} holds no answer{said}")

    @property
    def named(self) -> dict[str, str]:
        """The samples that the table has an answer for: by id, how the table writes them."""
        return dict(self._named)

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

    def unused(self, cells: Iterable[Cell]) -> list[str]:
        """The rows that answer none of these cells, of samples that one of them is about."""
        asked = list(cells)
        used, samples = {self._key(cell) for cell in asked}, {cell.sample for cell in asked}
        return [" / ".join(k) for k in self._answers if k not in used and k[0] in samples]

    def _key(self, cell: Cell) -> tuple[str, ...]:
        fields: Mapping[str, Any] = vars(cell)
        return (cell.sample, *(str(fields[name]) for name in self._match))


def _owner(row: Row, sample: str | None, input: str | None) -> str:
    """Whose answer a row holds: an id, or the text that the id is made from."""
    column = sample if sample is not None else str(input)
    written = row.text(column) if sample is not None else row.written(column)
    if written is None or not written.strip():
        what = "id" if sample is not None else "text"
        raise HarnessError(f"{row.place}: the sample's {what} in column '{column}' is empty")
    return written
