"""Discard curves: the mAP that is left once the queries of the worst quality are left to a person.

A signal of quality is worth what leaving out its worst gains (error versus discard characteristic and its partial area:
Schlett et al., Considerations on the Evaluation of Biometric Quality Assessment Algorithms, 2023). Whatever its scale,
it is judged by its order alone, so signals can be compared with each other, with chance and with the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qafm.errors import InvalidDescriptors
from qafm.retrieval.bootstrap import SEED, Difference, Interval, draws, percentile_interval
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import Metrics

QUALITY_FIELDS = ("utility", "identifiability", "scatter")
"""The arrays of descriptors that say something of quality."""
FRACTIONS = tuple(round(0.05 * step, 2) for step in range(11))
"""Of the queries left out, of a curve."""
RESAMPLES = 2_000
"""Fewer than for a mean: each is a curve."""
LIMIT = 0.3
"""Up to it, the area counts: nobody leaves most pictures to a person."""
_STEPS = np.arange(1, 31) / 30 * LIMIT
"""Where the area is taken."""


@dataclass(frozen=True)
class DiscardCurve:
    """mAP, fractions, one for each of `fractions` of the queries left out, worst first.

    area: the mean gain over leaving none out, up to LIMIT; 0 for chance. interval: its 95 %, by bootstrap over
    identities.
    """

    fractions: tuple[float, ...]
    mAP: tuple[float, ...]  # noqa: N815
    area: float
    interval: Interval

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "fractions": list(self.fractions),
            "mAP": list(self.mAP),
            "area": self.area,
            "interval": list(self.interval),
        }


def discard_curve(
    average_precision: np.ndarray,
    quality: np.ndarray,
    pids: np.ndarray,
    *,
    fractions: Sequence[float] = FRACTIONS,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> DiscardCurve:
    """What a signal of quality is worth.

    average_precision: float [N], one a query, NaN for one without a true match, which is in no mean. quality: float
    [N], higher is better; queries of the same quality go in no order: each counts as their mean. pids: int [N].
    Between two queries a curve is straight. Raises InvalidDescriptors where no query has a value, or the quality of one
    is NaN; ValueError where the lengths differ.
    """
    values, people = _ordered(average_precision, quality, pids)
    ones = np.ones((1, len(values)))
    area = float(_area(values, ones)[0])
    drawn = _resampled_areas(values, people, resamples, seed)
    left = _left(values, ones, np.asarray(fractions, np.float64))[0]
    return DiscardCurve(tuple(fractions), tuple(left.tolist()), area, percentile_interval(drawn))


def discard_curves(
    query: Descriptors, metrics: Metrics, others: Mapping[str, np.ndarray] | None = None
) -> dict[str, DiscardCurve]:
    """A curve for each signal of quality that the queries have, by name.

    metrics: of these queries. others: further signals, float [N] each, higher is better. Raises as `discard_curve`.
    """
    signals = quality_signals(query) | dict(others or {})
    return {name: discard_curve(metrics.average_precision, each, query.pids) for name, each in signals.items()}


def quality_signals(side: Descriptors) -> dict[str, np.ndarray]:
    """What descriptors say of the quality of their images, float [N] each, higher is better, by name: "utility",
    "identifiability", which is -Q, and "scatter", minus the mean of the 34 distances."""
    signals = {
        "utility": side.utility,
        "identifiability": None if side.identifiability is None else -side.identifiability,
        "scatter": None if side.scatter is None else -side.scatter.mean(axis=1),
    }
    return {name: each for name, each in signals.items() if each is not None}


def area_difference(
    average_precision: np.ndarray,
    quality: np.ndarray,
    other: np.ndarray,
    pids: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Difference:
    """By how much the area of one signal of quality exceeds that of another, on the same queries and resamples.

    As `discard_curve` takes them, and raises.
    """
    ours, theirs = (_ordered(average_precision, each, pids) for each in (quality, other))
    value = float(_area(ours[0], np.ones((1, len(ours[0]))))[0] - _area(theirs[0], np.ones((1, len(theirs[0]))))[0])
    drawn = [_resampled_areas(*each, resamples, seed) for each in (ours, theirs)]
    return Difference(value, percentile_interval(drawn[0] - drawn[1]))


def share_of_gain(
    average_precision: np.ndarray,
    quality: np.ndarray,
    truth: np.ndarray,
    pids: np.ndarray,
    fraction: float,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Difference:
    """What leaving out a `fraction` of the queries by `quality` gains, as a part of what it gains by `truth`; 1 is all.

    As `discard_curve` takes them, and raises. NaN where the truth gains nothing; resamples in which it does not are
    left out of the interval.
    """
    gains = []
    for each in (quality, truth):
        values, people = _ordered(average_precision, each, pids)
        count, at = int(people.max()) + 1, np.array([0.0, fraction])
        weights = (np.ones((1, len(values))), *(d[:, people] for d in draws(count, resamples=resamples, seed=seed)))
        left = np.concatenate([_left(values, weight, at) for weight in weights])
        gains.append(left[:, 1] - left[:, 0])
    shares = np.full(gains[0].shape, np.nan)
    np.divide(gains[0], gains[1], out=shares, where=gains[1] > 0)
    drawn = shares[1:][np.isfinite(shares[1:])]
    return Difference(float(shares[0]), percentile_interval(drawn if len(drawn) else np.array([np.nan])))


def _ordered(average_precision: np.ndarray, quality: np.ndarray, pids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of the queries that have one, worst quality first, equal ones at their mean; and whose they are, as
    places in the ascending pids."""
    average_precision, quality = np.asarray(average_precision, np.float64), np.asarray(quality, np.float64)
    if not average_precision.shape == quality.shape == np.shape(pids):
        raise ValueError(
            f"average precisions {np.shape(average_precision)}, qualities {np.shape(quality)}, pids {np.shape(pids)}; "
            "expected one of each a query"
        )
    known = ~np.isnan(average_precision)
    if not known.any():
        raise InvalidDescriptors("none of the queries has a true match; a discard curve needs some that have")
    if missing := int(np.isnan(quality[known]).sum()):
        raise InvalidDescriptors(
            f"the quality of {missing} of {known.sum()} queries is NaN; expected a number for each"
        )
    order = np.argsort(quality[known], kind="stable")
    _, groups = np.unique(quality[known][order], return_inverse=True)
    values = average_precision[known][order]
    means = np.bincount(groups, values) / np.bincount(groups)
    return means[groups], np.unique(np.asarray(pids)[known][order], return_inverse=True)[1]


def _left(values: np.ndarray, weights: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """float64 [R,F]: the mean of what is left once a fraction of the weight is left out, from the first value on.

    values: float64 [N]. weights: float64 [R,N].
    """
    total = weights.sum(axis=1)
    found = np.empty((len(weights), len(fractions)))
    for row, (weight, whole) in enumerate(zip(weights, total, strict=True)):
        # Sums over what is left out, at each query and between.
        at = np.concatenate([[0.0], np.cumsum(weight)])
        sums = np.concatenate([[0.0], np.cumsum(weight * values)])
        out = fractions * whole
        found[row] = (sums[-1] - np.interp(out, at, sums)) / (whole - out)
    return found


def _area(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64 [R]."""
    left = _left(values, weights, np.concatenate([[0.0], _STEPS]))
    mean: np.ndarray = (left[:, 1:] - left[:, :1]).mean(axis=1)
    return mean


def _resampled_areas(values: np.ndarray, people: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """float64 [R], on resamples of identities."""
    count = int(people.max()) + 1
    return np.concatenate([_area(values, times[:, people]) for times in draws(count, resamples=resamples, seed=seed)])
