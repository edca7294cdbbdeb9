"""From the identifiability score Q to the fusion weight α (paper, section IV.2, "Dynamic Weighting").

α is the weight of the visual branch (Eq. 3): V = [α·v_a, (1-α)·v_s].
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qafm.errors import InvalidCheckpoint

HIDDEN_SIZE = 32
_SHAPES = {
    "w1": (HIDDEN_SIZE, 1),
    "b1": (HIDDEN_SIZE,),
    "w2": (1, HIDDEN_SIZE),
    "b2": (1,),
    "mu": (),
    "sigma": (),
}


@dataclass(frozen=True)
class AlphaNetwork:
    """z = (Q - mu) / sigma, then a perceptron 1 -> 32 -> 1 with ReLU, then a sigmoid.

    w1 [32,1], b1 [32], w2 [1,32], b2 [1], mu [] and sigma [] > 0, all float32. mu and sigma are the mean and
    standard deviation of Q over identities that the IQA network did not see.
    """

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    mu: np.ndarray
    sigma: np.ndarray

    def __post_init__(self) -> None:
        for name, shape in _SHAPES.items():
            values = np.asarray(getattr(self, name), dtype=np.float32)
            if values.shape != shape or not np.isfinite(values).all():
                raise InvalidCheckpoint(
                    f"the weight network's {name} must be finite and of shape {list(shape)}, got shape "
                    f"{list(values.shape)}: {values.ravel()[:4]}"
                )
            object.__setattr__(self, name, values)
        if self.sigma <= 0:
            raise InvalidCheckpoint(f"the weight network's sigma must be above 0, got {self.sigma}")

    def alpha(self, q: float) -> float:
        """α in [0,1] for one identifiability score."""
        z = (np.float32(q) - self.mu) / self.sigma
        hidden = np.maximum(self.w1[:, 0] * z + self.b1, 0)
        # Summed without BLAS: 32 products are no work for threads that then fight the networks for cores.
        logit = float((self.w2[0] * hidden).sum() + self.b2[0])
        return 1 / (1 + np.exp(-logit)) if logit >= 0 else np.exp(logit) / (1 + np.exp(logit))

    def save(self, path: Path) -> None:
        """Write the arrays to an .npz file."""
        np.savez(path, **{name: getattr(self, name) for name in _SHAPES})

    @classmethod
    def load(cls, path: Path) -> AlphaNetwork:
        """Read an .npz file that `save` wrote. Raises InvalidCheckpoint where an array is missing or malformed."""
        with np.load(path, allow_pickle=False) as arrays:
            if absent := sorted(_SHAPES.keys() - set(arrays.files)):
                raise InvalidCheckpoint(f"{path}: no array {', '.join(absent)}; expected {', '.join(_SHAPES)}")
            return cls(**{name: arrays[name] for name in _SHAPES})
