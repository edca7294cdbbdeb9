"""What makes a world."""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[float, float, float]

Tables = tuple[tuple[str, str | None, tuple[tuple[int, ...], ...]], ...]
"""Frequencies and correlations of the attributes: (attribute, the attribute it depends on, counts), the latter first.

Counts have a row for each value of the attribute depended on, one row if that is None, and a column for each value
of the attribute. A colour has one value more than in the schema, the last: no colour named.
"""


@dataclass(frozen=True)
class Camera:
    """How one camera sees.

    cast: gain of red, green, blue. exposure: gain. gamma: of the tones. saturation: 1 leaves colours alone.
    tilt: how far it looks down, 0..1. sharpness: pixels it really has for each pixel of the crop. noise:
    standard deviation in grey levels. headings: how often people walk towards it, to the right of the
    picture, away, to the left. light: from..to, where the light may come from, -1 left .. 1 right.
    """

    cast: RGB
    exposure: float
    gamma: float
    saturation: float
    tilt: float
    sharpness: float
    noise: float
    headings: tuple[float, float, float, float]
    light: tuple[float, float] = (-1.0, 1.0)


@dataclass(frozen=True)
class Shades:
    """Colours about grey: grey levels from..to, 0..255, and what is added to red, green and blue.

    colourful: 0..1, how often one is far from grey.
    """

    darkest: float
    brightest: float
    tint: RGB = (0.0, 0.0, 0.0)
    colourful: float = 0.2


@dataclass(frozen=True)
class Palette:
    """Of the places. openings: windows, doors, posters. objects: crates, cars, posts. leaves: RGB of bushes."""

    wall: Shades
    ground: Shades
    openings: Shades
    objects: Shades
    leaves: RGB


@dataclass(frozen=True)
class World:
    """number: of its own, from 0. It goes into every seed, so that no two worlds have a person or a place in common."""

    name: str
    number: int
    cameras: tuple[Camera, ...]
    palette: Palette
    attributes: Tables
