"""What goes wrong with an image, and how it then looks."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from qafm.datasets.degradations import Degradation

KINDS = ("blur", "low_resolution", "noise", "darkness", "occlusion")
"""What the drawn datasets have."""
EVERY_KIND = (*KINDS, "compression", "misalignment")
"""And what a signal of quality is checked on besides."""

NONE = Degradation("none", 0.0)


def draw_degradation(fraction: float, rng: np.random.Generator) -> Degradation:
    """A random kind and strength with probability `fraction`, else none."""
    chance, kind, strength = rng.random(), KINDS[rng.integers(len(KINDS))], rng.uniform(0.05, 1.0)
    return Degradation(kind, round(float(strength), 3)) if chance < fraction else NONE


def degrade(picture: Image.Image, degradation: Degradation, rng: np.random.Generator) -> Image.Image:
    """picture: RGB, with its degradation applied. Raises ValueError for a kind that is none of EVERY_KIND or "none"."""
    strength = degradation.strength
    width, height = picture.size
    if degradation.kind == "blur":
        return picture.filter(ImageFilter.GaussianBlur(0.4 + 3.1 * strength))
    if degradation.kind == "low_resolution":
        factor = 1.3 + 5.7 * strength
        small = (max(1, round(width / factor)), max(1, round(height / factor)))
        return picture.resize(small, Image.Resampling.BOX).resize(picture.size, Image.Resampling.BILINEAR)
    if degradation.kind == "noise":
        noise = rng.standard_normal((height, width, 3), dtype=np.float32) * (6 + 64 * strength)
        return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
    if degradation.kind == "darkness":
        # A dark picture is a noisy one: few levels are left, and the sensor's own noise does not get darker.
        noise = rng.standard_normal((height, width, 3), dtype=np.float32) * (1 + 3 * strength)
        dark = np.asarray(picture) / (1.1 + 1.4 * strength + 4.5 * strength**2)
        return Image.fromarray(np.clip(dark + noise, 0, 255).astype(np.uint8))
    if degradation.kind == "occlusion":
        return _occlude(picture, 0.1 + 0.5 * strength, rng)
    if degradation.kind == "compression":
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=round(45 - 42 * strength))
        return Image.open(buffer).convert("RGB")
    if degradation.kind == "misalignment":
        return _misalign(picture, 0.5 * strength, rng)
    if degradation.kind != "none":
        raise ValueError(f"expected a kind of {', '.join(EVERY_KIND)}, or none, got {degradation.kind}")
    return picture


def _occlude(picture: Image.Image, fraction: float, rng: np.random.Generator) -> Image.Image:
    """Something stands before `fraction` of the picture, from one side: a bush, a barrier or a wall."""
    width, height = picture.size
    covered = picture.copy()
    draw = ImageDraw.Draw(covered)
    side, kind = rng.integers(4), rng.integers(3)
    depth = fraction * (width if side < 2 else height)
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    if side == 0:
        right = depth
    elif side == 1:
        left = width - depth
    else:  # from below half of the time, from above never
        top = height - depth
    colour = tuple(int(v) for v in rng.uniform(25, 225, 3))
    draw.rectangle((left, top, right, bottom), colour)
    if kind == 0:
        for _ in range(40):
            x, y, r = rng.uniform(left, right), rng.uniform(top, bottom), rng.uniform(3, 8)
            shade = tuple(int(v * rng.uniform(0.6, 1.3)) for v in (60, 100, 50))
            draw.ellipse((x - r, y - r, x + r, y + r), shade)
    elif kind == 1:
        for step in range(int(left) - height, int(right) + height, 14):
            line = [(max(left, min(right, step + t)), top + t) for t in (0.0, bottom - top)]
            draw.line(line, tuple(int(v * 0.7) for v in colour), 4)
    pixels, before = np.asarray(covered), np.asarray(picture)
    texture = rng.standard_normal((height, width, 1), dtype=np.float32) * 5
    texture[(pixels == before).all(axis=-1)] = 0  # what is not covered stays as it was
    return Image.fromarray(np.clip(pixels + texture, 0, 255).astype(np.uint8))


def _misalign(picture: Image.Image, part: float, rng: np.random.Generator) -> Image.Image:
    """The detector's box leaves out `part` of the picture along one side, and half of that along the other."""
    width, height = picture.size
    lost = part * np.array([1, 0.5] if rng.random() < 0.5 else [0.5, 1]) * (width, height)
    left, top = lost * rng.integers(2, size=2)
    box = (left, top, left + width - lost[0], top + height - lost[1])
    return picture.resize(picture.size, Image.Resampling.BILINEAR, box=box)
