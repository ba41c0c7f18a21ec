"""A run as tables: one row a cell, a score, a prediction. Timings are left out, so that two runs
of the same suite, seed, machine and versions export the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.records import InfrastructureError, StoredScore
from harness.scoring import Run
from harness.store import Store

if TYPE_CHECKING:
    import pandas as pd


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
    """One row a score that counts (see `Run.scores`): subject, metric, value, version."""
    import pandas as pd

    columns: list[str] = ["subject_kind", "subject", "metric", "scorer", "version", "value"]
    rows: list[dict[str, Any]] = [
        {name: getattr(score, name) for name in columns} for score in _counting(Run(store))
    ]
    frame = pd.DataFrame(rows, columns=columns)
    frame["value"] = frame["value"].astype("Float64")
    return frame


def _counting(run: Run) -> list[StoredScore]:
    """The scores that count: of answers, of attributions and of concept spaces."""
    from harness.analysis.explainers import scores_of_attributions, scores_of_concepts

    return [*run.scores(), *scores_of_attributions(run), *scores_of_concepts(run)]


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
    """Writes cells, scores and predictions as `parquet`, `csv` or `jsonl`: paths and rows."""
    tables = {
        "cells": cells_table(store),
        "scores": scores_table(store),
        "predictions": predictions_table(store),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [
            (_write(frame, kind, folder / f"{name}.{kind}"), len(frame))
            for name, frame in tables.items()
        ]
    except OSError as error:
        raise InfrastructureError(
            f"{error.filename or folder} cannot be written ({error.strerror or error}); "
            "--out names another folder"
        ) from error


def _write(frame: pd.DataFrame, kind: str, path: Path) -> Path:
    if kind == "parquet":
        frame.to_parquet(path, index=False)
    elif kind == "csv":
        frame.to_csv(path, index=False)
    else:
        # pandas writes 15 digits at most; a float needs 17 to be read back as it was.
        plain = frame.astype(object).where(frame.notna(), None)
        with path.open("w", encoding="utf-8") as file:
            for row in plain.to_dict("records"):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path
