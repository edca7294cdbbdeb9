"""How well attributes are predicted, each by itself: accuracy, balanced accuracy, AUC.

Where 98.7 % wear no hat, always answering "no" is 98.7 % accurate. Balanced accuracy is 1/K for whatever answers always
the same of K values (Brodersen et al., The Balanced Accuracy and Its Posterior Distribution, ICPR 2010). AUC does not
depend on a threshold: it is 1/2 for probabilities that say nothing.

Throughout, `probabilities` are float [N,30], as the ATTRIBUTES tensor has them, and `labels` int [N,12], in the order
of `qafm.attributes.SCHEMA`; an image whose label is MISSING takes no part in that attribute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qafm.attributes import MISSING, SCHEMA, Attribute, predicted
from qafm.retrieval.bootstrap import (
    RESAMPLES,
    SEED,
    Interval,
    identity_sums,
    percentile_interval,
    resampled_sums,
)


@dataclass(frozen=True)
class HeadMetrics:
    """How well one attribute is predicted, over its `images` annotated images. Fractions.

    majority: the accuracy of always answering the most frequent value. balanced_accuracy: see `balanced_accuracy`. auc:
    see `head_auc`; None where all images have one value. values: how many values occur; always the same of them has a
    balanced accuracy of one over it. balanced_accuracy_interval: 95 %, by bootstrap over identities, where these are
    known.
    """

    accuracy: float
    majority: float
    balanced_accuracy: float
    auc: float | None
    images: int
    values: int
    balanced_accuracy_interval: Interval | None = None


def head_metrics(
    probabilities: np.ndarray, labels: np.ndarray, pids: np.ndarray | None = None
) -> dict[str, HeadMetrics]:
    """The metrics of each attribute by name; one that no image has annotated is left out.

    pids: int [N], the identity of each image, for the intervals.
    """
    intervals = {} if pids is None else balanced_accuracy_intervals(probabilities, labels, pids)
    return {
        head.attribute.name: HeadMetrics(
            accuracy=float((head.guessed == head.actual).mean()),
            majority=float(np.bincount(head.actual).max() / len(head.actual)),
            balanced_accuracy=balanced_accuracy(head.guessed, head.actual),
            auc=head_auc(head.attribute, head.probabilities, head.actual),
            images=len(head.actual),
            values=len(np.unique(head.actual)),
            balanced_accuracy_interval=intervals.get(head.attribute.name),
        )
        for head in _heads(probabilities, labels)
    }


def balanced_accuracy(guessed: np.ndarray, actual: np.ndarray) -> float:
    """The mean over the values that occur in `actual` of how many of their images are guessed right.

    guessed, actual: int [N], N at least 1. Of four images without a hat three are right, and the one with a hat is not:
    (3/4 + 0) / 2.
    """
    counts = np.bincount(actual)
    right = np.bincount(actual[guessed == actual], minlength=len(counts))
    occurs = counts > 0
    return float((right[occurs] / counts[occurs]).mean())


def auc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """How often a positive image has a higher score than a negative one, ties counting half: the area under the ROC.

    scores: float [N]. positive: bool [N]. None where there are only positive images, or only negative ones.
    By ranks (Hanley and McNeil, The Meaning and Use of the Area under a ROC Curve, Radiology 1982).
    """
    negatives = np.sort(scores[~positive])
    positives = scores[positive]
    if not len(negatives) or not len(positives):
        return None
    lower, not_higher = (np.searchsorted(negatives, positives, side) for side in ("left", "right"))
    return float((lower + not_higher).mean() / (2 * len(negatives)))


def head_auc(attribute: Attribute, probabilities: np.ndarray, actual: np.ndarray) -> float | None:
    """The AUC of a binary attribute; of any other the mean over the values that occur, each against the rest.

    probabilities: float [N,C], the attribute's own columns. actual: int [N]. None where all images have one value.
    """
    if attribute.binary:
        return auc(probabilities[:, 0], actual == 1)
    of_values = [auc(probabilities[:, value], actual == value) for value in np.unique(actual)]
    known = [one for one in of_values if one is not None]
    return float(np.mean(known)) if known else None


def balanced_accuracy_intervals(
    probabilities: np.ndarray,
    labels: np.ndarray,
    pids: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Interval]:
    """The 95 % interval of each attribute's balanced accuracy by name, by `qafm.retrieval.bootstrap`.

    pids: int [N], the identity of each image. Labels are an identity's, so a value that few identities have makes the
    interval wide, and one that a single identity has says nothing of others: such a head's interval is not to be
    trusted. A resample without a value takes the mean over the others. Raises ValueError where the lengths differ.
    """
    if not len(probabilities) == len(labels) == len(pids):
        raise ValueError(
            f"{len(probabilities)} rows of probabilities, {len(labels)} of labels and {len(pids)} pids; "
            "expected one of each an image"
        )
    sizes = [len(attribute.values) for attribute in SCHEMA]
    actual, guessed = (_one_hot(values, sizes) for values in (labels, predicted(probabilities)))
    sums = identity_sums(np.hstack([actual & guessed, actual]), pids)
    right, counts = np.split(resampled_sums(sums, resamples=resamples, seed=seed), 2, axis=1)
    # NaN where a resample draws nobody with the value.
    recalls = np.divide(right, counts, out=np.full_like(right, np.nan), where=counts > 0)
    intervals = {}
    for attribute, own in zip(SCHEMA, np.split(recalls, np.cumsum(sizes)[:-1], axis=1), strict=True):
        drawn = own[~np.isnan(own).all(axis=1)]
        if len(drawn):
            intervals[attribute.name] = percentile_interval(np.nanmean(drawn, axis=1))
    return intervals


def _one_hot(values: np.ndarray, sizes: list[int]) -> np.ndarray:
    """bool [N, sum of sizes] of int [N,12]: for each attribute as many columns as it has values."""
    return np.hstack([values[:, [column]] == np.arange(size) for column, size in enumerate(sizes)])


@dataclass(frozen=True, eq=False)
class _Head:
    """One attribute over the images that have it annotated. probabilities: float [M,C]. guessed, actual: int [M]."""

    attribute: Attribute
    probabilities: np.ndarray
    guessed: np.ndarray
    actual: np.ndarray


def _heads(probabilities: np.ndarray, labels: np.ndarray) -> Iterator[_Head]:
    """The attributes that any image has annotated."""
    labels = np.asarray(labels)
    for attribute, guessed, actual in zip(SCHEMA, predicted(probabilities).T, labels.T, strict=True):
        known = actual != MISSING
        if known.any():
            yield _Head(attribute, probabilities[known, attribute.columns], guessed[known], actual[known])
