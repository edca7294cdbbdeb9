"""The identifiability score Q: how far a network's features scatter under the perturbations (paper, Eq. 1).

Q is high for a picture that is hard to identify. The features are the unnormalised output of the IQA network.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Pairs = Literal["all", "original"]


def identifiability(features: np.ndarray, pairs: Pairs = "all") -> float:
    """Mean Euclidean distance between the features of an image's views.

    features: float [N,D] with N >= 2, view 0 the original.
    pairs: "all" averages all N(N-1)/2 pairs (Eq. 1); "original" only the N-1 pairs with view 0, as the paper's
    protocol section has it.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"expected features of shape [N,D] with N >= 2, got {features.shape}")
    if pairs == "original":
        offsets = features[1:].astype(np.float64) - features[0]
        return float(np.sqrt(np.einsum("nd,nd->n", offsets, offsets)).mean())
    # |a-b|^2 = |a|^2 + |b|^2 - 2ab cancels when the views lie close together and far from the origin, so the
    # common part is taken away first; float64 keeps the rest exact to well under the tolerance of 1e-3.
    centred = features.astype(np.float64)
    centred -= centred.mean(axis=0)
    products = centred @ centred.T
    squares = np.diagonal(products)
    distances = np.sqrt((squares[:, None] + squares[None] - 2 * products).clip(min=0))
    return float(distances[np.triu_indices(len(features), k=1)].mean())
