"""A weight that a caller chose."""

from __future__ import annotations

import numpy as np

from qafm.contract import ALPHA
from qafm.errors import InvalidSettings


def check_alpha(alpha: np.ndarray) -> None:
    """alpha: float32, any shape. Raises InvalidSettings where a value is not in [0,1]."""
    if wrong := [value for value in alpha.ravel() if not ALPHA.holds(value)]:
        raise InvalidSettings(f"{ALPHA.name} is {wrong[0]:g}; expected a weight {ALPHA.range_in_words}")
