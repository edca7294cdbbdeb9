"""People in turns, so that what is taught by some is judged by the others."""

from __future__ import annotations

import numpy as np


def people_in_turns(pids: np.ndarray, folds: int = 5) -> list[np.ndarray]:
    """The identities of int [N], in up to `folds` parts of about the same size, the same ones each time."""
    people = np.unique(pids)
    turns = np.random.default_rng(0).permutation(len(people)) % folds
    return [people[turns == turn] for turn in np.unique(turns)]
