"""A weight that a caller chose."""

from __future__ import annotations

import numpy as np

from qafm.errors import InvalidSettings


def check_alpha(alpha: np.ndarray) -> None:
    """alpha: float32, any shape. Raises InvalidSettings where a value is not in [0,1]."""
    wrong = alpha[~((alpha >= 0) & (alpha <= 1))]
    if wrong.size:
        raise InvalidSettings(f"ALPHA is {wrong.flat[0]:g}; expected a weight from 0 to 1")
