"""The 35 views made one by one, as plainly as NumPy and Pillow allow: what our `views` is measured against."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image


def views(crop: np.ndarray) -> np.ndarray:
    """The crop uint8 [H,W,3] and its 34 perturbations, resized: uint8 [35,384,128,3]."""
    seen = [crop]
    seen += [light(crop, offset) for offset in (-90, -45, 45, 90)]
    seen += [blur(crop, sigma) for sigma in (1.0, 1.5, 1.85)]
    for side in ("top", "bottom", "left", "right"):
        seen += [bar(crop, side, fraction) for fraction in (0.05, 0.10, 0.15, 0.20)]
    for axes in (0.90, 0.75):
        seen += [oval(crop, axes, colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))]
    seen += [
        to_uint8(crop + np.random.default_rng(32).normal(0, 10, crop.shape)),
        salt_and_pepper(crop),
        to_uint8(crop * (1 + np.random.default_rng(34).normal(0, 0.1, crop.shape))),
    ]
    return np.stack([np.asarray(Image.fromarray(view).resize((128, 384), Image.Resampling.BILINEAR)) for view in seen])


def light(crop: np.ndarray, offset: int) -> np.ndarray:
    value = crop.max(axis=2, keepdims=True).astype(np.float64)
    moved = np.clip(value + offset, 0, 255)
    return to_uint8(np.where(value > 0, crop * moved / np.maximum(value, 1), moved))


def blur(crop: np.ndarray, sigma: float) -> np.ndarray:
    radius = math.ceil(4 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    height, width = crop.shape[:2]
    padded = np.pad(crop.astype(np.float64), ((radius, radius), (0, 0), (0, 0)), mode="edge")
    down = sum(weight * padded[start : start + height] for start, weight in enumerate(weights))
    padded = np.pad(down, ((0, 0), (radius, radius), (0, 0)), mode="edge")
    return to_uint8(sum(weight * padded[:, start : start + width] for start, weight in enumerate(weights)))


def bar(crop: np.ndarray, side: str, fraction: float) -> np.ndarray:
    height, width = crop.shape[:2]
    barred = crop.copy()
    if side == "top":
        barred[: round(fraction * height)] = 0
    elif side == "bottom":
        barred[height - round(fraction * height) :] = 0
    elif side == "left":
        barred[:, : round(fraction * width)] = 0
    else:
        barred[:, width - round(fraction * width) :] = 0
    return barred


def oval(crop: np.ndarray, axes: float, colour: tuple[int, int, int]) -> np.ndarray:
    height, width = crop.shape[:2]
    y = (np.arange(height) + 0.5 - height / 2) / (axes * height / 2)
    x = (np.arange(width) + 0.5 - width / 2) / (axes * width / 2)
    covered = crop.copy()
    covered[y[:, None] ** 2 + x[None] ** 2 > 1] = colour
    return covered


def salt_and_pepper(crop: np.ndarray) -> np.ndarray:
    drawn = np.random.default_rng(33).random(crop.shape[:2])
    speckled = crop.copy()
    speckled[drawn < 0.02] = 255
    speckled[drawn >= 0.98] = 0
    return speckled


def to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)
