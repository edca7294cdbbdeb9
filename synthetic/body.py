"""The body and what it is dressed in: legs, trunk, arms."""

from __future__ import annotations

import math

import numpy as np

from synthetic.belongings import handbag
from synthetic.canvas import Canvas, between, darker


def leg(canvas: Canvas, side: int) -> None:
    """side: -1 the person's right, 1 the left."""
    person, words = canvas.person, canvas.person.words
    hip_x = person.hip * 0.52 * side
    swing = person.stride * math.sin(canvas.pose.phase) * side
    bend = max(0.0, -math.sin(canvas.pose.phase + 0.9) * side) * person.stride * 1.5
    thigh, calf = person.leg * 0.47, person.leg * 0.45
    # The standing foot stays on the ground: legs reach down from the hip by their own length.
    knee = (hip_x, person.leg - thigh * math.cos(swing), thigh * math.sin(swing))
    ankle = (
        hip_x,
        knee[1] - calf * math.cos(swing - bend),
        knee[2] + calf * math.sin(swing - bend),
    )
    hip_at, knee_at, ankle_at = canvas.at(hip_x, person.leg, 0), canvas.at(*knee), canvas.at(*ankle)
    dim = 0.82 if side * canvas.sin > 0.2 else 1.0  # the far leg
    skin = canvas.plain(darker(person.skin, dim))
    limb = person.limb
    trousers = words["clothes"] == "pants"
    _shoe(canvas, ankle, swing - bend, dim)
    canvas.limb(skin, knee_at, ankle_at, 0.04 * limb, 0.027 * limb)
    if person.boots and not (trousers and words["down"] == "long"):
        top = between(ankle_at, knee_at, 2.6 * person.boots / calf)
        canvas.limb(canvas.plain(darker(person.sock, dim)), top, ankle_at, 0.036 * limb, 0.03 * limb)
    canvas.limb(skin, hip_at, knee_at, 0.058 * limb, 0.042 * limb)
    if trousers:
        lower = person.lower
        if words["down"] == "long":
            low = np.minimum(canvas.cloth(lower, 0.55, 1.0) * dim, 255).astype(np.uint8)
            canvas.limb(low, knee_at, between(knee_at, ankle_at, 0.98), 0.05 * limb, 0.042 * limb)
            high = (canvas.cloth(lower, 0.12, 0.56) * dim).astype(np.uint8)
            canvas.limb(high, hip_at, knee_at, 0.068 * limb, 0.051 * limb)
        else:
            high = (canvas.cloth(lower, 0.15, 1.0) * dim).astype(np.uint8)
            canvas.limb(high, hip_at, between(hip_at, knee_at, 0.8), 0.07 * limb, 0.066 * limb)


def _shoe(canvas: Canvas, ankle: tuple[float, float, float], lean: float, dim: float) -> None:
    x, y, z = ankle
    tip = min(0.5, max(-0.5, lean))
    heel = canvas.at(x, y - 0.025, z - 0.025)
    toe = canvas.at(x, y - 0.028 + 0.07 * math.sin(tip), z + 0.085)
    sole_heel, sole_toe = (heel[0], heel[1] + 0.012 * canvas.scale), (toe[0], toe[1] + 0.012 * canvas.scale)
    canvas.limb(canvas.plain(darker(canvas.person.sole, dim)), sole_heel, sole_toe, 0.03, 0.027)
    canvas.limb(canvas.plain(darker(canvas.person.shoes, dim)), heel, toe, 0.031, 0.025)
    if canvas.person.boots > 0.1:
        high = canvas.at(x, y + 0.05, z)
        canvas.limb(canvas.plain(darker(canvas.person.shoes, dim)), high, heel, 0.034, 0.031)


def lower_body(canvas: Canvas) -> None:
    """Hips, and the skirt of a dress."""
    person, words = canvas.person, canvas.person.words
    skirt = words["clothes"] == "dress"
    if not skirt:
        levels = [(person.leg + 0.07, person.waist, 0.9), (person.leg - 0.02, person.hip, 1.0)]
        levels.append((person.leg - 0.075, person.hip * 0.8, 0.85))
        _wrap(canvas, canvas.cloth(person.lower, 0.0, 0.16, 5), levels)
        return
    hem = person.leg * (0.16 if words["down"] == "long" else 0.56)
    flare = 1.22 if words["down"] == "long" else 1.3
    swing = 1.0 + 0.5 * person.stride * abs(math.sin(canvas.pose.phase))
    levels = [
        (person.leg + 0.08, person.waist, 0.9),
        (person.leg - 0.02, person.hip * 1.05, 1.05),
        (hem, person.hip * flare, 1.35 * swing),
    ]
    _wrap(canvas, canvas.cloth(person.lower, 0.0, 1.0, 24), levels)


