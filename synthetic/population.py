"""Who there is: attributes with the frequencies and the correlations of a world."""

from __future__ import annotations

import numpy as np

from qafm.attributes import MISSING, SCHEMA
from synthetic.worlds import Tables

_COLUMN = {attribute.name: column for column, attribute in enumerate(SCHEMA)}


def draw_attributes(tables: Tables, count: int, lookalikes: float, rng: np.random.Generator) -> np.ndarray:
    """int8 [count,12], the attributes of `count` identities, in the order of `SCHEMA`.

    lookalikes in 0..1 is the fraction of identities that share every attribute with at least one other; with
    one or two identities it is met as nearly as can be.
    """
    people = [_draw_one(tables, rng) for _ in range(count)]
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
            people[int(rng.choice(shared))] = _draw_one(tables, rng)
        else:
            break
    return np.stack(people)


def _draw_one(tables: Tables, rng: np.random.Generator) -> np.ndarray:
    labels = np.zeros(len(SCHEMA), dtype=np.int8)
    for name, parent, table in tables:
        counts = np.array(table[0 if parent is None else labels[_COLUMN[parent]]], dtype=np.float64)
        # Cumulative sums instead of rng.choice, whose rounding has changed between NumPy versions.
        labels[_COLUMN[name]] = np.searchsorted(np.cumsum(counts), rng.random() * counts.sum(), side="right")
    for name in ("upcolour", "downcolour"):
        column = _COLUMN[name]
        if labels[column] == len(SCHEMA[column].values):
            labels[column] = MISSING
    return labels
