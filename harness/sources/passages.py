"""Short passages cut from longer documents, with the label's names masked.

A document that names its own label would give the answer away, and two passages of one document
are no independent samples: names are masked, the document is the cluster, and a suite that trains
splits by `where`, so that no document stands on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness import fields
from harness.identity import draw
from harness.records import HarnessError, Part, Sample
from harness.sentences import sentences as split_sentences
from harness.sources.invalid import LeftOut
from harness.sources.table import row_id, row_metadata
from harness.tables import Row

MASK = "[condition]"


class Passages:
    """Passages of `sentences` = [fewest, most] sentences from a table of documents.

    `text`, `label`, `id` and each of `metadata` name columns; `where` keeps the rows with a value.
    `mask` lists names, in any case, that are replaced by `[condition]` beside the labels
    themselves. At most `per_document` passages of a document are taken. A passage's id is
    `document:number`, its cluster the document. `skip_invalid` leaves out each row with an error,
    and lists it, in place of stopping.
    """

    cluster_name = "document"

    def __init__(
        self,
        path: str,
        text: str,
        label: str,
        id: str,
        metadata: Sequence[str] = (),
        where: Mapping[str, Any] | None = None,
        sentences: Sequence[int] = (2, 4),
        mask: Sequence[str] = (),
        per_document: int | None = None,
        seed: int = 0,
        skip_invalid: bool = False,
    ) -> None:
        fields.switches("source 'passages'", skip_invalid=skip_invalid)
        if len(sentences) != 2 or not 1 <= sentences[0] <= sentences[1]:
            raise HarnessError("source 'passages': sentences must read [fewest, most]")
        self._left_out = LeftOut(path, skip_invalid)
        self._where = where
        self._columns = (text, label, id, tuple(metadata))
        self._sentences = (sentences[0], sentences[1])
        self._mask = tuple(mask)
        self._per_document = per_document
        self._seed = seed

    @property
    def notes(self) -> tuple[str, ...]:
        """Which rows were left out."""
        return tuple(self._left_out.notes)

    def samples(self) -> list[Sample]:
        """The passages, document after document. Raises `HarnessError` naming the line."""
        text, label, id_column, metadata = self._columns
        rows: list[tuple[Row, str, str, str]] = []
        columns = [text, label, id_column, *metadata]
        for row in self._left_out.rows(self._where, columns):
            with self._left_out.unless_valid():
                written, named = row.written(text), row.label(label)
                if named is None:
                    raise HarnessError(f"{row.place}: the label in column '{label}' is empty")
                rows.append((row, row_id(row, id_column), written or "", named))
        pattern = _names([*self._mask, *{named for _, _, _, named in rows}])
        found = []
        for row, document, written, named in rows:
            passages = self._passages(pattern.sub(MASK, written), document)
            found += [
                Sample(
                    id=f"{document}:{number}",
                    input=(Part(passage),),
                    label=named,
                    metadata=row_metadata(row, metadata),
                    cluster=document,
                )
                for number, passage in enumerate(passages[: self._per_document], 1)
            ]
        if not found:
            raise HarnessError("source 'passages': no passage is left")
        return found

    def _passages(self, text: str, document: str) -> list[str]:
        """Consecutive runs of sentences, their lengths drawn by seed; a short rest is left out."""
        sentences = [sentence for sentence in split_sentences(text) if len(sentence.split()) >= 3]
        fewest, most = self._sentences
        passages, start = [], 0
        while start + fewest <= len(sentences):
            length = fewest + int(draw(self._seed, document, start) * (most - fewest + 1))
            passages.append(" ".join(sentences[start : start + length]))
            start += length
        return passages


def _names(names: Sequence[str]) -> re.Pattern[str]:
    """Any of the names as whole words, the longest first, with a plural or possessive ending."""
    ordered = sorted({name.strip() for name in names if name.strip()}, key=lambda n: (-len(n), n))
    parts = [re.escape(name).replace(r"\ ", r"[\s-]+") for name in ordered]
    return re.compile(rf"\b(?:{'|'.join(parts)})(?:'s|s)?\b", re.IGNORECASE)
