"""Utility: what a picture is worth for recognition (ISO/IEC 29794-1's word), as a rule over the features of its views.

Q says how far the features scatter; which way and how much that matters for finding a person differs from one thing
that is wrong to another, and from person to person. The rule is taught what pictures lose when they are made worse
(`train.quality.utility`), and serves in NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qafm.arrays import checked_array
from qafm.contract import FEATURE_SIZE, PERTURBATION_COUNT
from qafm.errors import InvalidCheckpoint
from qafm.perturbations import BAR_FRACTIONS, BAR_SIDES, PERTURBATIONS
from qafm.quality import Quality, logarithms

NUMBERS = PERTURBATION_COUNT + 2 + len(BAR_SIDES)
"""How many a picture is summed up in, beside the direction of its features."""
Q, LENGTH = PERTURBATION_COUNT, PERTURBATION_COUNT + 1
"""Where the logarithms of Q and of the features' length stand among them, after those of the 34 distances."""
PREFIX = "utility_"
"""Of the arrays' names in `alpha.npz`, where they stand beside the weighting's."""

_BAR_PLACES = [perturbation.index - 1 for perturbation in PERTURBATIONS if perturbation.family == "occlusion"]


def numbers(quality: Quality) -> np.ndarray:
    """What a picture is summed up in, float64 [40].

    The logarithms of the 34 distances, of Q and of the length of the picture's features; and of the black bars the mean
    logarithm for each side, sorted: something before the person hides the bars on its own side, whichever that is.
    """
    distances = logarithms(quality.scatter)
    bars = distances[_BAR_PLACES].reshape(len(BAR_SIDES), len(BAR_FRACTIONS)).mean(axis=1)
    length = float(np.linalg.norm(quality.original.astype(np.float64)))
    whole = logarithms(np.array([quality.identifiability, length]))
    return np.concatenate([distances, whole, np.sort(bars)])


def direction(quality: Quality) -> np.ndarray:
    """The picture's own features at length 1, float64 [2048]; of all zeros, zeros."""
    features = quality.original.astype(np.float64)
    return features / max(float(np.linalg.norm(features)), 1e-12)


@dataclass(frozen=True, eq=False)
class Utility:
    """sigmoid(offset + linear·n + square·n² + features·u), with n = (numbers - centre) / spread and u the direction.

    centre, spread, linear, square [40], features [2048], offset [], all float32, spread above 0. 0.5 is an ordinary
    picture. Raises InvalidCheckpoint.
    """

    shapes: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "centre": (NUMBERS,),
        "spread": (NUMBERS,),
        "linear": (NUMBERS,),
        "square": (NUMBERS,),
        "features": (FEATURE_SIZE,),
        "offset": (),
    }

    centre: np.ndarray
    spread: np.ndarray
    linear: np.ndarray
    square: np.ndarray
    features: np.ndarray
    offset: np.ndarray

    def __post_init__(self) -> None:
        for name, shape in self.shapes.items():
            object.__setattr__(self, name, checked_array("utility", name, getattr(self, name), shape))
        if (self.spread <= 0).any():
            raise InvalidCheckpoint(f"the utility's spread must be above 0, got {self.spread.min()}")

    def of(self, quality: Quality) -> float:
        """In [0,1], higher is better."""
        return float(1 / (1 + np.exp(-np.clip(self.logit(quality), -60, 60))))

    def logit(self, quality: Quality) -> float:
        """The same before the sigmoid."""
        return float(self.score(numbers(quality), direction(quality)))

    def score(self, numbers: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Before the sigmoid, of one picture or of many, float64 [...]: numbers [...,40], direction [...,2048]."""
        standard = (numbers - self.centre) / self.spread
        return self.offset + standard @ self.linear + standard**2 @ self.square + direction @ self.features

    def arrays(self) -> dict[str, np.ndarray]:
        """All that it is made of, by name as in `alpha.npz`."""
        return {PREFIX + name: getattr(self, name) for name in self.shapes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Utility | None:
        """The one with these arrays, by name as in `alpha.npz`; None where there are none of it.

        Raises InvalidCheckpoint where some of them are missing, not finite or of another shape.
        """
        found = {name: arrays[PREFIX + name] for name in cls.shapes if PREFIX + name in arrays}
        if found and (absent := sorted(cls.shapes.keys() - found.keys())):
            raise InvalidCheckpoint(f"no array {', '.join(PREFIX + name for name in absent)}; the utility needs all")
        return cls(**found) if found else None
