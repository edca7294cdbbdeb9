"""What thresholds accept, query by query: the ROC, and the rates of one group of people beside another's.

Pairs are those of `qafm.retrieval.verification`: genuine where a query and a gallery image show one person, by two
cameras, impostors where they show two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qafm.retrieval.bootstrap import RESAMPLES, SEED, Interval, identity_sums, percentile_interval, resampled_sums
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.distances import Distance, comparable, estimate, from_squares
from qafm.retrieval.ranking import without_junk
from qafm.retrieval.verification import BLOCK_BYTES


class Rate(NamedTuple):
    """The part of some pairs that is accepted, and its 95 % interval by bootstrap over the queries' identities."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Rates:
    """Of the queries of one group: how many identities they are of, and which part of their pairs is accepted."""

    identities: int
    true_positive: Rate
    false_positive: Rate


@dataclass(frozen=True, eq=False)
class Acceptance:
    """How many pairs of each of N queries each of T thresholds accepts.

    thresholds: float64 [T], ascending; a pair is accepted up to it. genuine, impostors: int64 [N,T]. genuine_pairs,
    impostor_pairs: int64 [N], how many there are. The rows of junk are 0.
    """

    thresholds: np.ndarray
    genuine: np.ndarray
    impostors: np.ndarray
    genuine_pairs: np.ndarray
    impostor_pairs: np.ndarray

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """The false and the true positive rate at each threshold, float64 [T] each; NaN where there are no pairs."""
        with np.errstate(invalid="ignore"):
            return (
                self.impostors.sum(axis=0) / np.float64(self.impostor_pairs.sum()),
                self.genuine.sum(axis=0) / np.float64(self.genuine_pairs.sum()),
            )

    def rates(
        self, place: int, wanted: np.ndarray, pids: np.ndarray, *, resamples: int = RESAMPLES, seed: int = SEED
    ) -> Rates | None:
        """What the threshold at `place` accepts of the pairs of the wanted queries, bool [N], with all gallery images.

        pids: int [N], of the queries. None where these queries have no genuine or no impostor pair.
        """
        columns = np.stack(
            [self.genuine[:, place], self.genuine_pairs, self.impostors[:, place], self.impostor_pairs], axis=1
        )[wanted]
        accepted, pairs = columns.sum(axis=0)[::2], columns.sum(axis=0)[1::2]
        if not pairs.all():
            return None
        identities = identity_sums(columns, pids[wanted])
        drawn = resampled_sums(identities, resamples=resamples, seed=seed)
        # Nobody with a genuine pair may be drawn.
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = drawn[:, ::2] / drawn[:, 1::2]
        ends = [percentile_interval(column[np.isfinite(column)]) for column in shares.T]
        true, false = (Rate(float(value), end) for value, end in zip(accepted / pairs, ends, strict=True))
        return Rates(len(identities), true, false)


def acceptance(
    query: Descriptors,
    gallery: Descriptors,
    thresholds: np.ndarray,
    block_bytes: int = BLOCK_BYTES,
    *,
    distance: Distance = "euclidean",
) -> Acceptance:
    """Count the pairs of each query that each threshold accepts.

    thresholds: float [T], ascending, of `distance`. In blocks of queries; distances are estimated in float32, as those
    of `qafm.retrieval.verification.operating_points` are. Raises as `qafm.retrieval.distances.comparable` does.
    """
    thresholds = np.asarray(thresholds, np.float64)
    counted = np.zeros((2, len(query), len(thresholds)), np.int64)
    pairs = np.zeros((2, len(query)), np.int64)
    query, gallery = comparable(query, gallery, distance)
    (query, rows), (gallery, _) = without_junk(query), without_junk(gallery)
    # In float32, as thresholds of operating points are: rounded up to float64 they would lose their own pair.
    limits, bins = thresholds.astype(np.float32), len(thresholds) + 1
    for block in estimate(query.descriptors, gallery.descriptors, block_bytes):
        squares = block.relative
        squares += block.own[:, None]
        first = np.searchsorted(limits, from_squares(squares, distance))
        same_pid = query.pids[block.rows, None] == gallery.pids
        genuine = same_pid & (query.camids[block.rows, None] != gallery.camids)
        numbers = np.arange(len(first))[:, None]
        for kind, taken in enumerate((genuine, ~same_pid)):
            places = (numbers * bins + first)[taken]
            found = np.bincount(places, minlength=len(first) * bins).reshape(len(first), bins)
            counted[kind, rows[block.rows]] = found[:, :-1].cumsum(axis=1)
            pairs[kind, rows[block.rows]] = found.sum(axis=1)
    return Acceptance(thresholds, *counted, *pairs)
