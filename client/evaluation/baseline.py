"""A yardstick without learning: colour histograms of horizontal stripes, compared by the Hellinger distance.

A trained model should be far better than this on any dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qafm.errors import InvalidImage
from qafm.files import read_file
from qafm.images import MAX_BYTES, decode
from qafm.retrieval.descriptors import Descriptors

STRIPES = 6
BINS = 8
"""Levels of each of red, green and blue."""
NAME = "colour histogram: 6 horizontal stripes, 8x8x8 RGB each, Hellinger distance"


def colour_histogram(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Square roots of the colour histograms of the stripes of a crop uint8 [H,W,3], H >= 4: float32 [3072].

    The histograms together sum to 1, so the vector has length 1, and the Euclidean distance of two such
    vectors is the Hellinger distance of the histograms times the square root of two: the same order.
    """
    height = pixels.shape[0]
    levels = pixels.astype(np.int64) * BINS // 256
    stripe = np.arange(height)[:, None] * STRIPES // height
    colour = (levels[..., 0] * BINS + levels[..., 1]) * BINS + levels[..., 2]
    counts = np.bincount((stripe * BINS**3 + colour).ravel(), minlength=STRIPES * BINS**3)
    histogram: NDArray[np.float32] = np.sqrt(counts / counts.sum()).astype(np.float32)
    return histogram


def describe_by_colour(root: Path, images: Descriptors, on_image: Callable[[], None] = lambda: None) -> Descriptors:
    """The same N images, their paths relative to `root`, with colour histograms as descriptors: float32
    [N,3072].

    Calls `on_image` after each. Raises InvalidImage or OSError for a file that cannot be read.
    """
    assert images.paths is not None
    histograms = np.empty((len(images), STRIPES * BINS**3), dtype=np.float32)
    for row, path in enumerate(images.paths):
        try:
            histograms[row] = colour_histogram(decode(read_file(root / path, MAX_BYTES)))
        except InvalidImage as error:
            raise InvalidImage(f"{path}: {error}") from error
        on_image()
    return Descriptors(histograms, images.pids, images.camids, images.paths)