def torso(canvas: Canvas) -> None:
    """Neck and trunk, and what is worn on them."""
    person = canvas.person
    female = person.words["gender"] == "female"
    bust = 1.3 if female else 1.05
    high, low = canvas.shoulder, person.leg + 0.025
    levels = [
        (high + 0.025, 0.045, 0.6),
        (high, person.shoulder * 0.93, 0.75),
        (high - 0.035, person.shoulder, 0.95),
        (high + 0.28 * (low - high), person.shoulder * 0.9, bust),
        (high + 0.65 * (low - high), person.waist, 0.92 if female else 1.0),
        (low, person.hip * 1.03, 1.05),
    ]
    neck = canvas.at(0, canvas.neck - 0.03, canvas.spine(canvas.neck))
    chin = canvas.at(0, canvas.neck + 0.03, canvas.spine(1.0))
    canvas.limb(canvas.plain(darker(person.skin, 0.85)), chin, neck, 0.036, 0.04)
    _wrap(canvas, canvas.cloth(person.upper, 0.0, 1.0, 30), levels)


def _wrap(canvas: Canvas, patch: np.ndarray, levels: list[tuple[float, float, float]]) -> None:
    """Cloth around the trunk. levels: from the top, (height, half width, depth factor)."""
    left, right, widest = [], [], 0.0
    for y, lateral, deep in levels:
        x, level = canvas.at(0, y, canvas.spine(y))
        half = canvas.half_width(lateral, canvas.person.depth * deep) * (1 + 0.45 * canvas.pose.tilt * (y - 0.5))
        left.append((x - half, level))
        right.append((x + half, level))
        widest = max(widest, half)
    widest *= 1.03
    top = ((left[0][0] + right[0][0]) / 2, left[0][1] - 1)
    bottom = ((left[-1][0] + right[-1][0]) / 2, left[-1][1] + 2)
    along = (bottom[0] - top[0], bottom[1] - top[1])
    # The frame follows the lean of the body sideways, and is wide enough for a belly beside that line.
    canvas.paint(patch, left + right[::-1], (top[0] - widest, top[1]), (2 * widest, 0.0), along)


def arm(canvas: Canvas, side: int) -> None:
    """An arm, and the handbag or the stick in its hand. side: -1 the person's right, 1 the left."""
    person, words = canvas.person, canvas.person.words
    carries = words["handbag"] == "yes" and side == person.side
    swing = (0.35 if carries else 1.1) * person.stride * -math.sin(canvas.pose.phase) * side + 0.06
    bend = 0.15 if carries else 0.3 + 0.2 * person.stride * math.cos(canvas.pose.phase)
    x = (person.shoulder - 0.012) * side
    z = canvas.spine(canvas.shoulder)
    high = canvas.shoulder - 0.025
    length = 0.165 + 0.1 * (person.leg - 0.43)
    elbow = (x + 0.02 * side, high - length * math.cos(swing), z + length * math.sin(swing))
    wrist = (
        elbow[0] + 0.008 * side,
        elbow[1] - length * 0.92 * math.cos(swing + bend),
        elbow[2] + length * 0.92 * math.sin(swing + bend),
    )
    shoulder_at, elbow_at, wrist_at = canvas.at(x, high, z), canvas.at(*elbow), canvas.at(*wrist)
    dim = 0.8 if side * canvas.sin > 0.2 else 0.94
    skin = canvas.plain(darker(person.skin, dim))
    limb = person.limb
    if carries:
        handbag(canvas, wrist)
    elif words["age"] == "old" and side != person.side:
        stick = [canvas.at(*wrist), canvas.at(wrist[0], 0.0, wrist[2] + 0.06)]
        canvas.draw.line(stick, (92, 60, 34, 255), max(2, round(0.018 * canvas.scale)))
    canvas.limb(skin, elbow_at, wrist_at, 0.03 * limb, 0.023 * limb)
    hand = between(elbow_at, wrist_at, 1.12)
    canvas.oval(hand, 0.026 * canvas.scale, 0.03 * canvas.scale, darker(person.skin, dim))
    if words["up"] == "long":
        low = (canvas.cloth(person.sleeves, 0.5, 1.0) * dim).astype(np.uint8)
        canvas.limb(low, elbow_at, between(elbow_at, wrist_at, 0.92), 0.037 * limb, 0.033 * limb)
        reach = elbow_at
    else:
        canvas.limb(skin, shoulder_at, elbow_at, 0.036 * limb, 0.031 * limb)
        reach = between(shoulder_at, elbow_at, 0.62)
    sleeve = (canvas.cloth(person.sleeves, 0.04, 0.5) * dim).astype(np.uint8)
    canvas.limb(sleeve, shoulder_at, reach, 0.043 * limb, 0.039 * limb)
