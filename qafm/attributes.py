"""The twelve attributes of Market-1501 (paper, Table 2), and their place in the ATTRIBUTES tensor.

An identity's attributes are one int8 per attribute, in the order of `SCHEMA`: the index of its value, from 0,
or `MISSING`. `qafm.datasets.attribute_file` reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MISSING = -1
"""An attribute that nobody annotated: it takes no part in that attribute's loss or score."""


@dataclass(frozen=True)
class Attribute:
    """One attribute. `values` are the words for its values, `start` its first column in ATTRIBUTES.

    A binary attribute takes one column, P(second value); any other takes one column a value, summing to 1.
    """

    name: str
    values: tuple[str, ...]
    start: int

    @property
    def binary(self) -> bool:
        return len(self.values) == 2

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + (1 if self.binary else len(self.values)))


def _schema(*attributes: tuple[str, tuple[str, ...]]) -> tuple[Attribute, ...]:
    placed, start = [], 0
    for name, values in attributes:
        placed.append(Attribute(name, values, start))
        start = placed[-1].columns.stop
    return tuple(placed)


SCHEMA = _schema(
    ("gender", ("male", "female")),
    ("hair", ("short", "long")),
    ("up", ("long", "short")),
    ("down", ("long", "short")),
    ("clothes", ("dress", "pants")),
    ("hat", ("no", "yes")),
    ("backpack", ("no", "yes")),
    ("bag", ("no", "yes")),
    ("handbag", ("no", "yes")),
    ("age", ("young", "teen", "adult", "old")),
    ("upcolour", ("black", "white", "red", "purple", "yellow", "gray", "blue", "green")),
    ("downcolour", ("black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown")),
)

COLUMNS = tuple(
    f"{attribute.name}: {value}"
    for attribute in SCHEMA
    for value in (attribute.values[1:] if attribute.binary else attribute.values)
)
"""What each column of ATTRIBUTES is the probability of."""


def unknown_attributes(count: int) -> np.ndarray:
    """int8 [N,12] of so many people of whom nothing is known."""
    return np.full((count, len(SCHEMA)), MISSING, np.int8)


def predicted(probabilities: np.ndarray) -> np.ndarray:
    """The likeliest value of each attribute.

    probabilities: float [..., 30], as the ATTRIBUTES tensor has them. Returns int8 [..., 12].
    """
    probabilities = np.asarray(probabilities)
    return np.stack(
        [probabilities[..., a.start] > 0.5 if a.binary else probabilities[..., a.columns].argmax(-1) for a in SCHEMA],
        axis=-1,
    ).astype(np.int8)
