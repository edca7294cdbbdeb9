"""A second world: a shopping street in autumn, in another city. For evaluation only; nothing is trained on it.

What a model of the first world keeps here shows what a change of domain costs. The same bodies, cloths and
degradations are drawn, but cameras, light, places and people's dress are others: brick and wet asphalt, low sun
from one side, casts that the first cameras never have; long sleeves and trousers, dark and warm colours, hats,
handbags, more adults, old people and children. The tables are made up, for 1,000 people; other attributes depend
on each other than in the first world.
"""

from synthetic.worlds.world import Camera, Palette, Shades, World

_ATTRIBUTES = (
    ("gender", None, ((470, 530),)),
    ("hair", "gender", ((440, 30), (170, 360))),
    ("clothes", "gender", ((0, 470), (150, 380))),
    ("age", "gender", ((22, 200, 200, 48), (22, 250, 205, 53))),
    ("up", "gender", ((350, 120), (360, 170))),
    ("down", "clothes", ((85, 65), (640, 210))),
    ("hat", "age", ((24, 20), (360, 90), (325, 80), (56, 45))),
    ("backpack", "age", ((30, 14), (300, 150), (350, 55), (96, 5))),
    ("bag", "backpack", ((600, 176), (212, 12))),
    ("handbag", "gender", ((445, 25), (370, 160))),
    ("upcolour", "gender", ((150, 40, 40, 12, 28, 75, 75, 30, 20), (110, 45, 85, 45, 45, 60, 55, 40, 45))),
    (
        "downcolour",
        "clothes",
        ((30, 14, 16, 18, 14, 8, 10, 10, 6, 24), (270, 36, 28, 24, 26, 127, 205, 56, 72, 6)),
    ),
)

AUTUMN = World(
    name="autumn",
    number=1,
    cameras=(
        Camera((1.12, 1.00, 0.84), 1.04, 1.10, 0.80, 0.70, 0.95, 4.0, (0.10, 0.40, 0.10, 0.40), (0.3, 1.0)),
        Camera((0.90, 1.06, 0.94), 0.88, 0.86, 0.70, 0.00, 0.75, 5.0, (0.50, 0.10, 0.30, 0.10), (-0.4, 0.4)),
        Camera((0.88, 0.98, 1.13), 0.92, 0.86, 0.75, 0.38, 0.80, 6.0, (0.20, 0.10, 0.60, 0.10), (-1.0, -0.3)),
        Camera((1.09, 1.00, 0.90), 1.18, 1.18, 1.10, 0.20, 1.00, 3.0, (0.35, 0.35, 0.15, 0.15), (-1.0, -0.5)),
        Camera((1.00, 0.93, 1.08), 0.90, 0.86, 0.60, 0.55, 0.60, 7.0, (0.15, 0.15, 0.35, 0.35), (-0.5, 0.8)),
        Camera((1.03, 1.05, 0.86), 1.12, 0.84, 0.85, 0.10, 0.70, 5.0, (0.30, 0.05, 0.30, 0.35), (0.5, 1.0)),
    ),
    palette=Palette(
        wall=Shades(60, 150, (32, -4, -22), colourful=0.1),
        ground=Shades(45, 110, (-6, 0, 10), colourful=0.0),
        openings=Shades(30, 235, (18, 8, -16)),
        objects=Shades(20, 200, (10, 2, -8)),
        leaves=(158, 92, 34),
    ),
    attributes=_ATTRIBUTES,
)
