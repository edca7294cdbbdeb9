"""The metrics that are left where the queries of the worst quality are left to a person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qafm.datasets.crops import JUNK_PID
from qafm.errors import InvalidDescriptors, InvalidSettings
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.discard import quality_signals
from qafm.retrieval.distances import Distance
from qafm.retrieval.metrics import Metrics, evaluate


@dataclass(frozen=True, eq=False)
class Abstention:
    """A share of the queries left out, those of the worst quality.

    fraction: that was asked for. signal: the name of what said so. threshold: the worst value of it that is answered,
    of the utility the lowest, of Q the highest. left_out: how many queries are not. metrics: of the others.
    """

    fraction: float
    signal: str
    threshold: float
    left_out: int
    metrics: Metrics

    @property
    def title(self) -> str:
        """For a column of metrics."""
        return f"Without the worst {self.left_out:,}"

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        own = {name: getattr(self, name) for name in ("fraction", "signal", "threshold", "left_out")}
        return own | self.metrics.summary()


def require_fraction(fraction: float) -> None:
    """Raises InvalidSettings for one that is not above 0 and below 1."""
    if not 0 < fraction < 1:
        raise InvalidSettings(f"the share of queries to leave out is {fraction}; expected one above 0 and below 1")


def abstain(
    query: Descriptors, gallery: Descriptors, fraction: float, *, distance: Distance = "euclidean"
) -> Abstention:
    """Leave out a `fraction` of the queries: those of the lowest utility, or where they have none of the highest Q.

    Queries as good as the worst that is answered are answered as well. Raises InvalidSettings as `require_fraction`,
    InvalidDescriptors where the queries have no signal of quality, and as `evaluate` does.
    """
    require_fraction(fraction)
    signals = quality_signals(query)
    signal = next((name for name in ("utility", "identifiability") if name in signals), None)
    if signal is None:
        raise InvalidDescriptors(
            "the queries have no signal of quality to leave out the worst by; expected utility or identifiability, as "
            "`client eval` writes them"
        )
    counted = query.pids != JUNK_PID
    values = np.sort(signals[signal][counted])
    threshold = values[int(fraction * len(values) + 1e-9)]
    answered = counted & (signals[signal] >= threshold)
    rest = replace(query, pids=np.where(answered, query.pids, JUNK_PID))
    metrics = evaluate(rest, gallery, distance=distance)
    # Signals are higher for better pictures, Q is lower.
    threshold = -threshold if signal == "identifiability" else threshold
    return Abstention(fraction, signal, float(threshold), int(counted.sum() - answered.sum()), metrics)


def abstention_summary(abstained: Abstention | None) -> dict[str, Any]:
    """What JSON says of it: nothing where it was not asked for."""
    return {"abstained": abstained.summary()} if abstained else {}
