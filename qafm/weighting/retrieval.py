"""A weighting that is fitted for retrieval: logistic in how far the perturbations move the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qafm.arrays import checked_array
from qafm.errors import InvalidCheckpoint
from qafm.quality import Quality
from qafm.utility import NUMBERS, numbers


@dataclass(frozen=True, eq=False)
class Retrieval:
    """α = sigmoid(offset + linear·n), n = (numbers - centre) / spread, by the numbers that the utility reads too.

    centre, spread, linear [40], offset [], all float32, spread above 0. Raises InvalidCheckpoint.
    """

    kind: ClassVar[str] = "retrieval"
    shapes: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "centre": (NUMBERS,),
        "spread": (NUMBERS,),
        "linear": (NUMBERS,),
        "offset": (),
    }

    centre: np.ndarray
    spread: np.ndarray
    linear: np.ndarray
    offset: np.ndarray

    def __post_init__(self) -> None:
        for name, shape in self.shapes.items():
            object.__setattr__(self, name, checked_array(f"{self.kind} weighting", name, getattr(self, name), shape))
        if (self.spread <= 0).any():
            raise InvalidCheckpoint(f"the {self.kind} weighting's spread must be above 0, got {self.spread.min()}")

    def alpha(self, quality: Quality) -> float:
        """α in [0,1], from the 34 distances, Q and the length of the features."""
        return float(self.alphas(numbers(quality)))

    def alphas(self, numbers: np.ndarray) -> np.ndarray:
        """The same of one picture or of many, float64 [...], from their numbers [...,40]; see `qafm.utility`."""
        logits = self.offset + (numbers - self.centre) / self.spread @ self.linear
        alphas: np.ndarray = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
        return alphas

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in self.shapes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Retrieval:
        return cls(**arrays)
