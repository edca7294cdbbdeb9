"""How a utility is taught: from crops of people whom no network saw, as they are and made worse in known ways.

What a picture is worth is a noisy number: how much nearer its own person's pictures are than the nearest stranger's.
What pictures lose *on average* by one kind of degradation at one strength is not, and that is what is taught. A picture
is compared with itself as it was, so that nothing is learnt of the person; and what differs between ordinary pictures
is made to count little.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from qafm.utility import NUMBERS, Utility
from train.quality.folds import people_in_turns

DIRECTIONS, _COPIES_PER_DIRECTION = 64, 8
"""The picture's own features count along so many directions at most: those in which degradations move them most. Few
copies say little of these."""
_SQUARES, _FEATURES = 0.5, 0.2
"""How freely the squares and the features may count, beside the numbers themselves."""
_RIDGE, _MANY, _BETWEEN = 0.01, 2000, 0.3
"""How much large weights cost with so many copies, and with fewer as much more as they are fewer; and how much the
variance of the score over ordinary pictures costs."""
_SLOPE = 1.7
"""Of the sigmoid, by standard deviations over ordinary pictures: nearly the share of them that are worse."""


@dataclass(frozen=True, eq=False)
class Lessons:
    """N pictures, crops as they are and copies of them.

    numbers float64 [N,40] and directions float [N,2048]: see `qafm.utility`. ends float [N,2,D]: the descriptor before
    it gets length 1, at α = 0 and at α = 1; between them it changes in proportion. descriptors float [N,D], of length
    1, at the α of the run. pids, camids int [N]. whole int [N]: the row of the crop as it is, of which a picture is a
    copy; of itself, its own.
    kinds unicode [N], strengths float [N] in [0,1]: what was done to it.
    """

    numbers: np.ndarray
    directions: np.ndarray
    ends: np.ndarray
    descriptors: np.ndarray
    pids: np.ndarray
    camids: np.ndarray
    whole: np.ndarray
    kinds: np.ndarray
    strengths: np.ndarray

    @property
    def copies(self) -> np.ndarray:
        """bool [N]."""
        return self.whole != np.arange(len(self.whole))

    def described(self, alpha: np.ndarray) -> np.ndarray:
        """The descriptors at another α of each picture, float [N]: float [N,D], of length 1."""
        mixed = alpha[:, None] * self.ends[:, 1] + (1 - alpha[:, None]) * self.ends[:, 0]
        lengths = np.linalg.norm(mixed, axis=1, keepdims=True)
        described: np.ndarray = mixed / np.maximum(lengths, 1e-12)
        return described

    def of_kinds(self, kinds: Collection[str]) -> Lessons:
        """Without the copies by other kinds of degradation."""
        return self.of(~self.copies | np.isin(self.kinds, list(kinds)))

    def of(self, taken: np.ndarray) -> Lessons:
        """Those that are taken, bool [N]: crops, with all or some of their copies."""
        places = np.cumsum(taken) - 1
        return Lessons(
            **{name: values[taken] for name, values in vars(self).items() if name != "whole"},
            whole=places[self.whole[taken]],
        )


def worth(lessons: Lessons) -> np.ndarray:
    """Of each picture the mean cosine to the other crops of its person less that to the nearest stranger, float64 [N].

    Compared with crops as they are. NaN for a person with a single one.
    """
    crops = np.flatnonzero(~lessons.copies)
    cosines = lessons.descriptors.astype(np.float64) @ lessons.descriptors[crops].T
    own = lessons.pids[:, None] == lessons.pids[crops]
    others = own & (lessons.whole[:, None] != crops)
    counts = others.sum(axis=1)
    with np.errstate(invalid="ignore"):
        to_own = np.where(others, cosines, 0).sum(axis=1) / np.where(counts, counts, np.nan)
    return to_own - np.where(own, -np.inf, cosines).max(axis=1)


def mean_loss(lessons: Lessons) -> np.ndarray:
    """What a degradation of its kind and strength takes from the worth of a picture on average, float64 [N], at most 0.

    For each kind a parabola through 0, fitted to the copies. Kinds that cost little are raised, by the square root of
    how much the loss varies within them: each is to be told, however little it costs.
    """
    values = worth(lessons)
    change, loss = values - values[lessons.whole], np.zeros(len(values))
    for kind in np.unique(lessons.kinds[lessons.copies]):
        rows = np.flatnonzero((lessons.kinds == kind) & lessons.copies)
        known = rows[~np.isnan(change[rows])]
        powers = np.stack([lessons.strengths, lessons.strengths**2], axis=1)
        curve, *_ = np.linalg.lstsq(powers[known], change[known], rcond=None)
        loss[rows] = np.minimum(powers[rows] @ curve, 0)
    everything = loss[lessons.copies].std()
    for kind in np.unique(lessons.kinds[lessons.copies]):
        rows = (lessons.kinds == kind) & lessons.copies
        if spread := loss[rows].std():
            loss[rows] *= np.sqrt(everything / spread)
    return loss


def teach(lessons: Lessons) -> Utility:
    """Fit the rule: ridge regression of the mean loss on how a copy differs from its crop."""
    copies = lessons.copies
    centre, spread = lessons.numbers.mean(axis=0), lessons.numbers.std(axis=0) + 1e-6
    standard = (lessons.numbers - centre) / spread
    squares = standard**2
    square_spread = squares.std(axis=0) + 1e-6
    moved = lessons.directions - lessons.directions[lessons.whole]
    *_, axes = np.linalg.svd(moved[copies].astype(np.float64), full_matrices=False)
    axes = axes[: min(DIRECTIONS, copies.sum() // _COPIES_PER_DIRECTION)]
    along = lessons.directions @ axes.T
    along_spread = along.std(axis=0) + 1e-9
    inputs = np.concatenate([standard, _SQUARES * squares / square_spread, _FEATURES * along / along_spread], axis=1)
    weights = _fit(inputs, mean_loss(lessons), lessons.whole, copies)
    linear, square, features = np.split(weights, [NUMBERS, 2 * NUMBERS])
    rule = Utility(
        centre=centre,
        spread=spread,
        linear=linear,
        square=_SQUARES * square / square_spread,
        features=(_FEATURES * features / along_spread) @ axes,
        offset=np.zeros(()),
    )
    scores = rule.score(lessons.numbers, lessons.directions)[~copies]
    scale = _SLOPE / (scores.std() + 1e-9)
    scaled = {name: scale * getattr(rule, name) for name in ("linear", "square", "features")}
    return Utility(centre=centre, spread=spread, **scaled, offset=np.asarray(-scale * scores.mean()))


def _fit(inputs: np.ndarray, loss: np.ndarray, whole: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """The weights [M] that tell the loss of copies from how their inputs [N,M] differ from those of their crops."""
    change = (inputs - inputs[whole])[copies]
    ordinary = inputs[~copies] - inputs[~copies].mean(axis=0)
    products = change.T @ change / len(change) + _BETWEEN * ordinary.T @ ordinary / len(ordinary)
    products[np.diag_indices_from(products)] += _RIDGE * max(1, _MANY / len(change))
    return np.linalg.solve(products, change.T @ loss[copies] / len(change))


def cross_fitted(lessons: Lessons, folds: int = 5) -> np.ndarray:
    """The score of each picture by a rule that was taught without its person, float64 [N]; each rule's scores are in
    standard deviations over its own ordinary pictures."""
    scores = np.zeros(len(lessons.pids))
    for people in people_in_turns(lessons.pids, folds):
        out = np.isin(lessons.pids, people)
        rule = teach(lessons.of(~out))
        scores[out] = rule.score(lessons.numbers[out], lessons.directions[out])
    return scores


def correlations(lessons: Lessons) -> dict[str, float]:
    """By kind of degradation, the rank correlation, in [-1,1], of the strength with how bad a rule that was taught
    without their people says that the copies are; of kinds that have at least three copies, and none of fewer than
    four people: a rule needs some to learn from."""
    if len(np.unique(lessons.pids)) < 4:
        return {}
    scores, found = cross_fitted(lessons), {}
    for kind in np.unique(lessons.kinds[lessons.copies]).tolist():
        rows = (lessons.kinds == kind) & lessons.copies
        if rows.sum() >= 3:
            found[kind] = float(spearmanr(-scores[rows], lessons.strengths[rows]).statistic)
    return found
