"""The gate of `qafm_fast`: one look must say what the 35 views say, of pictures of people whom no network saw.

Where it does not, the repository gets no `quality` and no `qafm_fast`; the exact Q is still there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import spearmanr

from export.fidelity import Bound
from export.quality_check import Looked
from qafm.contract import ALPHA, IDENTIFIABILITY, UTILITY
from qafm.errors import InvalidDescriptors
from qafm.retrieval.discard import discard_curves
from qafm.retrieval.metrics import evaluate

BOUNDS = {
    "identifiability_spearman": Bound(0.85, least=True),
    "utility_spearman": Bound(0.75, least=True),
    "alpha_difference": Bound(0.03),
    "mAP_difference": Bound(0.005),
    "discard_loss": Bound(0.01),
}
"""Of what `measure_fast` measures. A utility that few lessons taught is noisy, which one look does not follow: what it
is for, leaving pictures out, is bounded too."""


def check_fast(looked: Looked) -> dict[str, Any]:
    """What the gate measured, as the manifest has it under "fast": on how many pictures, whether one look may be served
    ("installed"), and of each measure what was found and what is expected."""
    measured = measure_fast(looked)
    return {
        "pictures": len(looked.pictures),
        "installed": all(bound.holds(measured[name]) for name, bound in BOUNDS.items()),
        **{name: {"measured": measured[name], "expected": str(bound)} for name, bound in BOUNDS.items()},
    }


def measure_fast(looked: Looked) -> dict[str, float]:
    """How near one look at N pictures comes to their 35 views.

    identifiability_spearman, utility_spearman: rank correlations. alpha_difference: mean absolute difference.
    mAP_difference: absolute difference, a fraction, each picture looked for among all crops as they were, at its own α.
    discard_loss: what the area of the utility's discard curve loses (`qafm.retrieval.discard`). The last two are NaN
    where no picture has a match by another camera.
    """
    exact, fast = looked.outputs, looked.fast
    assert fast is not None
    by_views, by_one_look = looked.query(exact), looked.query(fast)
    try:
        metrics = [evaluate(query, looked.gallery) for query in (by_views, by_one_look)]
    except InvalidDescriptors:
        found, areas = [np.nan, np.nan], [np.nan, np.nan]
    else:
        found = [each.mAP for each in metrics]
        # Both by the same search: quality is judged, not what uses it.
        areas = [discard_curves(query, metrics[0], {})["utility"].area for query in (by_views, by_one_look)]
    return {
        **{
            f"{tensor.name.lower()}_spearman": float(spearmanr(exact[tensor.name], fast[tensor.name]).statistic)
            for tensor in (IDENTIFIABILITY, UTILITY)
        },
        "alpha_difference": float(np.abs(exact[ALPHA.name] - fast[ALPHA.name]).mean()),
        "mAP_difference": abs(found[0] - found[1]),
        "discard_loss": float(areas[0] - areas[1]),
    }
