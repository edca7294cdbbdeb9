"""Several pictures of one person as one: a descriptor that is a mean of theirs, or the picture nearest to that."""

from __future__ import annotations

import numpy as np

_WHATEVER_IT_IS_WORTH = 0.5
_ROUNDING = 1e-6
"""Cosines that differ by less are equal."""


def weights_by(utilities: np.ndarray) -> np.ndarray:
    """What pictures of these utilities, in [0,1], count in a pooled descriptor, float64 [N]: a half and the utility.

    Chosen on held-out people: by the utility alone a good picture drowns the others, whose errors are not the same as
    its own (docs/results.md).
    """
    weights: np.ndarray = _WHATEVER_IT_IS_WORTH + np.asarray(utilities, np.float64)
    return weights


def pooled(descriptors: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The mean of the N descriptors of one person, by `weights`, at length 1: float32 [D].

    descriptors: float [N,D]; each counts at length 1. weights: float [N], at least 0, in any unit; where all are 0, or
    none are given, each picture counts alike. Raises ValueError for other shapes or weights.
    """
    descriptors = np.asarray(descriptors, np.float64)
    if descriptors.ndim != 2 or not len(descriptors):
        raise ValueError(f"expected descriptors of shape [N,D] with N >= 1, got {list(descriptors.shape)}")
    weights = np.ones(len(descriptors)) if weights is None else np.asarray(weights, np.float64)
    if weights.shape != descriptors.shape[:1] or not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(f"expected {len(descriptors)} finite weights of at least 0, got {weights.tolist()}")
    if not weights.any():
        weights = np.ones(len(descriptors))
    lengths = np.linalg.norm(descriptors, axis=1, keepdims=True)
    mean = (weights[:, None] * descriptors / np.maximum(lengths, 1e-12)).sum(axis=0)
    unit: np.ndarray = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return unit.astype(np.float32)


def nearest_to_pool(descriptors: np.ndarray, weights: np.ndarray | None = None) -> int:
    """Which of N descriptors, float [N,D], has the largest cosine to all of them `pooled` by `weights`; the first of
    equals. Of two it is the one of the larger weight. Raises as `pooled` does."""
    towards = pooled(descriptors, weights).astype(np.float64)
    descriptors = np.asarray(descriptors, np.float64)
    cosines = descriptors @ towards / np.maximum(np.linalg.norm(descriptors, axis=1), 1e-12)
    return int((cosines >= cosines.max() - _ROUNDING).argmax())
