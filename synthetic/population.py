"""Who there is: attributes with the frequencies and the correlations of the published annotation.

The twelve attributes form a tree (Chow and Liu): each depends on the one it shares most information with.
The tables count the 1,501 identities of `market_attribute.mat`, both splits together.
"""

from __future__ import annotations

import numpy as np

from qafm.attributes import MISSING, SCHEMA

# (attribute, the attribute it depends on, counts: a row for each value of the latter, a column for each of
# the former). A colour has one value more than in the schema, the last: no colour named.
_TABLES = (
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

_COLUMN = {attribute.name: column for column, attribute in enumerate(SCHEMA)}


def draw_attributes(count: int, lookalikes: float, rng: np.random.Generator) -> np.ndarray:
    """int8 [count,12], the attributes of `count` identities, in the order of `SCHEMA`.

    lookalikes in 0..1 is the fraction of identities that share every attribute with at least one other; with
    one or two identities it is met as nearly as can be.
    """
    people = [_draw_one(rng) for _ in range(count)]
    target = round(lookalikes * count)
    # Copies of others leave the frequencies as they are on average; so does drawing again.
    for _ in range(100 * count):
        groups: dict[bytes, list[int]] = {}
        for index, labels in enumerate(people):
            groups.setdefault(labels.tobytes(), []).append(index)
        shared = [index for group in groups.values() if len(group) > 1 for index in group]
        alone = [group[0] for group in groups.values() if len(group) == 1]
        missing = target - len(shared)
        if missing > 1 and len(alone) > 1:
            original, copy = rng.choice(alone, 2, replace=False)
            people[copy] = people[original]
        elif missing < 0:
            people[int(rng.choice(shared))] = _draw_one(rng)
        else:
            break
    return np.stack(people)


def _draw_one(rng: np.random.Generator) -> np.ndarray:
    labels = np.zeros(len(SCHEMA), dtype=np.int8)
    for name, parent, table in _TABLES:
        counts = np.array(table[0 if parent is None else labels[_COLUMN[parent]]], dtype=np.float64)
        # Cumulative sums instead of rng.choice, whose rounding has changed between NumPy versions.
        labels[_COLUMN[name]] = np.searchsorted(np.cumsum(counts), rng.random() * counts.sum(), side="right")
    for name in ("upcolour", "downcolour"):
        column = _COLUMN[name]
        if labels[column] == len(SCHEMA[column].values):
            labels[column] = MISSING
    return labels
