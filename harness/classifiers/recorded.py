"""Predictions read from a table, so that any classifier, wherever it runs, can be explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import joins
from harness.classifiers.distribution import check_classes, check_distribution, top_label
from harness.classifiers.revision import revision_of
from harness.identity import sha256
from harness.records import HarnessError, Prediction, Sample
from harness.tables import Row, as_text, read_rows

_PREFIX = "p_"


class Recorded:
    """A classifier whose predictions stand in a CSV, JSON lines or Parquet table.

    `sample` and `label` name the columns of sample ids and of predicted labels (not of true ones).
    `probabilities` is a mapping from class to column, or one column that holds a JSON object of
    class to probability (a class it leaves out has 0); without it columns named `p_<class>` are
    taken where there are any, and an empty mapping says that there are none. With probabilities
    the label may be missing, and is then the most probable class; where it is given it stands
    even if another class is more probable, as with a decision threshold. `classes` lists the
    class names; by default they are those with a probability, else the labels found, sorted, to
    which the samples' true labels are added. White space around labels is no part of them.

    Every sample needs a row; rows of other samples are counted. `revision` is the SHA-256 of the
    table, joined by the columns and classes where they are not those that stand here.
    """

    def __init__(
        self,
        path: str,
        sample: str = "sample",
        label: str | None = "label",
        probabilities: Mapping[str, str] | str | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        rows = read_rows(path)
        if not rows:
            raise HarnessError(f"{path} has no rows")
        self.table = path
        self._sample = sample
        columns = tuple(rows[0].values)
        own = {c.removeprefix(_PREFIX).strip(): c for c in columns if c.startswith(_PREFIX)}
        if isinstance(probabilities, Mapping):
            probabilities = {str(name).strip(): column for name, column in probabilities.items()}
        elif probabilities is None:
            probabilities = own
        self._probabilities = probabilities
        if label == "label" and label not in columns and probabilities:
            label = None
        if label is None and not probabilities:
            raise HarnessError(f"{path}: name a column of labels, or columns of probabilities")
        self._label = label
        self.classes_known = classes is not None or bool(probabilities)
        found = self._classes_found(rows)
        self.classes = check_classes(found if classes is None else classes, path)
        self.revision = revision_of(
            sha256(Path(path).read_bytes()),
            sample=None if sample == "sample" else sample,
            label=None if label == ("label" if "label" in columns else None) else [label],
            probabilities=None if probabilities == own else probabilities,
            classes=None if list(self.classes) == found else list(self.classes),
        )
        self._check_columns()
        self._predictions: dict[str, Prediction] = {}
        lines: dict[str, int] = {}
        for row in rows:
            made = self._prediction(row)
            if made.sample in lines:
                raise HarnessError(
                    f"{row.place}: a second prediction for the sample '{made.sample}', which "
                    f"line {lines[made.sample]} has already"
                )
            lines[made.sample] = row.line
            self._predictions[made.sample] = made

    @property
    def named(self) -> dict[str, str]:
        """The ids of samples that the table has a prediction for."""
        return {name: name for name in self._predictions}

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """The recorded predictions. Raises `HarnessError` where a sample has none."""
        partners = joins.Partners({s.id: s.id for s in samples}, self.named)
        if partners.alone:
            raise HarnessError(
                f"{self.table} has no prediction for {partners.missing('the table')}; its column "
                f"'{self._sample}' must hold their ids"
            )
        return [self._predictions[s.id] for s in samples]

    def _classes_found(self, rows: Sequence[Row]) -> list[str]:
        if isinstance(self._probabilities, str):
            cells = [self._cell(row, self._probabilities) for row in rows]
            return list(dict.fromkeys(name for cell in cells for name in cell))
        if self._probabilities:
            return list(self._probabilities)
        labels = {row.label(self._label) for row in rows} if self._label else set()
        return sorted(label for label in labels if label is not None)

    def _check_columns(self) -> None:
        if not isinstance(self._probabilities, Mapping) or not self._probabilities:
            return
        if set(self._probabilities) != set(self.classes):
            raise HarnessError(
                f"{self.table}: there are probabilities for {', '.join(self._probabilities)}, but "
                f"the classes are {', '.join(self.classes)}"
            )

    def _prediction(self, row: Row) -> Prediction:
        sample = row.text(self._sample)
        if sample is None or not sample.strip():
            raise HarnessError(f"{row.place}: the sample id in column '{self._sample}' is empty")
        cell: dict[str, Any] = {}
        if isinstance(self._probabilities, str):
            cell = dict.fromkeys(self.classes, 0.0) | self._cell(row, self._probabilities)
        elif self._probabilities:
            cell = {name: row.column(column) for name, column in self._probabilities.items()}
        probabilities = check_distribution(cell, self.classes, row.place) if cell else {}
        label = row.label(self._label) if self._label else None
        if label is None:
            if not probabilities:
                raise HarnessError(f"{row.place}: the label in column '{self._label}' is empty")
            label = top_label(probabilities)
        if label not in self.classes:
            raise HarnessError(
                f"{row.place}: the label '{label}' is none of the classes {', '.join(self.classes)}"
            )
        return Prediction(sample, label, probabilities)

    @staticmethod
    def _cell(row: Row, column: str) -> dict[str, float]:
        value = row.structure(column)
        if not isinstance(value, dict):
            raise HarnessError(
                f"{row.place}: column '{column}' must hold an object of class to probability"
            )
        return {as_text(name).strip(): probability for name, probability in value.items()}
