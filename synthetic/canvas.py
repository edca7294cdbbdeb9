"""A canvas that a person is drawn on: where a point of the body falls on it, and the shapes bodies are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from synthetic.person import COLUMNS, ROWS, Colour, Person

SUPERSAMPLING = 3
_CLOTH_WIDTH = 20
"""Pixels across one visible half of a garment, before it is stretched into place."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Pose:
    """How somebody stands before the camera.

    heading: 0 towards it, pi/2 to the right of the picture, pi away. phase: of the step, 0..2 pi.
    tilt: how far the camera looks down, 0..1. light: where the light comes from, -1 left .. 1 right.
    """

    heading: float
    phase: float
    tilt: float
    light: float


@dataclass(frozen=True)
class Place:
    """Where the figure stands in the picture, in final pixels: its middle, the ground, its height."""

    x: float
    ground: float
    height: float


class Canvas:
    """A transparent picture to draw one person on, SUPERSAMPLING times as large as it is wanted.

    Body coordinates: x to the person's left, y up from the ground, z ahead, in body heights.
    """

    def __init__(self, person: Person, pose: Pose, place: Place, size: tuple[int, int]) -> None:
        self.person, self.pose, self.place = person, pose, place
        self.picture = Image.new("RGBA", (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.picture)
        self.cos, self.sin = math.cos(pose.heading), math.sin(pose.heading)
        self.scale = place.height * SUPERSAMPLING
        across = np.linspace(-0.97, 0.97, _CLOTH_WIDTH)
        # The angle around the body of each visible strip, and how much light it gets.
        angle = np.arcsin(across) - pose.heading
        self.columns = np.rint(angle * COLUMNS / (2 * math.pi)).astype(int) % COLUMNS
        self.lit = 0.66 + 0.38 * np.cos(np.arcsin(across) - 0.7 * pose.light)
        self.neck = 1 - person.head
        self.shoulder = self.neck - 0.025

    def finished(self) -> Image.Image:
        """The picture in its final size: RGBA."""
        return self.picture.reduce(SUPERSAMPLING)

    def at(self, x: float, y: float, z: float) -> Point:
        """Body coordinates to the canvas. Seen from above, near things are lower and high things larger."""
        tilt = self.pose.tilt
        right = x * self.cos + z * self.sin
        near = z * self.cos - x * self.sin
        larger = 1 + 0.45 * tilt * (y - 0.5)
        up = y + 0.35 * tilt * (y * y - y)
        return (
            self.place.x * SUPERSAMPLING + self.scale * right * larger,
            self.place.ground * SUPERSAMPLING - self.scale * (up - 0.6 * tilt * near),
        )

    def spine(self, y: float) -> float:
        """How far ahead of the hips the body is at height y."""
        above = max(0.0, y - self.person.leg)
        return math.tan(self.person.stoop) * above * 0.9

    def half_width(self, lateral: float, depth: float) -> float:
        """Half of what is seen of a body part, in canvas pixels; lateral and depth are its half axes."""
        return math.hypot(lateral * self.cos, depth * self.sin) * self.scale

    def cloth(self, texture: np.ndarray, top: float, bottom: float, rows: int = 12) -> np.ndarray:
        """The visible half of a cloth between two fractions of its length: uint8 [rows,20,3], shaded."""
        wanted = np.linspace(top, bottom, rows) * (ROWS - 1)
        patch = texture[wanted.astype(int)[:, None], self.columns[None]]
        return np.minimum(patch * self.lit[None, :, None], 255).astype(np.uint8)

    def plain(self, colour: Colour) -> np.ndarray:
        """A cloth of one colour: uint8 [1,20,3], shaded."""
        shade = np.array(colour)[None, None] * self.lit[None, :, None]
        return np.minimum(shade, 255).astype(np.uint8)

    def paint(self, patch: np.ndarray, outline: list[Point], origin: Point, across: Point, along: Point) -> None:
        """Stretch a patch over the parallelogram origin, across, along, and show it within the outline."""
        xs, ys = [p[0] for p in outline], [p[1] for p in outline]
        left, top = max(0, int(min(xs))), max(0, int(min(ys)))
        right = min(self.picture.width, int(max(xs)) + 2)
        bottom = min(self.picture.height, int(max(ys)) + 2)
        determinant = across[0] * along[1] - across[1] * along[0]
        if right <= left or bottom <= top or abs(determinant) < 1e-6:
            return
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in outline], 255)
        height, width = patch.shape[:2]
        a, b = along[1] / determinant * width, -along[0] / determinant * width
        d, e = -across[1] / determinant * height, across[0] / determinant * height
        dx, dy = left - origin[0], top - origin[1]
        inverse = (a, b, a * dx + b * dy, d, e, d * dx + e * dy)
        piece = Image.fromarray(patch).transform(mask.size, Image.Transform.AFFINE, inverse, Image.Resampling.NEAREST)
        self.picture.paste(piece, (left, top), mask)

    def limb(self, patch: np.ndarray, start: Point, end: Point, start_radius: float, end_radius: float) -> None:
        """A tapered, round-ended limb from start to end; radii are fractions of the body's height."""
        r0, r1 = start_radius * self.scale, end_radius * self.scale
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy)
        ux, uy = (dx / length, dy / length) if length > 1e-6 else (0.0, 1.0)
        nx, ny = uy, -ux  # to the right of the picture when the limb hangs
        outline = []
        for centre, radius, first in ((start, r0, math.pi), (end, r1, 0.0)):
            for step in range(5):
                turn = first + step * math.pi / 4
                c, s = math.cos(turn) * radius, math.sin(turn) * radius
                outline.append((centre[0] + nx * c + ux * s, centre[1] + ny * c + uy * s))
        wide = max(r0, r1) * 1.04
        origin = (start[0] - nx * wide - ux * r0 * 1.04, start[1] - ny * wide - uy * r0 * 1.04)
        reach = length + 1.04 * (r0 + r1)
        self.paint(patch, outline, origin, (2 * wide * nx, 2 * wide * ny), (ux * reach, uy * reach))

    def oval(self, centre: Point, rx: float, ry: float, colour: Colour) -> None:
        """rx, ry: its half axes in canvas pixels."""
        self.draw.ellipse((centre[0] - rx, centre[1] - ry, centre[0] + rx, centre[1] + ry), (*colour, 255))

    def shape(self, points: list[Point], colour: Colour) -> None:
        """A polygon."""
        self.draw.polygon(points, (*colour, 255))

    def sack(self, patch: np.ndarray, top: Point, bottom: Point, half: float) -> None:
        """A rectangle with its corners off, from top to bottom, `half` canvas pixels to either side."""
        corner, right = 0.35 * half, (half, 0.0)
        dx, dy = bottom[0] - top[0], bottom[1] - top[1]
        length = math.hypot(dx, dy) or 1.0
        inset = (dx * corner / length, dy * corner / length)
        outline = []
        for x, y, sign in ((*top, 1), (*bottom, -1)):
            shorter = [(x + s * (half - corner), y) for s in (-1, 1)]
            longer = [(x + s * half + sign * inset[0], y + sign * inset[1]) for s in (-1, 1)]
            outline += [longer[0], *shorter, longer[1]] if sign == 1 else [longer[1], *shorter[::-1], longer[0]]
        origin = (top[0] - 1.02 * half, top[1] - 1)
        self.paint(patch, outline, origin, (2.04 * right[0], 0.0), (dx * 1.02, dy * 1.02 + 2))

    def box(self, top: Point, upper_half: float, lower_half: float, tall: float, colour: Colour) -> None:
        """A trapezium that hangs from the middle of its upper edge. Lengths in canvas pixels."""
        x, y = top
        self.shape(
            [
                (x - upper_half, y),
                (x + upper_half, y),
                (x + lower_half, y + tall),
                (x - lower_half, y + tall),
            ],
            colour,
        )


def between(start: Point, end: Point, fraction: float) -> Point:
    """The point at a fraction of the way from start to end."""
    return start[0] + (end[0] - start[0]) * fraction, start[1] + (end[1] - start[1]) * fraction


def darker(colour: Colour, factor: float) -> Colour:
    """factor: of the brightness, 0..1."""
    return int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor)
