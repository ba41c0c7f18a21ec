"""A run as tables: one row a cell, a score, a prediction. Timings are left out, so that two runs
of the same suite, seed, machine and versions export the same bytes."""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from harness import private
from harness.records import InfrastructureError, StoredScore
from harness.scoring import Run
from harness.store import Store

if TYPE_CHECKING:
    import pandas as pd

PLACE = ("model", "sample", "family", "variant", "arm", "aspect", "repeat")
"""The parts of a cell's id."""
# What a spreadsheet runs: these signs, full-width ones too, behind whatever it strips or a person
# would; a tab or a line break at the beginning makes some programs look behind it.
_FORMULA = re.compile(
    r"[\s\"'`‘’“”\x00-\x1f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*[=+\-@＝＋－＠﹢﹣﹦﹫−]|[\t\r\n]"
)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")


def cells_table(store: Store) -> pd.DataFrame:
    """One row a cell, in the order of the plan: what it is, was told, and was answered."""
    import pandas as pd

    run = Run(store)
    rows = []
    for cell_id, answered in run.answered.items():
        cell, generation = answered.cell, answered.generation
        sample = run.samples[cell.sample]
        rows.append(
            {
                "cell": cell_id,
                **vars(cell),
                "true": sample.label,
                "told": answered.told,
                "request": answered.key,
                "outcome": answered.outcome,
                "text": generation.text if generation else None,
                "reasoning": generation.reasoning if generation else None,
                "error": generation.error if generation else None,
                "prompt_tokens": generation.prompt_tokens if generation else None,
                "completion_tokens": generation.completion_tokens if generation else None,
            }
        )
    frame = pd.DataFrame(rows)
    for column in ("prompt_tokens", "completion_tokens"):
        if column in frame:
            frame[column] = frame[column].astype("Int64")
    return frame


def scores_table(store: Store) -> pd.DataFrame:
    """One row a score that counts (see `Run.scores`): subject, metric, value, version, and of what.

    `model`, `sample`, `family`, `variant`, `arm`, `aspect` and `repeat` are empty where a subject
    has none: a group along an axis leaves that axis empty, and an answer that several cells share
    keeps what all of them have.
    """
    import pandas as pd

    columns: list[str] = ["subject_kind", "subject", "metric", "scorer", "version", "value"]
    run = Run(store)
    places = _Places(run)
    rows: list[dict[str, Any]] = [
        {name: getattr(score, name) for name in columns} | places.of(score)
        for score in _counting(run)
    ]
    frame = pd.DataFrame(rows, columns=pd.Index([*columns, *PLACE]))
    frame["value"] = frame["value"].astype("Float64")
    frame["repeat"] = frame["repeat"].astype("Int64")
    return frame


def _counting(run: Run) -> list[StoredScore]:
    """The scores that count: of answers, of attributions and of concept spaces."""
    from harness.analysis.explainers import scores_of_attributions, scores_of_concepts

    return [
        *run.scores(),
        *scores_of_attributions(run),
        *scores_of_concepts(run.store, run.manifest.classifier_revision),
    ]


class _Places:
    """What the subjects of a run's scores are of."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def of(self, score: StoredScore) -> dict[str, Any]:
        if score.subject_kind in ("cell", "group"):
            parts = [None if part == "*" else unquote(part) for part in score.subject.split("/")]
            found: dict[str, Any] = dict(zip(PLACE, parts, strict=True))
            return found | {"repeat": found["repeat"] and int(found["repeat"])}
        if score.subject_kind == "generation":
            return self._of_answers.get(score.subject, {})
        sample = self._of_attributions.get(score.subject)
        return {"sample": sample} if sample is not None else {}

    @cached_property
    def _of_answers(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for answered in self._run.answered.values():
            mine = {name: getattr(answered.cell, name) for name in PLACE}
            for subject in (self._run.place(answered), answered.key):  # older runs have the key
                before = found.setdefault(subject, mine)
                found[subject] = {k: v if before[k] == v else None for k, v in mine.items()}
        return found

    @cached_property
    def _of_attributions(self) -> dict[str, str]:
        return {key: one.sample for key, one in self._run.store.attribution_records()}


def predictions_table(store: Store) -> pd.DataFrame:
    """One row a sample: true label, prediction, probabilities and metadata."""
    import pandas as pd

    predictions = store.predictions()
    rows = []
    for sample in store.samples():
        prediction = predictions.get(sample.id)
        row: dict[str, Any] = {"sample": sample.id, "label": sample.label}
        row |= {f"metadata.{key}": value for key, value in sample.metadata.items()}
        row["predicted"] = prediction.label if prediction else None
        if prediction is not None:
            row |= {f"p_{name}": value for name, value in prediction.probabilities.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def export(store: Store, kind: str, folder: Path) -> list[tuple[Path, int]]:
    """Writes cells, scores and predictions as `parquet`, `csv` or `jsonl`: paths and rows.

    CSV is for people and their spreadsheets: texts that these would run as formulas begin with an
    apostrophe there, so that file is no round trip; the other two are.
    """
    tables = {
        "cells": cells_table(store),
        "scores": scores_table(store),
        "predictions": predictions_table(store),
    }
    try:
        private.folder(folder, below=store.folder)
        return [
            (_write(frame, kind, folder / f"{name}.{kind}"), len(frame))
            for name, frame in tables.items()
        ]
    except OSError as error:
        raise InfrastructureError(
            f"{error.filename or folder} cannot be written ({error.strerror or error}); "
            "--out names another folder"
        ) from error


def _disarmed(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before what a spreadsheet takes for a formula; numbers stay."""
    texts = [name for name in frame.columns if frame[name].map(lambda v: isinstance(v, str)).any()]
    changed = {name: frame[name].map(_as_text) for name in texts}
    return frame.assign(**changed).rename(columns=_as_text)


def _as_text(value: Any) -> Any:
    runs = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if runs else value


def _write(frame: pd.DataFrame, kind: str, path: Path) -> Path:
    if kind == "parquet":
        frame.to_parquet(path, index=False)
    elif kind == "csv":
        _disarmed(frame).to_csv(path, index=False)
    else:
        # pandas writes 15 digits at most; a float needs 17 to be read back as it was.
        plain = frame.astype(object).where(frame.notna(), None)
        with path.open("w", encoding="utf-8") as file:
            for row in plain.to_dict("records"):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path
