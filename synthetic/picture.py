"""One image: a person in a place, as a camera and an imperfect detector have it."""

from __future__ import annotations

import math

import numpy as np

from qafm.datasets.crops import DISTRACTOR_PID, JUNK_PID
from qafm.datasets.degradations import Degradation
from synthetic.camera import HEIGHT, WIDTH, expose, heading, record
from synthetic.canvas import Place, Pose
from synthetic.degradation import degrade, draw_degradation
from synthetic.figure import draw_figure
from synthetic.person import Person
from synthetic.plan import IMAGE, Shot, seed
from synthetic.recipe import Recipe
from synthetic.scene import background
from synthetic.worlds import WORLDS

_SPLITS = ("train", "query", "gallery")
_SIZE = (WIDTH, HEIGHT)


def make_picture(shot: Shot, person: Person, recipe: Recipe) -> tuple[bytes, Degradation]:
    """The JPEG file of a shot, and what is wrong with it. Depends on nothing but its arguments."""
    rng = np.random.default_rng(seed(recipe, IMAGE, _SPLITS.index(shot.split), shot.pid + 1, shot.index))
    camera = WORLDS[recipe.world].cameras[shot.camid - 1]
    degradation = draw_degradation(recipe.degraded, rng)
    picture = background(recipe, shot.camid, rng)
    if shot.pid != DISTRACTOR_PID or rng.random() < 0.5:  # the other half of the distractors is nobody at all
        pose = Pose(
            heading=heading(camera, rng),
            phase=rng.uniform(0, 2 * math.pi),
            tilt=max(0.0, camera.tilt + rng.normal(0, 0.06)),
            light=rng.uniform(*camera.light),
        )
        place = _badly_placed(rng) if shot.pid == JUNK_PID else _placed(rng)
        figure = draw_figure(person, pose, place, _SIZE)
        picture.paste(figure, (0, 0), figure)
    return record(degrade(expose(picture, camera, rng), degradation, rng), rng), degradation


def _placed(rng: np.random.Generator) -> Place:
    """A detector's box: off by some pixels, sometimes so far that feet or head are cut off."""
    height = HEIGHT * rng.uniform(0.86, 1.0)
    ground = HEIGHT / 2 + height / 2 + rng.normal(0, 2.0)
    if rng.random() < 0.12:
        height *= rng.uniform(1.08, 1.3)
        ground = ground + rng.uniform(0, 0.2) * height if rng.random() < 0.7 else ground
    return Place(WIDTH / 2 + rng.normal(0, 3.0), ground, height)


def _badly_placed(rng: np.random.Generator) -> Place:
    """A box that holds only a piece of somebody."""
    height = HEIGHT * rng.uniform(0.7, 2.4)
    x = WIDTH * (0.5 + rng.choice((-1, 1)) * rng.uniform(0.35, 0.6))
    return Place(x, HEIGHT * rng.uniform(0.8, 1.7), height)
