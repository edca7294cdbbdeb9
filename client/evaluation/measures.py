"""What is measured of described images: how good the ranking is, for whom, between which cameras, and by which
threshold."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.evaluation.ablation import known
from qafm.attributes import MISSING, SCHEMA
from qafm.datasets.degradations import Degradation
from qafm.retrieval.abstention import Abstention, abstain, abstention_summary
from qafm.retrieval.acceptance import Acceptance, Rates, acceptance
from qafm.retrieval.bootstrap import Interval
from qafm.retrieval.cameras import CameraPairs, camera_pairs
from qafm.retrieval.comparison import intervals
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.discard import DiscardCurve, discard_curves
from qafm.retrieval.metrics import Metrics, evaluate
from qafm.retrieval.reranking import Reranking
from qafm.retrieval.score import discard_summary, reranked_summary
from qafm.retrieval.verification import OperatingPoint, operating_points

GROUPED_BY = ("gender", "age", "up", "down", "clothes")
"""The attributes of a person whose values' rates are told beside each other."""
ENOUGH_IDENTITIES = 10
"""Of fewer, a group's interval is too narrow to say anything: of one it has no width."""
_STEPS = 400
"""Of the ROC: thresholds that lie evenly over the distances of descriptors of length 1."""


@dataclass(frozen=True)
class Group:
    """What one threshold accepts for the queries of people with one value of an attribute."""

    attribute: str
    value: str
    rates: Rates


@dataclass(frozen=True, eq=False)
class Measured:
    """The result of ranking, in every way that a report tells of it.

    intervals: 95 %, of rank1 and mAP. verification: one threshold for all pairs. discard: by signal of quality.
    reranked, abstained: where asked for. cameras: None where they are too many. roc: thresholds, false and true
    positive rates, float64 [T] each; None where there is no operating point. everybody, groups: what the
    threshold of `judged` accepts, of all people and of those whose attributes are annotated; None and empty where there
    is no such threshold. seconds: of the metrics, their intervals and the operating points.
    """

    metrics: Metrics
    intervals: dict[str, Interval] = field(default_factory=dict)
    verification: list[OperatingPoint] = field(default_factory=list)
    reranked: Metrics | None = None
    abstained: Abstention | None = None
    discard: dict[str, DiscardCurve] = field(default_factory=dict)
    cameras: CameraPairs | None = None
    roc: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None = None
    everybody: Rates | None = None
    groups: tuple[Group, ...] = ()
    seconds: float = 0.0

    @property
    def judged(self) -> OperatingPoint | None:
        """The operating point by which groups are compared: that of one false positive in a thousand, where there are
        enough impostors for it; else the strictest."""
        exact = [point for point in self.verification if point.false_positive_rate == 1e-3]
        return next(iter(exact or self.verification[-1:]), None)

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.metrics.summary(),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            **reranked_summary(self.reranked),
            **abstention_summary(self.abstained),
            "verification": [asdict(point) for point in self.verification],
            **discard_summary(self.discard),
            **_cameras_summary(self.cameras),
            **_roc_summary(self.roc),
            **self._groups_summary(),
        }

    def _groups_summary(self) -> dict[str, Any]:
        if self.judged is None or self.everybody is None:
            return {}
        groups = [
            {"attribute": group.attribute, "value": group.value, **_rates_summary(group.rates)} for group in self.groups
        ]
        return {
            "groups": {"threshold": self.judged.threshold, "everybody": _rates_summary(self.everybody), "of": groups}
        }


def measure(
    query: Descriptors,
    gallery: Descriptors,
    attributes: Mapping[int, NDArray[np.int8]],
    *,
    rerank: bool = False,
    abstaining: float | None = None,
    recorded: Mapping[str, Degradation] | None = None,
) -> Measured:
    """attributes: by pid, where they are annotated. recorded: by path, what is wrong with the images.

    Raises InvalidDescriptors where nothing can be measured.
    """
    start = time.perf_counter()
    metrics = evaluate(query, gallery)
    ends = intervals(metrics, query.pids)
    verification = operating_points(query, gallery)
    seconds = time.perf_counter() - start
    # The truth, where it is recorded, is a signal that no other can beat by more than chance.
    truth = {"recorded strength": _strength(query, recorded)} if recorded else None
    measured = Measured(
        metrics,
        ends,
        verification,
        reranked=evaluate(query, gallery, Reranking()) if rerank else None,
        abstained=None if abstaining is None else abstain(query, gallery, abstaining),
        discard=discard_curves(query, metrics, truth),
        cameras=camera_pairs(query, gallery),
        seconds=seconds,
    )
    return _with_thresholds(measured, query, gallery, attributes)


def _with_thresholds(
    measured: Measured, query: Descriptors, gallery: Descriptors, attributes: Mapping[int, NDArray[np.int8]]
) -> Measured:
    """With the ROC and the rates of groups, which need all distances once more."""
    judged = measured.judged
    if judged is None:
        return measured
    thresholds = np.union1d(np.linspace(0, 2, _STEPS + 1), [point.threshold for point in measured.verification])
    counted = acceptance(query, gallery, thresholds)
    place = int(np.searchsorted(thresholds, judged.threshold))
    everybody = counted.rates(place, np.ones(len(query), bool), query.pids)
    groups = tuple(_groups(counted, place, query.pids, attributes)) if everybody else ()
    return replace(measured, roc=(thresholds, *counted.roc()), everybody=everybody, groups=groups)


def _groups(
    counted: Acceptance, place: int, pids: NDArray[np.int64], attributes: Mapping[int, NDArray[np.int8]]
) -> Iterable[Group]:
    for column, attribute in enumerate(SCHEMA):
        if attribute.name not in GROUPED_BY:
            continue
        labels = np.array([attributes[pid][column] if pid in attributes else MISSING for pid in pids.tolist()])
        for index, value in enumerate(attribute.values):
            rates = counted.rates(place, labels == index, pids) if (labels == index).any() else None
            if rates is not None:
                yield Group(attribute.name, value, rates)


def _strength(side: Descriptors, recorded: Mapping[str, Degradation]) -> NDArray[np.float64]:
    """How good the images are by what is recorded to be wrong with them: minus its strength, float64 [N]."""
    return np.array([-recorded[path].strength for path in known(side.paths).tolist()])


def _rates_summary(rates: Rates) -> dict[str, Any]:
    return {
        "identities": rates.identities,
        "true_positive_rate": rates.true_positive.value,
        "true_positive_interval": list(rates.true_positive.interval),
        "false_positive_rate": rates.false_positive.value,
        "false_positive_interval": list(rates.false_positive.interval),
    }


def _cameras_summary(cameras: CameraPairs | None) -> dict[str, Any]:
    if cameras is None:
        return {}
    rows = [[None if np.isnan(cell) else float(cell) for cell in row] for row in cameras.mAP]
    return {
        "cameras": {
            "asked": cameras.asked.tolist(),
            "searched": cameras.searched.tolist(),
            "mAP": rows,
            "queries": cameras.queries.tolist(),
        }
    }


def _roc_summary(roc: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None) -> dict[str, Any]:
    if roc is None:
        return {}
    names = ("threshold", "false_positive_rate", "true_positive_rate")
    return {"roc": {name: values.tolist() for name, values in zip(names, roc, strict=True)}}
