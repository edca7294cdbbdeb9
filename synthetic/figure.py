"""Draws a person: a jointed body in three dimensions, turned and walking, seen from a camera's height."""

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


def draw_figure(person: Person, pose: Pose, place: Place, size: tuple[int, int]) -> Image.Image:
    """The figure alone: RGBA, `size` = (width, height), transparent around it."""
    return _Drawing(person, pose, place, size).finished()


class _Drawing:
    """One figure on its canvas.

    Body coordinates: x to the person's left, y up from the ground, z ahead, in body heights.
    """

    def __init__(self, person: Person, pose: Pose, place: Place, size: tuple[int, int]) -> None:
        self.person, self.pose, self.place = person, pose, place
        self.canvas = Image.new("RGBA", (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.canvas)
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
        person = self.person
        x, y = self._at(0, 0.01, 0)
        radius = 0.2 * self.scale
        self.draw.ellipse((x - radius, y - 0.25 * radius, x + radius, y + 0.25 * radius), (0, 0, 0, 90))
        facing = self.cos > 0
        sides = sorted((-1, 1), key=lambda side: -side * self.sin)  # the far side first
        far, near = sides
        arms_apart = abs(self.sin) > 0.35
        if arms_apart:
            self._arm(far)
        if facing and person.words["backpack"] == "yes":
            self._backpack()
        if facing and person.words["hair"] == "long":
            self._long_hair()
        if person.words["bag"] == "yes" and person.side == far and arms_apart:
            self._bag()
        for side in sides:
            self._leg(side)
        self._lower()
        self._torso()
        if not facing and person.words["backpack"] == "yes":
            self._backpack()
        if person.words["bag"] == "yes" and not (person.side == far and arms_apart):
            self._bag()
        self._head()
        if not arms_apart:
            self._arm(far)
        self._arm(near)
        return self.canvas.reduce(SUPERSAMPLING)

    # Geometry

    def _at(self, x: float, y: float, z: float) -> Point:
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

    def _spine(self, y: float) -> float:
        """How far ahead of the hips the body is at height y."""
        above = max(0.0, y - self.person.leg)
        return math.tan(self.person.stoop) * above * 0.9

    def _half_width(self, lateral: float, depth: float) -> float:
        return math.hypot(lateral * self.cos, depth * self.sin) * self.scale

    # Painting

    def _cloth(self, texture: np.ndarray, top: float, bottom: float, rows: int = 12) -> np.ndarray:
        """The visible half of a cloth between two fractions of its length: uint8 [rows,20,3], shaded."""
        wanted = np.linspace(top, bottom, rows) * (ROWS - 1)
        patch = texture[wanted.astype(int)[:, None], self.columns[None]]
        return np.minimum(patch * self.lit[None, :, None], 255).astype(np.uint8)

    def _paint(self, patch: np.ndarray, outline: list[Point], origin: Point, across: Point, along: Point) -> None:
        """Stretch a patch over the parallelogram origin, across, along, and show it within the outline."""
        xs, ys = [p[0] for p in outline], [p[1] for p in outline]
        left, top = max(0, int(min(xs))), max(0, int(min(ys)))
        right = min(self.canvas.width, int(max(xs)) + 2)
        bottom = min(self.canvas.height, int(max(ys)) + 2)
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
        self.canvas.paste(piece, (left, top), mask)

    def _limb(self, patch: np.ndarray, start: Point, end: Point, start_radius: float, end_radius: float) -> None:
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
        self._paint(patch, outline, origin, (2 * wide * nx, 2 * wide * ny), (ux * reach, uy * reach))

    def _plain(self, colour: Colour) -> np.ndarray:
        shade = np.array(colour)[None, None] * self.lit[None, :, None]
        return np.minimum(shade, 255).astype(np.uint8)

    def _oval(self, centre: Point, rx: float, ry: float, colour: Colour) -> None:
        self.draw.ellipse((centre[0] - rx, centre[1] - ry, centre[0] + rx, centre[1] + ry), (*colour, 255))

    def _shape(self, points: list[Point], colour: Colour) -> None:
        self.draw.polygon(points, (*colour, 255))

    # The body

    def _leg(self, side: int) -> None:
        person, words = self.person, self.person.words
        hip_x = person.hip * 0.52 * side
        swing = person.stride * math.sin(self.pose.phase) * side
        bend = max(0.0, -math.sin(self.pose.phase + 0.9) * side) * person.stride * 1.5
        thigh, calf = person.leg * 0.47, person.leg * 0.45
        # The standing foot stays on the ground: legs reach down from the hip by their own length.
        knee = (hip_x, person.leg - thigh * math.cos(swing), thigh * math.sin(swing))
        ankle = (
            hip_x,
            knee[1] - calf * math.cos(swing - bend),
            knee[2] + calf * math.sin(swing - bend),
        )
        hip_at, knee_at, ankle_at = self._at(hip_x, person.leg, 0), self._at(*knee), self._at(*ankle)
        dim = 0.82 if side * self.sin > 0.2 else 1.0  # the far leg
        skin = self._plain(_darker(person.skin, dim))
        limb = person.limb
        trousers = words["clothes"] == "pants"
        self._shoe(ankle, swing - bend, dim)
        self._limb(skin, knee_at, ankle_at, 0.04 * limb, 0.027 * limb)
        if person.boots and not (trousers and words["down"] == "long"):
            top = _between(ankle_at, knee_at, 2.6 * person.boots / calf)
            self._limb(self._plain(_darker(person.sock, dim)), top, ankle_at, 0.036 * limb, 0.03 * limb)
        self._limb(skin, hip_at, knee_at, 0.058 * limb, 0.042 * limb)
        if trousers:
            lower = person.lower
            if words["down"] == "long":
                low = np.minimum(self._cloth(lower, 0.55, 1.0) * dim, 255).astype(np.uint8)
                self._limb(low, knee_at, _between(knee_at, ankle_at, 0.98), 0.05 * limb, 0.042 * limb)
                high = (self._cloth(lower, 0.12, 0.56) * dim).astype(np.uint8)
                self._limb(high, hip_at, knee_at, 0.068 * limb, 0.051 * limb)
            else:
                high = (self._cloth(lower, 0.15, 1.0) * dim).astype(np.uint8)
                self._limb(high, hip_at, _between(hip_at, knee_at, 0.8), 0.07 * limb, 0.066 * limb)

    def _shoe(self, ankle: tuple[float, float, float], lean: float, dim: float) -> None:
        x, y, z = ankle
        tip = min(0.5, max(-0.5, lean))
        heel = self._at(x, y - 0.025, z - 0.025)
        toe = self._at(x, y - 0.028 + 0.07 * math.sin(tip), z + 0.085)
        sole_heel, sole_toe = (heel[0], heel[1] + 0.012 * self.scale), (toe[0], toe[1] + 0.012 * self.scale)
        self._limb(self._plain(_darker(self.person.sole, dim)), sole_heel, sole_toe, 0.03, 0.027)
        self._limb(self._plain(_darker(self.person.shoes, dim)), heel, toe, 0.031, 0.025)
        if self.person.boots > 0.1:
            high = self._at(x, y + 0.05, z)
            self._limb(self._plain(_darker(self.person.shoes, dim)), high, heel, 0.034, 0.031)

    def _lower(self) -> None:
        """Hips, and the skirt of a dress."""
        person, words = self.person, self.person.words
        skirt = words["clothes"] == "dress"
        if not skirt:
            levels = [(person.leg + 0.07, person.waist, 0.9), (person.leg - 0.02, person.hip, 1.0)]
            levels.append((person.leg - 0.075, person.hip * 0.8, 0.85))
            self._wrap(self._cloth(person.lower, 0.0, 0.16, 5), levels)
            return
        hem = person.leg * (0.16 if words["down"] == "long" else 0.56)
        flare = 1.22 if words["down"] == "long" else 1.3
        swing = 1.0 + 0.5 * person.stride * abs(math.sin(self.pose.phase))
        levels = [
            (person.leg + 0.08, person.waist, 0.9),
            (person.leg - 0.02, person.hip * 1.05, 1.05),
            (hem, person.hip * flare, 1.35 * swing),
        ]
        self._wrap(self._cloth(person.lower, 0.0, 1.0, 24), levels)

    def _torso(self) -> None:
        person = self.person
        female = person.words["gender"] == "female"
        bust = 1.3 if female else 1.05
        high, low = self.shoulder, person.leg + 0.025
        levels = [
            (high + 0.025, 0.045, 0.6),
            (high, person.shoulder * 0.93, 0.75),
            (high - 0.035, person.shoulder, 0.95),
            (high + 0.28 * (low - high), person.shoulder * 0.9, bust),
            (high + 0.65 * (low - high), person.waist, 0.92 if female else 1.0),
            (low, person.hip * 1.03, 1.05),
        ]
        neck = self._at(0, self.neck - 0.03, self._spine(self.neck))
        chin = self._at(0, self.neck + 0.03, self._spine(1.0))
        self._limb(self._plain(_darker(person.skin, 0.85)), chin, neck, 0.036, 0.04)
        self._wrap(self._cloth(person.upper, 0.0, 1.0, 30), levels)

    def _wrap(self, patch: np.ndarray, levels: list[tuple[float, float, float]]) -> None:
        """Cloth around the trunk. levels: from the top, (height, half width, depth factor)."""
        left, right, widest = [], [], 0.0
        for y, lateral, deep in levels:
            x, level = self._at(0, y, self._spine(y))
            half = self._half_width(lateral, self.person.depth * deep) * (1 + 0.45 * self.pose.tilt * (y - 0.5))
            left.append((x - half, level))
            right.append((x + half, level))
            widest = max(widest, half)
        widest *= 1.03
        top = ((left[0][0] + right[0][0]) / 2, left[0][1] - 1)
        bottom = ((left[-1][0] + right[-1][0]) / 2, left[-1][1] + 2)
        along = (bottom[0] - top[0], bottom[1] - top[1])
        # The frame follows the lean of the body sideways, and is wide enough for a belly beside that line.
        self._paint(patch, left + right[::-1], (top[0] - widest, top[1]), (2 * widest, 0.0), along)

    def _arm(self, side: int) -> None:
        person, words = self.person, self.person.words
        carries = words["handbag"] == "yes" and side == person.side
        swing = (0.35 if carries else 1.1) * person.stride * -math.sin(self.pose.phase) * side + 0.06
        bend = 0.15 if carries else 0.3 + 0.2 * person.stride * math.cos(self.pose.phase)
        x = (person.shoulder - 0.012) * side
        z = self._spine(self.shoulder)
        high = self.shoulder - 0.025
        length = 0.165 + 0.1 * (person.leg - 0.43)
        elbow = (x + 0.02 * side, high - length * math.cos(swing), z + length * math.sin(swing))
        wrist = (
            elbow[0] + 0.008 * side,
            elbow[1] - length * 0.92 * math.cos(swing + bend),
            elbow[2] + length * 0.92 * math.sin(swing + bend),
        )
        shoulder_at, elbow_at, wrist_at = self._at(x, high, z), self._at(*elbow), self._at(*wrist)
        dim = 0.8 if side * self.sin > 0.2 else 0.94
        skin = self._plain(_darker(person.skin, dim))
        limb = person.limb
        if carries:
            self._handbag(wrist)
        elif words["age"] == "old" and side != person.side:
            stick = [self._at(*wrist), self._at(wrist[0], 0.0, wrist[2] + 0.06)]
            self.draw.line(stick, (92, 60, 34, 255), max(2, round(0.018 * self.scale)))
        self._limb(skin, elbow_at, wrist_at, 0.03 * limb, 0.023 * limb)
        hand = _between(elbow_at, wrist_at, 1.12)
        self._oval(hand, 0.026 * self.scale, 0.03 * self.scale, _darker(person.skin, dim))
        if words["up"] == "long":
            low = (self._cloth(person.sleeves, 0.5, 1.0) * dim).astype(np.uint8)
            self._limb(low, elbow_at, _between(elbow_at, wrist_at, 0.92), 0.037 * limb, 0.033 * limb)
            reach = elbow_at
        else:
            self._limb(skin, shoulder_at, elbow_at, 0.036 * limb, 0.031 * limb)
            reach = _between(shoulder_at, elbow_at, 0.62)
        sleeve = (self._cloth(person.sleeves, 0.04, 0.5) * dim).astype(np.uint8)
        self._limb(sleeve, shoulder_at, reach, 0.043 * limb, 0.039 * limb)

    def _head(self) -> None:
        person, words = self.person, self.person.words
        ahead = self._spine(1.0) * 1.1
        cx, cy = self._at(0, 1 - person.head / 2, ahead + 0.01)
        larger = 1 + 0.2 * self.pose.tilt
        ry = person.head / 2 * self.scale * larger
        rx = ry * (0.76 + 0.1 * abs(self.sin))
        hair = person.hair
        self._oval((cx, cy), rx * 0.92, ry, person.skin)
        back = -self.sin * rx
        lift = 0.16 if words["hair"] == "short" else 0.06
        self._oval((cx + 0.16 * back, cy - lift * ry), rx, ry * (1.0 - lift / 2), hair)
        turned_away = self.cos < -0.35
        if words["hair"] == "long" and self.cos <= 0.0:  # over the back, and what is on it
            self._long_hair()
        if not turned_away:
            fx, fy = cx + self.sin * rx * 0.36, cy + 0.17 * ry
            fw = rx * (0.8 - 0.22 * abs(self.sin))
            self._oval((fx, fy), fw, ry * 0.78, person.skin)
            if person.beard:
                self.draw.chord((fx - fw, fy - 0.75 * ry, fx + fw, fy + 0.78 * ry), 25, 155, fill=(*hair, 255))
            eye = 0.1 * ry
            for offset in (-0.42, 0.42):
                ex = fx + self.sin * rx * 0.25 + offset * fw * max(0.3, self.cos)
                if person.glasses:
                    self._oval((ex, fy - 0.1 * ry), 1.7 * eye, 1.3 * eye, (25, 25, 30))
                else:
                    self._oval((ex, fy - 0.1 * ry), eye, eye, (30, 24, 24))
            if words["gender"] == "female":
                self._oval((fx + self.sin * rx * 0.2, fy + 0.42 * ry), 0.2 * fw, 0.07 * ry, (186, 48, 60))
            if words["hair"] == "short" and person.hair_style == 1:  # a parting that falls over the forehead
                self._oval((fx - 0.25 * fw, cy - 0.55 * ry), fw * 0.75, ry * 0.26, hair)
        if words["hat"] == "yes":
            self._hat(cx, cy, rx, ry)

    def _long_hair(self) -> None:
        """Falls over the back; from the front, a strand on either side."""
        person = self.person
        hair = self._plain(person.hair)
        length = (0.12, 0.17, 0.23)[person.hair_style]
        top, bottom = 1 - person.head * 0.55, self.neck - length
        width = person.head * 0.4
        z_top, z_bottom = self._spine(top) - 0.03, self._spine(bottom) - person.depth * 0.9
        if self.cos > 0.0:
            for side in (-1, 1):
                start = self._at(side * width * 0.72, top, z_top + 0.03)
                end = self._at(side * width * 1.0, self.neck - length * 0.6, z_bottom + 0.05)
                self._limb(hair, start, end, width * 0.4, width * 0.32)
        self._limb(hair, self._at(0, top, z_top), self._at(0, bottom, z_bottom), width * 0.9, width * 0.72)

    def _hat(self, cx: float, cy: float, rx: float, ry: float) -> None:
        person = self.person
        crown = (cx - 1.08 * rx, cy - 1.12 * ry, cx + 1.08 * rx, cy + 0.66 * ry)
        self.draw.chord(crown, 180, 360, fill=(*person.hat, 255))
        brim = cy - 0.24 * ry
        if person.hat_style == 0:  # a cap, its peak ahead
            tip = cx + self.sin * rx * 1.9
            if self.cos > -0.5:
                ends = sorted((cx - rx * max(0.25, self.cos) if self.sin > 0 else tip, cx + rx * self.cos, tip, cx))
                drop = 0.16 * ry + 0.1 * ry * max(0.0, self.cos)
                self._shape(
                    [
                        (ends[0], brim - drop),
                        (ends[-1], brim - drop),
                        (ends[-1], brim + drop),
                        (ends[0], brim + drop),
                    ],
                    person.hat_trim,
                )
        elif person.hat_style == 1:  # a brim all round
            self._oval((cx, brim), rx * 1.75, ry * 0.2, person.hat)
            self.draw.rectangle((cx - rx, brim - 0.34 * ry, cx + rx, brim - 0.16 * ry), (*person.hat_trim, 255))
        else:  # a knitted one, with a turned-up edge and a bobble
            self.draw.rectangle(
                (cx - 1.1 * rx, brim - 0.22 * ry, cx + 1.1 * rx, brim + 0.1 * ry), (*person.hat_trim, 255)
            )
            self._oval((cx, cy - 1.15 * ry), 0.3 * rx, 0.24 * ry, person.hat_trim)

    # What they carry

    def _backpack(self) -> None:
        person = self.person
        high, low = self.shoulder + 0.01, person.leg + 0.08
        z = self._spine((high + low) / 2) - person.depth - 0.045
        half = (abs(self.cos) * 0.115 + abs(self.sin) * 0.065) * self.scale
        top, bottom = self._at(0, high, z), self._at(0, low, z)
        self._sack(self._plain(person.backpack), top, bottom, half)
        if self.cos < 0.3:  # the pocket
            top, bottom = _between(top, bottom, 0.52), _between(top, bottom, 0.9)
            self._sack(self._plain(person.backpack_trim), top, bottom, half * 0.72)

    def _sack(self, patch: np.ndarray, top: Point, bottom: Point, half: float) -> None:
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
        self._paint(patch, outline, origin, (2.04 * right[0], 0.0), (dx * 1.02, dy * 1.02 + 2))

    def _bag(self) -> None:
        person = self.person
        x, y = self._at(person.side * (person.hip + 0.035), person.leg + 0.03, 0.02)
        half = (0.075 * abs(self.sin) + 0.05 * abs(self.cos)) * self.scale
        tall = 0.065 * self.scale
        self._box((x, y - tall), half, half, 2 * tall, person.bag)
        self._box((x, y - tall), half, half, tall, _darker(person.bag, 0.8))  # the flap
        self._oval((x, y + 0.2 * tall), 0.015 * self.scale, 0.015 * self.scale, person.bag_trim)

    def _box(self, top: Point, upper_half: float, lower_half: float, tall: float, colour: Colour) -> None:
        x, y = top
        self._shape(
            [
                (x - upper_half, y),
                (x + upper_half, y),
                (x + lower_half, y + tall),
                (x - lower_half, y + tall),
            ],
            colour,
        )

    def _handbag(self, wrist: tuple[float, float, float]) -> None:
        person = self.person
        half, tall = person.handbag_shape
        hand = self._at(wrist[0], wrist[1] - 0.03, wrist[2])
        half = (half * abs(self.sin) + 0.62 * half * abs(self.cos)) * self.scale
        tall, handle = tall * self.scale, 0.05 * self.scale
        colour, line = person.handbag, max(1, round(0.012 * self.scale))
        for end in (-0.7, 0.7):
            strap = [hand, (hand[0] + end * half, hand[1] + handle)]
            self.draw.line(strap, (*_darker(colour, 0.7), 255), line)
        top = (hand[0], hand[1] + handle)
        self._box(top, half, 1.15 * half, tall, colour)
        self._box(top, half, half, 0.18 * tall, _darker(colour, 0.7))


def _between(start: Point, end: Point, fraction: float) -> Point:
    return start[0] + (end[0] - start[0]) * fraction, start[1] + (end[1] - start[1]) * fraction


def _darker(colour: Colour, factor: float) -> Colour:
    return int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor)
