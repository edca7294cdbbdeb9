"""Arrays that are read from a file and must be what they are said to be."""

from __future__ import annotations

import numpy as np

from qafm.errors import InvalidCheckpoint


def checked_array(owner: str, name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`values` as float32. Raises InvalidCheckpoint, which names the owner, where they are not finite or not of this
    shape."""
    values = np.asarray(values)
    if values.dtype.kind not in "fiu" or values.shape != shape or not np.isfinite(values).all():
        raise InvalidCheckpoint(
            f"the {owner}'s {name} must be finite numbers of shape {list(shape)}, got {values.dtype} of shape "
            f"{list(values.shape)}: {values.ravel()[:4]}"
        )
    return values.astype(np.float32)
