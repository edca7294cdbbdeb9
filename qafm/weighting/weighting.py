"""What every weighting offers: a rule from the quality of a picture to the fusion weight α."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

import numpy as np

from qafm.quality import Quality


class Weighting(Protocol):
    """α is the weight of the visual branch (paper, Eq. 3): V = [α·v_a, (1-α)·v_s].

    Each kind has a file of its own, and a line in `qafm.weighting.files`.
    """

    kind: ClassVar[str]
    """The name of the kind, as `alpha.npz` has it."""
    shapes: ClassVar[Mapping[str, tuple[int, ...]]]
    """The shapes of its arrays, by name. All are float32; none is named `kind` or `format`."""

    def alpha(self, quality: Quality) -> float:
        """α in [0,1] for one picture."""

    def arrays(self) -> dict[str, np.ndarray]:
        """All that the weighting is made of, by name."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Weighting:
        """The weighting with these arrays. Raises InvalidCheckpoint where one is not finite or has another shape."""
