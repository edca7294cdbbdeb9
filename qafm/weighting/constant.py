"""A weighting that looks at nothing: the same α for every picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qafm.arrays import checked_array
from qafm.errors import InvalidCheckpoint
from qafm.quality import Quality


@dataclass(frozen=True, eq=False)
class Constant:
    """`value`, float32 [] in [0,1], is α itself; among the arrays its name is `alpha`. Raises InvalidCheckpoint."""

    kind: ClassVar[str] = "constant"
    shapes: ClassVar[Mapping[str, tuple[int, ...]]] = {"alpha": ()}

    value: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", checked_array(f"{self.kind} weighting", "alpha", self.value, ()))
        if not 0 <= self.value <= 1:
            raise InvalidCheckpoint(f"the {self.kind} weighting's alpha must be from 0 to 1, got {self.value}")

    def alpha(self, quality: Quality) -> float:
        """α in [0,1], whatever the quality."""
        return float(self.value)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"alpha": self.value}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Constant:
        return cls(arrays["alpha"])
