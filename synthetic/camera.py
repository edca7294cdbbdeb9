"""Six cameras: what each makes of the same person, and the places it looks at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from synthetic.plan import SCENE
from synthetic.recipe import CAMERAS

WIDTH, HEIGHT = 64, 128
"""Of a crop, as Market-1501 has them."""
SCENES = 4
_SCENE_WIDTH, _SCENE_HEIGHT = 420, 250
_LEAVES = np.array((58, 92, 50))


@dataclass(frozen=True)
class Camera:
    """How one camera sees.

    cast: gain of red, green, blue. exposure: gain. gamma: of the tones. saturation: 1 leaves colours alone.
    tilt: how far it looks down, 0..1. sharpness: pixels it really has for each pixel of the crop. noise:
    standard deviation in grey levels. headings: how often people walk towards it, to the right of the
    picture, away, to the left.
    """

    cast: tuple[float, float, float]
    exposure: float
    gamma: float
    saturation: float
    tilt: float
    sharpness: float
    noise: float
    headings: tuple[float, float, float, float]


_CAMERAS = (
    Camera((1.00, 1.00, 1.00), 1.00, 1.00, 1.00, 0.15, 1.00, 2.0, (0.40, 0.15, 0.30, 0.15)),
    Camera((1.06, 1.00, 0.94), 0.95, 1.02, 0.95, 0.45, 0.90, 3.0, (0.15, 0.35, 0.15, 0.35)),
    Camera((0.95, 1.00, 1.06), 1.03, 0.98, 0.94, 0.05, 0.95, 2.0, (0.30, 0.20, 0.30, 0.20)),
    Camera((0.98, 1.03, 0.97), 0.91, 1.03, 1.02, 0.30, 1.00, 3.0, (0.10, 0.20, 0.50, 0.20)),
    Camera((1.02, 0.98, 1.02), 1.05, 0.97, 0.92, 0.60, 0.85, 3.0, (0.45, 0.20, 0.15, 0.20)),
    Camera((0.98, 1.00, 1.02), 0.96, 0.95, 0.88, 0.25, 0.65, 4.0, (0.25, 0.25, 0.25, 0.25)),
)
assert len(_CAMERAS) == CAMERAS


def camera(camid: int) -> Camera:
    """camid: from 1."""
    return _CAMERAS[camid - 1]


def heading(camera: Camera, rng: np.random.Generator) -> float:
    """A direction somebody walks in, in radians: 0 towards the camera."""
    quarter = np.searchsorted(np.cumsum(camera.headings), rng.random() * sum(camera.headings), side="right")
    return float(quarter * math.pi / 2 + rng.normal(0, 0.33))


def background(seed: int, camid: int, rng: np.random.Generator) -> Image.Image:
    """What is behind a person: RGB, 64x128, from a random place in one of the camera's scenes."""
    scene = _scene(seed, camid, int(rng.integers(SCENES)))
    height = rng.uniform(100, 190)
    width = height / 2
    left = rng.uniform(0, _SCENE_WIDTH - width)
    top = rng.uniform(0, _SCENE_HEIGHT - height)
    return scene.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))


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


def _drab(rng: np.random.Generator, darkest: float, brightest: float) -> np.ndarray:
    """A colour as streets have it: mostly grey, sometimes not."""
    tint = 45 if rng.random() < 0.2 else 12
    return np.clip(rng.uniform(darkest, brightest) + rng.normal(0, tint, 3), 0, 255)


@lru_cache(maxsize=CAMERAS * SCENES)
def _scene(seed: int, camid: int, number: int) -> Image.Image:
    rng = np.random.default_rng([seed, SCENE, camid, number])
    style = np.random.default_rng([seed, SCENE, camid])  # the same walls and paving in all scenes of a camera
    wall, ground = _drab(style, 90, 200), _drab(style, 90, 180)

    def tone(base: np.ndarray) -> tuple[int, ...]:
        varied = base + rng.normal(0, 14) + rng.normal(0, 4, 3)
        return tuple(int(v) for v in np.clip(varied, 0, 255))

    scene = Image.new("RGB", (_SCENE_WIDTH, _SCENE_HEIGHT), tone(wall))
    draw = ImageDraw.Draw(scene)
    horizon = int(rng.integers(70, 130))
    draw.rectangle((0, horizon, _SCENE_WIDTH, _SCENE_HEIGHT), tone(ground))
    for _ in range(14):  # windows, doors, posters
        x, y = int(rng.integers(0, _SCENE_WIDTH)), int(rng.integers(0, horizon))
        w, h = int(rng.integers(8, 60)), int(rng.integers(10, 60))
        draw.rectangle((x, y, x + w, min(y + h, horizon)), tone(_drab(rng, 40, 220)))
    for x in np.cumsum(rng.uniform(8, 40, 30)):  # paving
        draw.line((x, horizon, x + (x - _SCENE_WIDTH / 2) * 1.5, _SCENE_HEIGHT), tone(ground * 0.85))
    for y in horizon + np.cumsum(rng.uniform(6, 25, 8)):
        draw.line((0, y, _SCENE_WIDTH, y), tone(ground * 0.85))
    for _ in range(9):  # bushes, crates, cars, posts
        x, y = int(rng.integers(0, _SCENE_WIDTH)), int(rng.integers(horizon - 20, _SCENE_HEIGHT))
        w, h = int(rng.integers(6, 70)), int(rng.integers(15, 60))
        colour, kind = tone(_drab(rng, 25, 230)), rng.integers(4)
        if kind == 0:
            for _ in range(12):
                dx, dy, r = rng.uniform(0, w), rng.uniform(-h / 2, 0), rng.uniform(4, 12)
                draw.ellipse((x + dx - r, y + dy - r, x + dx + r, y + dy + r), tone(_LEAVES))
        elif kind == 1:
            draw.rectangle((x, y - h, x + w, y), colour)
        elif kind == 2:
            draw.rounded_rectangle((x, y - h * 0.6, x + 2 * w, y), 8, colour)
            for wheel in (x + 0.3 * w, x + 1.5 * w):
                draw.ellipse((wheel, y - 8, wheel + 16, y + 8), (25, 25, 28))
        else:
            draw.rectangle((x, 0, x + w // 6 + 2, y), colour)
    patches = rng.normal(0, 14, (_SCENE_HEIGHT // 10, _SCENE_WIDTH // 10)).astype(np.float32)
    light = np.asarray(Image.fromarray(patches).resize(scene.size, Image.Resampling.BICUBIC))[..., None]
    grain = rng.normal(0, 6, (_SCENE_HEIGHT, _SCENE_WIDTH, 1))
    lit = np.clip(np.asarray(scene.filter(ImageFilter.GaussianBlur(0.7))) + light + grain, 0, 255)
    return Image.fromarray(lit.astype(np.uint8))
