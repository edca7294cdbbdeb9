"""What a camera makes of a person: which side it sees, and how it records."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageEnhance

from synthetic.worlds import Camera

WIDTH, HEIGHT = 64, 128
"""Of a crop, as Market-1501 has them."""


def heading(camera: Camera, rng: np.random.Generator) -> float:
    """A direction somebody walks in, in radians: 0 towards the camera."""
    quarter = np.searchsorted(np.cumsum(camera.headings), rng.random() * sum(camera.headings), side="right")
    return float(quarter * math.pi / 2 + rng.normal(0, 0.33))


def expose(picture: Image.Image, camera: Camera, rng: np.random.Generator) -> Image.Image:
    """The picture as the camera records it: light, tones, colours, sharpness, noise."""
    gain = camera.exposure * math.exp(rng.normal(0, 0.06))
    cast = np.array(camera.cast) * np.exp(rng.normal(0, 0.02, 3))
    tones = (np.arange(256) / 255)[None] * (gain * cast)[:, None]
    table = np.clip(255 * np.minimum(tones, 1.3) ** camera.gamma, 0, 255)
    picture = picture.point(np.rint(table).astype(int).ravel().tolist())
    picture = ImageEnhance.Color(picture).enhance(camera.saturation * math.exp(rng.normal(0, 0.06)))
    sharpness = camera.sharpness * rng.uniform(0.8, 1.1)
    if sharpness < 1:
        small = (round(WIDTH * sharpness), round(HEIGHT * sharpness))
        picture = picture.resize(small, Image.Resampling.BILINEAR).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    noise = rng.standard_normal((HEIGHT, WIDTH, 3), dtype=np.float32) * camera.noise
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def record(picture: Image.Image, rng: np.random.Generator) -> bytes:
    """The JPEG file that is kept of it."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(rng.integers(78, 95)))
    return buffer.getvalue()
