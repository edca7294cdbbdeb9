"""The places that cameras look at."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from synthetic.camera import HEIGHT, WIDTH
from synthetic.plan import SCENE, seed
from synthetic.recipe import Recipe
from synthetic.worlds import WORLDS, Shades

_SCENES = 4
"""Of each camera."""
_KEPT = 32
"""Scenes, more than the cameras of a world have."""
_SCENE_WIDTH, _SCENE_HEIGHT = 420, 250


def background(recipe: Recipe, camid: int, rng: np.random.Generator) -> Image.Image:
    """What is behind a person: RGB, 64x128, from a random place in one of the camera's scenes."""
    scene = _scene(recipe, camid, int(rng.integers(_SCENES)))
    height = rng.uniform(100, 190)
    width = height / 2
    left = rng.uniform(0, _SCENE_WIDTH - width)
    top = rng.uniform(0, _SCENE_HEIGHT - height)
    return scene.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))


def _drab(rng: np.random.Generator, shades: Shades) -> np.ndarray:
    """A colour as streets have it: mostly grey, sometimes not."""
    deviation = 45 if rng.random() < shades.colourful else 12
    grey = rng.uniform(shades.darkest, shades.brightest)
    return np.clip(grey + rng.normal(0, deviation, 3) + np.array(shades.tint), 0, 255)


@lru_cache(maxsize=_KEPT)
def _scene(recipe: Recipe, camid: int, number: int) -> Image.Image:
    rng = np.random.default_rng(seed(recipe, SCENE, camid, number))
    style = np.random.default_rng(seed(recipe, SCENE, camid))  # the same walls and paving in all scenes of a camera
    palette = WORLDS[recipe.world].palette
    wall, ground = _drab(style, palette.wall), _drab(style, palette.ground)

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
        draw.rectangle((x, y, x + w, min(y + h, horizon)), tone(_drab(rng, palette.openings)))
    for x in np.cumsum(rng.uniform(8, 40, 30)):  # paving
        draw.line((x, horizon, x + (x - _SCENE_WIDTH / 2) * 1.5, _SCENE_HEIGHT), tone(ground * 0.85))
    for y in horizon + np.cumsum(rng.uniform(6, 25, 8)):
        draw.line((0, y, _SCENE_WIDTH, y), tone(ground * 0.85))
    for _ in range(9):  # bushes, crates, cars, posts
        x, y = int(rng.integers(0, _SCENE_WIDTH)), int(rng.integers(horizon - 20, _SCENE_HEIGHT))
        w, h = int(rng.integers(6, 70)), int(rng.integers(15, 60))
        colour, kind = tone(_drab(rng, palette.objects)), rng.integers(4)
        if kind == 0:
            for _ in range(12):
                dx, dy, r = rng.uniform(0, w), rng.uniform(-h / 2, 0), rng.uniform(4, 12)
                draw.ellipse((x + dx - r, y + dy - r, x + dx + r, y + dy + r), tone(np.array(palette.leaves)))
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
