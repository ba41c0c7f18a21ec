"""Total Sobol indices at a third of interpreto's rows, against all sets. Bar: error at most its."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import games
import numpy as np
import peers

from harness.explainers.attributions.sobol import Sobol


def ratios(
    python: str, checkpoint: Path, classifier: Any, texts: list[str], threads: int
) -> dict[str, float]:
    """Error and rows over interpreto's, means over texts; ours also over ten seeds."""
    answer = peers.interpreto(
        python,
        "sobol",
        checkpoint=str(checkpoint),
        texts=texts,
        threads=threads,
        batch=64,
        amount=32,
    )
    # It forwards each text once more for its own purposes, which is not counted against it.
    mine, theirs, rows, their_rows = [], [], 0, 0
    for text, values in zip(texts, answer["values"], strict=True):
        value, players = games.of_text(classifier, text)
        value = games.tabled(value, players)
        truth = games.played(Sobol(), value, players, 2**players, 0)
        of_peer = 32 * (players + 2)
        budget = min(of_peer // 3, 2**players - 1)
        errors = [
            np.abs(games.played(Sobol(), value, players, budget, seed) - truth).mean()
            for seed in range(10)
        ]
        mine.append(np.mean(errors))
        theirs.append(np.abs(np.array(values) - truth).mean())
        rows, their_rows = rows + budget, their_rows + of_peer
    return {
        "error": float(np.mean(mine) / np.mean(theirs)),
        "error of ours": float(np.mean(mine)),
        "rows": rows / their_rows,
        "rows the network saw at interpreto": float(answer["rows"]),
    }
