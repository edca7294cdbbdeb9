"""One picture that is always the same: its views tell whether two installations make the same views."""

from __future__ import annotations

import hashlib

import numpy as np

from qafm.perturbations import views


def digest_of_views() -> str:
    """SHA-256 of the 35 views of one drawn picture, in hexadecimal. Another Pillow or other perturbations change it."""
    return hashlib.sha256(views(drawn_picture()).tobytes()).hexdigest()


def drawn_picture() -> np.ndarray:
    """uint8 [128,64,3]: slopes of all three colours under a fine and a coarse pattern; nobody's picture."""
    rows, columns = np.mgrid[:128, :64]
    pattern = (rows // 16 + columns // 8) % 2 * 40 + (rows * columns) % 23
    colours = np.stack([2 * rows, 4 * columns, 255 - 2 * rows], axis=-1)
    return (colours * 3 // 4 + pattern[..., None]).clip(0, 255).astype(np.uint8)
