"""The paper's weighting: a small perceptron over the identifiability score Q (section IV.2, "Dynamic Weighting")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qafm.arrays import checked_array
from qafm.errors import InvalidCheckpoint
from qafm.quality import Quality

HIDDEN_SIZE = 32


@dataclass(frozen=True, eq=False)
class Perceptron:
    """z = (Q - mu) / sigma, then a perceptron 1 -> 32 -> 1 with ReLU, then a sigmoid.

    w1 [32,1], b1 [32], w2 [1,32], b2 [1], mu [] and sigma [] > 0, all float32. mu and sigma are the mean and
    standard deviation of Q over identities that the IQA network did not see. Raises InvalidCheckpoint.
    """

    kind: ClassVar[str] = "paper"
    shapes: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "w1": (HIDDEN_SIZE, 1),
        "b1": (HIDDEN_SIZE,),
        "w2": (1, HIDDEN_SIZE),
        "b2": (1,),
        "mu": (),
        "sigma": (),
    }

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    mu: np.ndarray
    sigma: np.ndarray

    def __post_init__(self) -> None:
        for name, shape in self.shapes.items():
            object.__setattr__(self, name, checked_array(f"{self.kind} weighting", name, getattr(self, name), shape))
        if self.sigma <= 0:
            raise InvalidCheckpoint(f"the {self.kind} weighting's sigma must be above 0, got {self.sigma}")

    def alpha(self, quality: Quality) -> float:
        """α in [0,1], from Q alone."""
        z = (np.float32(quality.identifiability) - self.mu) / self.sigma
        hidden = np.maximum(self.w1[:, 0] * z + self.b1, 0)
        # Summed without BLAS: 32 products are no work for threads that then fight the networks for cores.
        logit = float((self.w2[0] * hidden).sum() + self.b2[0])
        return 1 / (1 + np.exp(-logit)) if logit >= 0 else np.exp(logit) / (1 + np.exp(logit))

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in self.shapes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Perceptron:
        return cls(**arrays)
