"""What the features of a picture's 35 views say of its quality: all that a weighting and a utility read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qafm.identifiability import identifiability

NEARLY_ZERO = 1e-3
"""What is added to a distance before its logarithm is taken."""


@dataclass(frozen=True, eq=False)
class Quality:
    """The quality of one picture.

    identifiability: the score Q, at least 0, higher is worse.
    scatter: float32 [34], in [0,2]; see `scatter`. original: float [2048], the features of the picture itself.
    """

    identifiability: float
    scatter: np.ndarray
    original: np.ndarray


def measure(features: np.ndarray) -> Quality:
    """The quality of a picture from the features of its views, float [35,2048], view 0 the original.

    Raises ValueError where `features` is not [N,D] with N >= 2.
    """
    return Quality(identifiability(features), scatter(features), features[0])


def scatter(features: np.ndarray) -> np.ndarray:
    """How far each perturbation moves the features: float32 [N-1], in [0,2], in the order of the views.

    features: float [N,D] with N >= 2, view 0 the original.
    Each value is the Euclidean distance of a perturbed view's features to the original's, both normalised to length 1.
    Features that are all zero have no direction and stay zero: their distance to a unit vector is 1, and to other
    zeros 0.
    Raises ValueError for another shape.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"expected features of shape [N,D] with N >= 2, got {features.shape}")
    exact = features.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    directions = exact / np.where(lengths == 0, 1, lengths)
    return np.linalg.norm(directions[1:] - directions[0], axis=1).astype(np.float32)


def beyond_chance(correlation: float | None, count: int) -> bool:
    """Whether a rank correlation over `count` pictures, None where there is none, is above 0 by more than chance: one
    without a cause is in one case of 20."""
    return correlation is not None and count > 1 and correlation * math.sqrt(count - 1) > 1.645


def logarithms(distances: np.ndarray) -> np.ndarray:
    """As rules read the values of `scatter`: float64, of the same shape. A view that changes nothing has a distance
    of 0, so NEARLY_ZERO is added."""
    return np.log(distances.astype(np.float64) + NEARLY_ZERO)
