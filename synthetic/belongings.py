"""What people carry: a backpack, a bag at the hip, a handbag."""

from __future__ import annotations

from synthetic.canvas import Canvas, between, darker


def backpack(canvas: Canvas) -> None:
    """On the back, with a pocket where that is seen."""
    person = canvas.person
    high, low = canvas.shoulder + 0.01, person.leg + 0.08
    z = canvas.spine((high + low) / 2) - person.depth - 0.045
    half = (abs(canvas.cos) * 0.115 + abs(canvas.sin) * 0.065) * canvas.scale
    top, bottom = canvas.at(0, high, z), canvas.at(0, low, z)
    canvas.sack(canvas.plain(person.backpack), top, bottom, half)
    if canvas.cos < 0.3:  # the pocket
        top, bottom = between(top, bottom, 0.52), between(top, bottom, 0.9)
        canvas.sack(canvas.plain(person.backpack_trim), top, bottom, half * 0.72)


def bag(canvas: Canvas) -> None:
    """At the hip."""
    person = canvas.person
    x, y = canvas.at(person.side * (person.hip + 0.035), person.leg + 0.03, 0.02)
    half = (0.075 * abs(canvas.sin) + 0.05 * abs(canvas.cos)) * canvas.scale
    tall = 0.065 * canvas.scale
    canvas.box((x, y - tall), half, half, 2 * tall, person.bag)
    canvas.box((x, y - tall), half, half, tall, darker(person.bag, 0.8))  # the flap
    canvas.oval((x, y + 0.2 * tall), 0.015 * canvas.scale, 0.015 * canvas.scale, person.bag_trim)


def handbag(canvas: Canvas, wrist: tuple[float, float, float]) -> None:
    """In the hand. wrist: in body coordinates."""
    person = canvas.person
    half, tall = person.handbag_shape
    hand = canvas.at(wrist[0], wrist[1] - 0.03, wrist[2])
    half = (half * abs(canvas.sin) + 0.62 * half * abs(canvas.cos)) * canvas.scale
    tall, handle = tall * canvas.scale, 0.05 * canvas.scale
    colour, line = person.handbag, max(1, round(0.012 * canvas.scale))
    for end in (-0.7, 0.7):
        strap = [hand, (hand[0] + end * half, hand[1] + handle)]
        canvas.draw.line(strap, (*darker(colour, 0.7), 255), line)
    top = (hand[0], hand[1] + handle)
    canvas.box(top, half, 1.15 * half, tall, colour)
    canvas.box(top, half, half, 0.18 * tall, darker(colour, 0.7))
