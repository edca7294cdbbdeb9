"""The first world: a campus in summer, dressed as Market-1501 is. What is trained on is drawn here.

The tables count the 1,501 identities of `market_attribute.mat`, both splits together. The twelve attributes form
a tree (Chow and Liu): each depends on the one it shares most information with.
"""

from synthetic.worlds.world import Camera, Palette, Shades, World

_ATTRIBUTES = (
    ("gender", None, ((845, 656),)),
    ("hair", "gender", ((840, 5), (141, 515))),
    ("clothes", "gender", ((0, 845), (195, 461))),
    ("up", "gender", ((23, 822), (61, 595))),
    (
        "downcolour",
        "gender",
        ((365, 39, 6, 0, 0, 188, 135, 12, 80, 20), (215, 69, 43, 2, 11, 61, 142, 22, 37, 54)),
    ),
    (
        "upcolour",
        "downcolour",
        (
            (98, 163, 51, 27, 34, 76, 44, 34, 53),
            (9, 50, 11, 1, 8, 11, 3, 4, 11),
            (4, 19, 15, 1, 1, 0, 1, 3, 5),
            (1, 0, 0, 0, 0, 0, 0, 0, 1),
            (0, 2, 0, 1, 6, 1, 0, 0, 1),
            (32, 67, 28, 6, 20, 41, 17, 15, 23),
            (38, 78, 29, 15, 17, 32, 18, 22, 28),
            (3, 10, 1, 0, 2, 6, 4, 6, 2),
            (22, 33, 11, 1, 5, 18, 9, 11, 7),
            (15, 14, 8, 2, 4, 7, 2, 6, 16),
        ),
    ),
    (
        "age",
        "downcolour",
        (
            (0, 431, 144, 5),
            (3, 93, 12, 0),
            (2, 40, 7, 0),
            (0, 2, 0, 0),
            (0, 10, 0, 1),
            (6, 193, 45, 5),
            (2, 254, 21, 0),
            (0, 24, 10, 0),
            (0, 98, 18, 1),
            (3, 64, 6, 1),
        ),
    ),
    (
        "hat",
        "downcolour",
        ((563, 17), (102, 6), (44, 5), (2, 0), (8, 3), (246, 3), (271, 6), (34, 0), (115, 2), (73, 1)),
    ),
    ("down", "age", ((5, 11), (348, 861), (191, 72), (12, 1))),
    ("backpack", "age", ((16, 0), (833, 376), (253, 10), (13, 0))),
    ("bag", "backpack", ((745, 370), (386, 0))),
    ("handbag", "backpack", ((953, 162), (386, 0))),
)

FIRST = World(
    name="first",
    number=0,
    cameras=(
        Camera((1.00, 1.00, 1.00), 1.00, 1.00, 1.00, 0.15, 1.00, 2.0, (0.40, 0.15, 0.30, 0.15)),
        Camera((1.06, 1.00, 0.94), 0.95, 1.02, 0.95, 0.45, 0.90, 3.0, (0.15, 0.35, 0.15, 0.35)),
        Camera((0.95, 1.00, 1.06), 1.03, 0.98, 0.94, 0.05, 0.95, 2.0, (0.30, 0.20, 0.30, 0.20)),
        Camera((0.98, 1.03, 0.97), 0.91, 1.03, 1.02, 0.30, 1.00, 3.0, (0.10, 0.20, 0.50, 0.20)),
        Camera((1.02, 0.98, 1.02), 1.05, 0.97, 0.92, 0.60, 0.85, 3.0, (0.45, 0.20, 0.15, 0.20)),
        Camera((0.98, 1.00, 1.02), 0.96, 0.95, 0.88, 0.25, 0.65, 4.0, (0.25, 0.25, 0.25, 0.25)),
    ),
    palette=Palette(
        wall=Shades(90, 200),
        ground=Shades(90, 180),
        openings=Shades(40, 220),
        objects=Shades(25, 230),
        leaves=(58, 92, 50),
    ),
    attributes=_ATTRIBUTES,
)
