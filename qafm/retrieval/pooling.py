"""Several pictures of one person as one: a descriptor that is a mean of theirs."""

from __future__ import annotations

import numpy as np


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
