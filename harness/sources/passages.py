"""Short passages cut from longer documents, with the label's names masked.

A document that names its own label would give the answer away, and two passages of one document
are no independent samples: names are masked, the document is the cluster, and a suite that trains
splits by `where`, so that no document stands on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.identity import draw
from harness.records import HarnessError, Part, Sample
from harness.sentences import sentences as split_sentences
from harness.tables import read_rows, select

MASK = "[condition]"


class Passages:
    """Passages of `sentences` = [fewest, most] sentences from a table of documents.

    `text`, `label`, `id` and each of `metadata` name columns; `where` keeps the rows with a value.
    `mask` lists names, in any case, that are replaced by `[condition]` beside the labels
    themselves. `part` is `train`, `test` or `all`: in each label a seeded share `test_share` of the
    documents, at least one, is for testing. A passage's id is `document:number`, its cluster the
    document.
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
    ) -> None:
        if len(sentences) != 2 or not 1 <= sentences[0] <= sentences[1]:
            raise HarnessError("source 'passages': sentences must read [fewest, most]")
        self._rows = select(read_rows(path), where)
        self._columns = (text, label, id, tuple(metadata))
        self._sentences = (sentences[0], sentences[1])
        self._mask = tuple(mask)
        self._per_document = per_document
        self._seed = seed

    def samples(self) -> list[Sample]:
        """The passages, document after document."""
        text, label, id_column, metadata = self._columns
        names = [*self._mask, *{str(row.text(label)) for row in self._rows}]
        pattern = _names(names)
        found = []
        for row in self._rows:
            document = str(row.text(id_column))
            passages = self._passages(pattern.sub(MASK, row.text(text) or ""), document)
            found += [
                Sample(
                    id=f"{document}:{number}",
                    input=(Part(passage),),
                    label=row.text(label),
                    metadata={name: row.column(name) for name in metadata},
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
