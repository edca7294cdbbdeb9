"""The arithmetic of the one resize, for where Pillow does more than is needed.

Pillow's resize is two passes, first across, then down, each rounding to bytes; every output is a weighted sum of a
window of inputs, the weights in fixed point. With the same windows and weights, a part of a picture can be resized
alone and comes out bitwise as it would in the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from qafm.contract import HEIGHT, WIDTH

_FRACTION_BITS = 22


@dataclass(frozen=True, eq=False)
class Windows:
    """The inputs that N outputs of one pass are sums of: their `index`, int [N,K], and `weights`, int32 [N,K]."""

    index: np.ndarray
    weights: np.ndarray


@lru_cache(maxsize=32)
def windows(inputs: int, outputs: int) -> Windows:
    """The windows of a bilinear, antialiased resize.

    Weights fall linearly from the centre of an output to 0. How far they reach to either side is the output's share of
    the inputs, and at least one input.
    """
    scale = inputs / outputs
    reach = max(scale, 1.0)
    centres = (np.arange(outputs) + 0.5) * scale
    first = np.maximum((centres - reach + 0.5).astype(int), 0)
    end = np.minimum((centres + reach + 0.5).astype(int), inputs)
    offsets = np.arange(math.ceil(reach) * 2 + 1)
    index = first[:, None] + offsets
    weights = 1 - np.abs((index - centres[:, None] + 0.5) / reach)
    weights = np.where(index < end[:, None], weights.clip(0), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    fixed = np.floor(weights * (1 << _FRACTION_BITS) + 0.5).astype(np.int32)
    return Windows(np.minimum(index, inputs - 1), fixed)


SMALL = (HEIGHT // 3, WIDTH // 2)
"""Height and width of every crop of Market-1501."""
_PIXEL = np.dtype("V3")
"""Moved as one: NumPy is slow over short last axes."""


def enlarged(crop: np.ndarray) -> np.ndarray:
    """A crop of that size, uint8 [128,64,3], resized: uint8 [384,128,3].

    The width doubles: an input becomes a left and a right output. Each is three quarters of the input and one quarter
    of the input's neighbour on that side. The height triples: an input becomes three outputs. The middle one is the
    input itself; the one above it is two thirds of the input and one third of the input's upper neighbour, and the one
    below it the same with the lower neighbour. At the edge of the crop an input is its own neighbour.
    """
    height, width = SMALL
    inputs = crop.reshape(height, 3 * width).astype(np.uint16)
    padded = np.concatenate([inputs[:, :3], inputs, inputs[:, -3:]], axis=1)
    threefold = 3 * inputs + 2
    pixels = np.empty((height, width, 2), _PIXEL)
    for side, neighbours in enumerate((padded[:, :-6], padded[:, 6:])):
        mixed = ((threefold + neighbours) >> 2).astype(np.uint8)
        pixels[..., side] = mixed.view(_PIXEL)

    across = pixels.view(np.uint8).reshape(height, 6 * width)
    inputs = across.astype(np.uint16)
    padded = np.concatenate([inputs[:1], inputs, inputs[-1:]])
    twofold = 2 * inputs + 1
    rows = np.empty((height, 3, 6 * width), np.uint8)
    rows[:, 0] = (twofold + padded[:-2]) // 3
    rows[:, 1] = across
    rows[:, 2] = (twofold + padded[2:]) // 3
    return rows.reshape(HEIGHT, WIDTH, 3)


Span = tuple[int, int, int]
"""Axis, first and end of some rows (axis 0) or columns (axis 1) of a crop."""


def blackened(crop: np.ndarray, whole: np.ndarray, spans: tuple[Span, ...]) -> np.ndarray:
    """For each span the crop with only that span black, resized: uint8 [len(spans),384,128,3].

    whole: the crop, resized. Each view is a copy of it, but for two kinds of outputs: those that read black pixels only
    become 0, and those that read black and other pixels are computed.
    """
    views = np.repeat(whole[None], len(spans), axis=0)
    rows, columns, black = _edges(crop.shape[0], crop.shape[1], spans)
    for view, dark in zip(views, black, strict=True):
        view[dark] = 0
    if len(rows.view):
        views[rows.view, rows.output] = _weigh(_across(crop)[rows.index], rows.weights[:, :, None, None], axis=1)
    if len(columns.view):
        mixed = _down(_weigh(crop[:, columns.index], columns.weights[None, :, :, None], axis=2))
        views[columns.view, :, columns.output] = mixed.swapaxes(0, 1)
    return views


@dataclass(frozen=True, eq=False)
class _Edges:
    """N rows or columns of outputs that read black and other pixels.

    view, output: int [N], which they are. index, weights: [N,K], what they read; the weight of a black pixel is 0.
    """

    view: np.ndarray
    output: np.ndarray
    index: np.ndarray
    weights: np.ndarray


@lru_cache(maxsize=16)
def _edges(height: int, width: int, spans: tuple[Span, ...]) -> tuple[_Edges, _Edges, list[tuple[slice, ...]]]:
    """The edges in rows and in columns, and what is all black in each view."""
    edges: tuple[list[_Edges], list[_Edges]] = ([], [])
    black = []
    for view, (axis, start, stop) in enumerate(spans):
        read = windows((height, width)[axis], (HEIGHT, WIDTH)[axis])
        inside = (read.index >= start) & (read.index < stop)
        seen, lost = ((read.weights > 0) & pixels for pixels in (~inside, inside))
        dark = np.flatnonzero(~seen.any(axis=1))
        black.append((slice(None),) * axis + (slice(dark[0], dark[-1] + 1) if len(dark) else slice(0),))
        mixed = np.flatnonzero(seen.any(axis=1) & lost.any(axis=1))
        weights = np.where(inside, 0, read.weights)
        edges[axis].append(_Edges(np.full(len(mixed), view), mixed, read.index[mixed], weights[mixed]))
    rows, columns = (
        _Edges(*(np.concatenate([getattr(of_span, name) for of_span in on_axis]) for name in vars(on_axis[0])))
        for on_axis in edges
    )
    return rows, columns, black


def _weigh(values: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """The weighted sums of uint8 values along an axis: uint8, rounded as Pillow does."""
    total: np.ndarray = (values * weights).sum(axis=axis) + (1 << (_FRACTION_BITS - 1))
    return (total >> _FRACTION_BITS).astype(np.uint8)


def _across(pixels: np.ndarray) -> np.ndarray:
    """The first pass: uint8 [H,W,3] to [H,128,3]."""
    return np.asarray(Image.fromarray(pixels).resize((WIDTH, len(pixels)), Image.Resampling.BILINEAR))


def _down(pixels: np.ndarray) -> np.ndarray:
    """The second pass: uint8 [H,C,3] to [384,C,3]."""
    size = (pixels.shape[1], HEIGHT)
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BILINEAR))
