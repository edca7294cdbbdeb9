"""Draws a person: a jointed body in three dimensions, turned and walking, seen from a camera's height."""

from __future__ import annotations

from PIL import Image

from synthetic.belongings import backpack, bag
from synthetic.body import arm, leg, lower_body, torso
from synthetic.canvas import Canvas, Place, Pose
from synthetic.head import head, long_hair
from synthetic.person import Person


def draw_figure(person: Person, pose: Pose, place: Place, size: tuple[int, int]) -> Image.Image:
    """The figure alone: RGBA, `size` = (width, height), transparent around it."""
    canvas = Canvas(person, pose, place, size)
    x, y = canvas.at(0, 0.01, 0)
    radius = 0.2 * canvas.scale
    canvas.draw.ellipse((x - radius, y - 0.25 * radius, x + radius, y + 0.25 * radius), (0, 0, 0, 90))
    facing = canvas.cos > 0
    sides = sorted((-1, 1), key=lambda side: -side * canvas.sin)  # the far side first
    far, near = sides
    arms_apart = abs(canvas.sin) > 0.35
    if arms_apart:
        arm(canvas, far)
    if facing and person.words["backpack"] == "yes":
        backpack(canvas)
    if facing and person.words["hair"] == "long":
        long_hair(canvas)
    if person.words["bag"] == "yes" and person.side == far and arms_apart:
        bag(canvas)
    for side in sides:
        leg(canvas, side)
    lower_body(canvas)
    torso(canvas)
    if not facing and person.words["backpack"] == "yes":
        backpack(canvas)
    if person.words["bag"] == "yes" and not (person.side == far and arms_apart):
        bag(canvas)
    head(canvas)
    if not arms_apart:
        arm(canvas, far)
    arm(canvas, near)
    return canvas.finished()
