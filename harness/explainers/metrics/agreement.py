"""How far methods say the same of the same samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.explainers.explanation import Explanation
from harness.explainers.metrics.similarity import spearman, top
from harness.stats import intervals

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

MEASURES = ("rank_correlation", "feature_agreement", "sign_agreement")
_SHARE = 0.2  # of the units, for the two that look at the largest


def agreement(explanation: Explanation, clusters: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Each pair of methods: columns a, b, measure, mean, low, high, samples.

    - `rank_correlation`: Spearman's, of all values, -1 to 1
    - `feature_agreement`: of the fifth of the units with the largest sizes of values, the share
      that both methods name
    - `sign_agreement`: the share that both name with the same sign

    Only attributions of the same sample, target, output, removal and units are compared.

    Source: Krishna et al. 2024, "The Disagreement Problem in Explainable Machine Learning: A
    Practitioner's Perspective" (TMLR), section 3.
    """
    import numpy as np
    import pandas as pd

    methods = list(dict.fromkeys(a.method for a in explanation))
    by = {
        (a.method, a.sample, a.target, a.output, a.removal, a.units): np.array(
            [value for value in a.values if value is not None]
        )
        for a in explanation
    }
    rows = []
    for a, b in itertools.combinations(methods, 2):
        pairs = [
            (key[1], values, by[b, *key[1:]])
            for key, values in by.items()
            if key[0] == a and (b, *key[1:]) in by and len(values) > 1
        ]
        for measure in MEASURES:
            known = [(sample, _measured(measure, x, y)) for sample, x, y in pairs]
            mean = intervals.mean(
                [value for _, value in known],
                [(clusters or {}).get(sample, sample) for sample, _ in known],
                bounds=(-1.0 if measure == "rank_correlation" else 0.0, 1.0),
            )
            rows.append((a, b, measure, mean.value, mean.low, mean.high, len(known)))
    names = ("a", "b", "measure", "mean", "low", "high", "samples")
    return pd.DataFrame(rows, columns=pd.Index(names))


def _measured(measure: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    import numpy as np

    if measure == "rank_correlation":
        return spearman(x, y)
    count = max(1, math.ceil(_SHARE * len(x)))
    both = top(x, count) & top(y, count)
    if measure == "sign_agreement":
        both = {place for place in both if np.sign(x[place]) == np.sign(y[place])}
    return len(both) / count
