"""What a person looks like: everything that stays the same from one image of an identity to the next."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from qafm.attributes import MISSING, SCHEMA

Colour = tuple[int, int, int]

ROWS, COLUMNS = 48, 72
"""Of a garment's cloth: from its top down, and around the body in steps of 5°, column 0 in front."""

# Hue in degrees, saturation, brightness, each from..to: shades that all go by the colour's name.
_SHADES = {
    "black": ((0, 360), (0.0, 0.3), (0.04, 0.15)),
    "white": ((20, 60), (0.0, 0.08), (0.88, 0.98)),
    "red": ((-8, 8), (0.75, 0.95), (0.55, 0.9)),
    "purple": ((268, 292), (0.45, 0.75), (0.4, 0.72)),
    "yellow": ((44, 58), (0.6, 0.9), (0.82, 0.98)),
    "gray": ((0, 360), (0.0, 0.06), (0.36, 0.62)),
    "blue": ((202, 236), (0.5, 0.9), (0.35, 0.85)),
    "green": ((95, 155), (0.45, 0.85), (0.3, 0.72)),
    "pink": ((325, 350), (0.3, 0.55), (0.85, 0.98)),
    "brown": ((18, 32), (0.5, 0.7), (0.28, 0.48)),
    "orange": ((20, 32), (0.8, 0.95), (0.85, 0.98)),
    "cyan": ((175, 195), (0.4, 0.8), (0.6, 0.9)),
}
_BULK = 1.15
"""How much broader than life people are: boxes narrower than 1:2 are stretched to it."""
_SKIN = ((250, 220, 196), (240, 200, 168), (222, 176, 138), (190, 138, 98), (140, 94, 62), (98, 64, 44))
_HAIR = ((18, 16, 18), (34, 24, 20), (62, 38, 24), (104, 64, 34), (150, 104, 52), (120, 44, 26))


@dataclass(frozen=True)
class Person:
    """An identity as it is drawn. Lengths are fractions of its height; cloths uint8 [ROWS,COLUMNS,3]."""

    words: dict[str, str]
    """Attribute name to its word; a colour that is missing is absent."""
    upper: np.ndarray
    sleeves: np.ndarray
    lower: np.ndarray
    skin: Colour
    hair: Colour
    hair_style: int
    head: float
    leg: float
    shoulder: float
    waist: float
    hip: float
    depth: float
    limb: float
    stoop: float
    stride: float
    side: int
    """Which side carries the bags: -1 right, +1 left."""
    shoes: Colour
    sole: Colour
    sock: Colour
    boots: float
    hat: Colour
    hat_trim: Colour
    hat_style: int
    backpack: Colour
    backpack_trim: Colour
    bag: Colour
    bag_trim: Colour
    handbag: Colour
    handbag_shape: tuple[float, float]
    glasses: bool
    beard: bool


