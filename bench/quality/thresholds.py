"""Whether one threshold for all pairs is beaten by one for each class of quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.quality.figures import resampled

FALSE_POSITIVES = 1e-3
"""The share of false pairs that may pass."""
_CLASSES = (0.15, 0.4, 0.7)
"""Where they end, among the qualities of all pictures; a pair is of the class of its worse picture."""
_TRIED = np.linspace(0.0, 1.0, 401)
_HALVINGS = 50


@dataclass(frozen=True, eq=False)
class Pairs:
    """Cosines float [Q,G] of queries and gallery, their quality float [Q] and [G] (higher is better), their identities
    and cameras int [Q] and [G]."""

    cosines: np.ndarray
    qualities: tuple[np.ndarray, np.ndarray]
    pids: tuple[np.ndarray, np.ndarray]
    camids: tuple[np.ndarray, np.ndarray]

    def of(self, people: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of the pairs of some people's queries, with their own pictures by other cameras, and with those of each other
        and of whoever never asks: cosine, class, whether it is true, and the row of its query, [M] each."""
        asked = np.isin(self.pids[0], people)
        answers = np.isin(self.pids[1], people) | ~np.isin(self.pids[1], self.pids[0])
        same = self.pids[0][asked, None] == self.pids[1][answers]
        counted = ~same | (self.camids[0][asked, None] != self.camids[1][answers])
        worse = np.minimum(self.qualities[0][asked, None], self.qualities[1][answers])
        classes = np.digitize(worse, np.quantile(np.concatenate(self.qualities), _CLASSES))
        rows = np.broadcast_to(np.flatnonzero(asked)[:, None], same.shape)
        cosines = self.cosines[np.ix_(asked, answers)]
        return cosines[counted], classes[counted], same[counted], rows[counted]


def by_class(pairs: Pairs) -> tuple[float, tuple[float, float, float]]:
    """The share of true pairs that pass one threshold at FALSE_POSITIVES, and what thresholds by class gain, with its
    interval over people. Each half of the people chooses for the other, where both pass as many false pairs."""
    pids = pairs.pids[0]
    people = np.random.default_rng(0).permutation(np.unique(pids))
    halves = people[: len(people) // 2], people[len(people) // 2 :]
    counts = np.zeros((3, len(pids)))
    for chooses, judged in (halves, halves[::-1]):
        thresholds = chosen(*pairs.of(chooses)[:3])
        cosines, classes, true, rows = pairs.of(judged)
        for place, scores in enumerate((cosines, cosines - thresholds[classes])):
            passed = scores > np.quantile(scores[~true], 1 - FALSE_POSITIVES)
            counts[place] += np.bincount(rows[true & passed], minlength=len(pids))
        counts[2] += np.bincount(rows[true], minlength=len(pids))
    one, classed, pairs_of = counts
    gain = resampled(pids, lambda some: float((classed - one)[some].sum() / pairs_of[some].sum()))
    return float(one.sum() / pairs_of.sum()), gain


def chosen(cosines: np.ndarray, classes: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The threshold of each class, float [K], by which most true pairs pass with FALSE_POSITIVES of the false ones.

    At the best ones another false pair buys as many true pairs in every class: a price, found by halving.
    """
    counted = []
    for place in range(len(_CLASSES) + 1):
        own = classes == place
        false, right = np.sort(cosines[own & ~true]), np.sort(cosines[own & true])
        passing = [1 - np.searchsorted(side, _TRIED, side="right") / max(len(side), 1) for side in (false, right)]
        counted.append((passing[0] * len(false) / (~true).sum(), passing[1] * len(right) / true.sum()))

    def at(price: float) -> np.ndarray:
        return np.array([int(np.argmax(right - price * false)) for false, right in counted])

    low, high = 0.0, 1e6
    for _ in range(_HALVINGS):
        price = (low + high) / 2
        passed = sum(false[place] for (false, _), place in zip(counted, at(price), strict=True))
        low, high = (price, high) if passed > FALSE_POSITIVES else (low, price)
    thresholds = np.asarray(_TRIED[at(high)])
    # A class that nobody has here gets the common one.
    thresholds[np.bincount(classes, minlength=len(thresholds)) == 0] = np.quantile(cosines[~true], 1 - FALSE_POSITIVES)
    return thresholds
