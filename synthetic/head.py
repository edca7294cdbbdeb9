"""The head: face, hair and hat."""

from __future__ import annotations

from synthetic.canvas import Canvas


def head(canvas: Canvas) -> None:
    """Skull, hair, face and hat; long hair too where it hangs over the back that is seen."""
    person, words = canvas.person, canvas.person.words
    ahead = canvas.spine(1.0) * 1.1
    cx, cy = canvas.at(0, 1 - person.head / 2, ahead + 0.01)
    larger = 1 + 0.2 * canvas.pose.tilt
    ry = person.head / 2 * canvas.scale * larger
    rx = ry * (0.76 + 0.1 * abs(canvas.sin))
    hair = person.hair
    canvas.oval((cx, cy), rx * 0.92, ry, person.skin)
    back = -canvas.sin * rx
    lift = 0.16 if words["hair"] == "short" else 0.06
    canvas.oval((cx + 0.16 * back, cy - lift * ry), rx, ry * (1.0 - lift / 2), hair)
    turned_away = canvas.cos < -0.35
    if words["hair"] == "long" and canvas.cos <= 0.0:  # over the back, and what is on it
        long_hair(canvas)
    if not turned_away:
        fx, fy = cx + canvas.sin * rx * 0.36, cy + 0.17 * ry
        fw = rx * (0.8 - 0.22 * abs(canvas.sin))
        canvas.oval((fx, fy), fw, ry * 0.78, person.skin)
        if person.beard:
            canvas.draw.chord((fx - fw, fy - 0.75 * ry, fx + fw, fy + 0.78 * ry), 25, 155, fill=(*hair, 255))
        eye = 0.1 * ry
        for offset in (-0.42, 0.42):
            ex = fx + canvas.sin * rx * 0.25 + offset * fw * max(0.3, canvas.cos)
            if person.glasses:
                canvas.oval((ex, fy - 0.1 * ry), 1.7 * eye, 1.3 * eye, (25, 25, 30))
            else:
                canvas.oval((ex, fy - 0.1 * ry), eye, eye, (30, 24, 24))
        if words["gender"] == "female":
            canvas.oval((fx + canvas.sin * rx * 0.2, fy + 0.42 * ry), 0.2 * fw, 0.07 * ry, (186, 48, 60))
        if words["hair"] == "short" and person.hair_style == 1:  # a parting that falls over the forehead
            canvas.oval((fx - 0.25 * fw, cy - 0.55 * ry), fw * 0.75, ry * 0.26, hair)
    if words["hat"] == "yes":
        _hat(canvas, cx, cy, rx, ry)


def long_hair(canvas: Canvas) -> None:
    """Falls over the back; from the front, a strand on either side."""
    person = canvas.person
    hair = canvas.plain(person.hair)
    length = (0.12, 0.17, 0.23)[person.hair_style]
    top, bottom = 1 - person.head * 0.55, canvas.neck - length
    width = person.head * 0.4
    z_top, z_bottom = canvas.spine(top) - 0.03, canvas.spine(bottom) - person.depth * 0.9
    if canvas.cos > 0.0:
        for side in (-1, 1):
            start = canvas.at(side * width * 0.72, top, z_top + 0.03)
            end = canvas.at(side * width * 1.0, canvas.neck - length * 0.6, z_bottom + 0.05)
            canvas.limb(hair, start, end, width * 0.4, width * 0.32)
    canvas.limb(hair, canvas.at(0, top, z_top), canvas.at(0, bottom, z_bottom), width * 0.9, width * 0.72)


def _hat(canvas: Canvas, cx: float, cy: float, rx: float, ry: float) -> None:
    person = canvas.person
    crown = (cx - 1.08 * rx, cy - 1.12 * ry, cx + 1.08 * rx, cy + 0.66 * ry)
    canvas.draw.chord(crown, 180, 360, fill=(*person.hat, 255))
    brim = cy - 0.24 * ry
    if person.hat_style == 0:  # a cap, its peak ahead
        tip = cx + canvas.sin * rx * 1.9
        if canvas.cos > -0.5:
            ends = sorted((cx - rx * max(0.25, canvas.cos) if canvas.sin > 0 else tip, cx + rx * canvas.cos, tip, cx))
            drop = 0.16 * ry + 0.1 * ry * max(0.0, canvas.cos)
            canvas.shape(
                [
                    (ends[0], brim - drop),
                    (ends[-1], brim - drop),
                    (ends[-1], brim + drop),
                    (ends[0], brim + drop),
                ],
                person.hat_trim,
            )
    elif person.hat_style == 1:  # a brim all round
        canvas.oval((cx, brim), rx * 1.75, ry * 0.2, person.hat)
        canvas.draw.rectangle((cx - rx, brim - 0.34 * ry, cx + rx, brim - 0.16 * ry), (*person.hat_trim, 255))
    else:  # a knitted one, with a turned-up edge and a bobble
        canvas.draw.rectangle(
            (cx - 1.1 * rx, brim - 0.22 * ry, cx + 1.1 * rx, brim + 0.1 * ry), (*person.hat_trim, 255)
        )
        canvas.oval((cx, cy - 1.15 * ry), 0.3 * rx, 0.24 * ry, person.hat_trim)