def make_person(labels: np.ndarray, rng: np.random.Generator) -> Person:
    """labels: int8 [12], as in `qafm.attributes.SCHEMA`. What they leave open is drawn from rng."""
    words = {
        attribute.name: attribute.values[label]
        for attribute, label in zip(SCHEMA, labels, strict=True)
        if label != MISSING
    }
    female, age = words["gender"] == "female", words["age"]
    build = rng.uniform(0.86, 1.1)
    side = int(rng.choice((-1, 1)))
    backpack, bag = _any_colour(rng), _any_colour(rng)
    upper, sleeves = _upper(words, rng)
    lower = _cloth(words.get("downcolour"), rng, ("plain", "plain", "side", "fade", "cuffs", "bands", "dots"))
    lower[:2] = _any_colour(rng, ("black", "brown", "white", "gray"))  # the belt
    if words["backpack"] == "yes":
        for centre in (-6, 6):  # straps over the chest, 30° either side
            upper[:34, np.arange(centre - 2, centre + 2)] = backpack
    if words["bag"] == "yes":
        _crossbody(upper, bag, side)
    head = {"young": 0.215, "teen": 0.155, "adult": 0.142, "old": 0.145}[age]
    bulk = {"young": 0.98, "teen": 0.92, "adult": 1.06, "old": 1.06}[age] * build * _BULK
    hair = _HAIR[rng.integers(len(_HAIR))]
    if age == "old":
        grey = int(rng.integers(165, 235))
        hair = (grey, grey, grey)
    shape = (0.106, 0.08, 0.122) if female else (0.135, 0.112, 0.104)
    return Person(
        words=words,
        upper=upper,
        sleeves=sleeves,
        lower=lower,
        skin=_SKIN[min(5, int(rng.gamma(2.0, 0.8)))],
        hair=hair,
        hair_style=int(rng.integers(3)),
        head=head * rng.uniform(0.95, 1.05),
        leg=(0.43 if age == "young" else 0.5) + rng.uniform(-0.02, 0.02),
        shoulder=shape[0] * bulk,
        waist=shape[1] * bulk * rng.uniform(0.9, 1.2 if age in ("adult", "old") else 1.05),
        hip=shape[2] * bulk,
        depth=0.078 * bulk * rng.uniform(0.9, 1.15),
        limb=bulk * (0.9 if female else 1.0) * rng.uniform(0.92, 1.12),
        stoop=0.3 + rng.uniform(0, 0.15) if age == "old" else rng.uniform(-0.02, 0.07),
        stride=rng.uniform(0.2, 0.3) if age == "old" else rng.uniform(0.3, 0.55),
        side=side,
        shoes=_any_colour(rng),
        sole=_any_colour(rng, ("white", "black", "gray", "brown", "white")),
        sock=_any_colour(rng, ("white", "black", "gray", "white", "red", "blue")),
        boots=float(rng.choice((0.0, 0.0, 0.03, 0.12))),
        hat=_any_colour(rng),
        hat_trim=_any_colour(rng),
        hat_style=int(rng.integers(3)),
        backpack=backpack,
        backpack_trim=_any_colour(rng),
        bag=bag,
        bag_trim=_any_colour(rng),
        handbag=_any_colour(rng),
        handbag_shape=(rng.uniform(0.05, 0.08), rng.uniform(0.08, 0.16)),
        glasses=bool(rng.random() < 0.3),
        beard=bool(not female and age in ("adult", "old") and rng.random() < 0.5),
    )


def _shade(name: str, rng: np.random.Generator) -> Colour:
    hue, saturation, value = (rng.uniform(*bounds) for bounds in _SHADES[name])
    red, green, blue = colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _any_colour(rng: np.random.Generator, names: tuple[str, ...] = tuple(_SHADES)) -> Colour:
    return _shade(names[rng.integers(len(names))], rng)


def _contrast(colour: Colour, rng: np.random.Generator) -> Colour:
    """A colour that stands out from `colour`."""
    while True:
        other = _any_colour(rng)
        if sum(abs(a - b) for a, b in zip(colour, other, strict=True)) > 190:
            return other


