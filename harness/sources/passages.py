"""Short passages cut from longer documents, with the label's names masked.

A document that names its own label would give the answer away, and two passages of one document
are no independent samples: names are masked, and documents are split whole into a part to train
on and a part to evaluate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from harness.identity import draw
from harness.records import HarnessError, Part, Sample
from harness.sentences import split
from harness.tables import Row, read_rows, select

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
        part: Literal["train", "test", "all"] = "all",
        test_share: float = 0.4,
        per_document: int | None = None,
        seed: int = 0,
    ) -> None:
        if len(sentences) != 2 or not 1 <= sentences[0] <= sentences[1]:
            raise HarnessError("source 'passages': sentences must read [fewest, most]")
        if part not in ("train", "test", "all"):
            raise HarnessError(f"source 'passages': part is '{part}', not train, test or all")
        self._rows = select(read_rows(path), where)
        self._columns = (text, label, id, tuple(metadata))
        self._sentences = (sentences[0], sentences[1])
        self._mask = tuple(mask)
        self._part = part
        self._test_share = test_share
        self._per_document = per_document
        self._seed = seed

    def samples(self) -> list[Sample]:
        """The passages of the part, document after document."""
        text, label, id_column, metadata = self._columns
        names = [*self._mask, *{str(row.text(label)) for row in self._rows}]
        pattern = _names(names)
        testing = self._testing()
        found = []
        for row in self._rows:
            document = str(row.text(id_column))
            if self._part != "all" and (document in testing) != (self._part == "test"):
                continue
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

    def _testing(self) -> set[str]:
        """The documents to evaluate on: in each label the first by a seeded draw."""
        _, label, id_column, _ = self._columns
        by_label: dict[str, list[Row]] = {}
        for row in self._rows:
            by_label.setdefault(str(row.text(label)), []).append(row)
        chosen: set[str] = set()
        for rows in by_label.values():
            names = sorted(
                {str(row.text(id_column)) for row in rows}, key=lambda n: draw(self._seed, "part", n)
            )
            count = max(1, round(self._test_share * len(names)))
            chosen.update(names[:count])
        return chosen

    def _passages(self, text: str, document: str) -> list[str]:
        """Consecutive runs of sentences, their lengths drawn by seed; a short rest is left out."""
        sentences = [sentence for sentence in split(text) if len(sentence.split()) >= 3]
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