def _cloth(colour: str | None, rng: np.random.Generator, patterns: tuple[str, ...]) -> np.ndarray:
    """Cloth of a colour, at most a third of it in others. Where `colour` is None, it has several in equal parts."""
    if colour is None:
        return _multicoloured(rng)
    base = _shade(colour, rng)
    trim = _contrast(base, rng)
    cloth = np.empty((ROWS, COLUMNS, 3), dtype=np.uint8)
    cloth[:] = base
    row, column = np.arange(ROWS)[:, None], np.arange(COLUMNS)[None]
    pattern = patterns[rng.integers(len(patterns))]
    period, phase = int(rng.integers(8, 17)), int(rng.integers(8))
    if pattern == "bands":
        marked = (row + phase) % period < period * 0.32
    elif pattern == "columns":
        marked = (column + phase) % 12 < 4
    elif pattern == "plaid":
        marked = ((row + phase) % period < 2) | (column % 12 < 2)
    elif pattern == "dots":
        marked = ((row + phase) % 12 - 6) ** 2 + ((column + (row + phase) // 12 % 2 * 6) % 12 - 6) ** 2 < 9
    elif pattern == "yoke":
        marked = row < rng.integers(8, 15)
    elif pattern == "chest":
        top = rng.integers(10, 22)
        marked = (row >= top) & (row < top + rng.integers(6, 11))
    elif pattern == "side":
        marked = np.abs(column % 36 - 18) < rng.integers(2, 5)
    elif pattern == "cuffs":
        marked = row >= ROWS - rng.integers(5, 12)
    elif pattern == "fade":
        lighter = np.array(base) * 0.55 + 0.45 * 235
        weight = np.exp(-(((row - 22) / 14) ** 2))[..., None] * 0.6
        cloth[:] = np.rint(cloth * (1 - weight) + lighter * weight)
        marked = None
    else:
        marked = None
    if marked is not None:
        cloth[np.broadcast_to(marked, (ROWS, COLUMNS))] = trim
    return cloth


def _multicoloured(rng: np.random.Generator) -> np.ndarray:
    """Three or four colours in equal parts: the garment has no one colour to name."""
    count = int(rng.integers(3, 5))
    names = rng.permutation([name for name in _SHADES if name not in ("black", "gray")])[:count]
    palette = np.array([_shade(str(name), rng) for name in names], dtype=np.uint8)
    row, column = np.arange(ROWS)[:, None], np.arange(COLUMNS)[None]
    kind = rng.integers(4)
    if kind == 0:
        which = row // int(rng.integers(4, 9)) + 0 * column
    elif kind == 1:
        which = column // 6 + 0 * row
    elif kind == 2:
        which = row // 8 + column // 8
    else:
        blotches = rng.integers(0, count, (7, 10))
        which = blotches[row // 7, column // 8]
    return palette[which % count]


def _upper(words: dict[str, str], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The cloth of the trunk and of the sleeves, which have the pattern but nothing that is only in front."""
    patterns = (
        "plain",
        "plain",
        "plain",
        "bands",
        "columns",
        "plaid",
        "dots",
        "yoke",
        "chest",
        "side",
        "cuffs",
    )
    cloth = _cloth(words.get("upcolour"), rng, patterns)
    sleeves = cloth.copy()
    base = int(cloth[30, 20, 0]), int(cloth[30, 20, 1]), int(cloth[30, 20, 2])
    front = rng.integers(5)
    if front == 0:  # an open jacket over another shirt
        cloth[:, np.arange(-3, 4)] = _contrast(base, rng)
    elif front == 1:  # a zip or a row of buttons
        cloth[:, np.arange(-1, 1)] = _contrast(base, rng)
    elif front == 2:
        _print(cloth, 0, _contrast(base, rng), rng)
    if rng.random() < 0.35:
        _print(cloth, COLUMNS // 2, _contrast(base, rng), rng)
    if words["age"] == "adult":  # a collar
        cloth[:4, np.arange(-6, 6)] = _contrast(base, rng)
    return cloth, sleeves


def _print(cloth: np.ndarray, centre: int, colour: Colour, rng: np.random.Generator) -> None:
    """A picture on chest or back: a small random shape, mirrored, as logos often are."""
    shape = rng.random((5, 3)) < 0.6
    shape = np.concatenate([shape, shape[:, ::-1]], axis=1).repeat(int(rng.integers(3, 6)), 0).repeat(3, 1)
    top, left = int(rng.integers(8, 16)), centre - shape.shape[1] // 2
    rows = np.arange(top, min(ROWS, top + len(shape)))
    columns = np.arange(left, left + shape.shape[1]) % COLUMNS
    block = cloth[np.ix_(rows, columns)]
    block[shape[: len(rows)]] = colour
    cloth[np.ix_(rows, columns)] = block


def _crossbody(cloth: np.ndarray, colour: Colour, side: int) -> None:
    """A strap from one shoulder to the hip on `side`, in front and behind."""
    for row in range(ROWS):
        column = side * round(26 * row / ROWS - 10)
        cloth[row, np.arange(column - 1, column + 2)] = colour
        cloth[row, (COLUMNS // 2 - np.arange(column - 1, column + 2)) % COLUMNS] = colour
