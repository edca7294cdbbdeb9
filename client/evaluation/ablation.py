"""What α is worth: the paper's Table 4, and the same by degradation, from one description of each image.

The server's fusion is asked again for the vectors it has already computed, with α fixed; no image is sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.reid import ReidClient
from qafm.datasets import degradations
from qafm.datasets.degradations import LEVELS, level
from qafm.retrieval.comparison import Differences, differences, differences_summary
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import Metrics, evaluate

FIXED_ALPHAS = tuple(tenth / 10 for tenth in range(1, 10))


@dataclass(frozen=True, eq=False)
class Row:
    """One way to make a descriptor.

    alpha: the fixed weight of APN, None where there is no such thing. difference: by how much rank1 and mAP exceed
    those of the served descriptor, with paired intervals; empty for that one itself.
    """

    name: str
    alpha: float | None
    metrics: Metrics
    difference: Differences = field(default_factory=dict)

    @property
    def paper_alpha(self) -> float | None:
        """1 - alpha: the paper's Table 4 has α as the weight of APAN."""
        return None if self.alpha is None else round(1 - self.alpha, 3)

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "alpha": self.alpha,
            "paper_alpha": self.paper_alpha,
            "rank1": self.metrics.rank1,
            "rank5": self.metrics.rank5,
            "mAP": self.metrics.mAP,
            "difference": differences_summary(self.difference),
        }


@dataclass(frozen=True, eq=False)
class Degradation:
    """What is recorded to be wrong with the images, and what that does.

    recorded: {path: kind and strength}. queries: how many there are at each level that has any; rows: for
    each row of the sweep its mAP at those levels. q_strength_r: Pearson's r of Q and strength over all images.
    """

    recorded: Mapping[str, degradations.Degradation]
    queries: dict[str, int]
    rows: dict[str, dict[str, float]]
    q_strength_r: float | None

    def summary(self) -> dict[str, Any]:
        return {"queries": self.queries, "mAP": self.rows, "q_strength_r": self.q_strength_r}


@dataclass(frozen=True, eq=False)
class Ablation:
    """The rows of Table 4, first the served descriptor. alpha_*: over all images; q_alpha_r: Pearson's r of Q and α."""

    rows: tuple[Row, ...]
    alpha_mean: float
    alpha_sd: float
    alpha_min: float
    alpha_max: float
    q_alpha_r: float | None
    degradation: Degradation | None

    def summary(self) -> dict[str, Any]:
        names = ("alpha_mean", "alpha_sd", "alpha_min", "alpha_max", "q_alpha_r")
        return {
            "table4": [row.summary() for row in self.rows],
            **{name: getattr(self, name) for name in names},
            "degradation": self.degradation.summary() if self.degradation else None,
        }


async def ablate(
    client: ReidClient,
    recorded: Mapping[str, degradations.Degradation] | None,
    query: Descriptors,
    gallery: Descriptors,
    metrics: Metrics,
    concurrency: int,
) -> Ablation:
    """Evaluate both branches alone and fixed weights beside `metrics`, of the served descriptors of query and gallery.

    "APN alone" and "APAN alone" stand twice: as α = 1 and 0, through an FC that never trained there, and as the plain
    cosine of v_a and v_s. recorded: what is wrong with the images, all of them, by path; it splits the queries.
    concurrency: how many requests are in flight at once.
    """
    rows = [Row("QAFM", None, metrics)]
    for name, vectors in (("APN alone, cosine of v_a", "visual"), ("APAN alone, cosine of v_s", "semantic")):
        rows.append(await _row(name, None, metrics, _plain(query, vectors), _plain(gallery, vectors)))
    for name, fixed in (
        ("APN alone, α = 1", 1.0),
        ("APAN alone, α = 0", 0.0),
        *((f"fixed α = {tenth}", tenth) for tenth in FIXED_ALPHAS),
    ):
        sides = [await _fused(client, side, fixed, concurrency) for side in (query, gallery)]
        rows.append(await _row(name, fixed, metrics, *sides))
    alpha = np.concatenate([known(side.alpha) for side in (query, gallery)])
    score = np.concatenate([known(side.identifiability) for side in (query, gallery)])
    return Ablation(
        rows=tuple(rows),
        alpha_mean=float(alpha.mean()),
        alpha_sd=float(alpha.std()),
        alpha_min=float(alpha.min()),
        alpha_max=float(alpha.max()),
        q_alpha_r=correlation(score, alpha),
        degradation=_by_degradation(recorded, rows, query, gallery),
    )


def correlation(x: NDArray[Any], y: NDArray[Any]) -> float | None:
    """Pearson's r of two arrays [N]; None where either is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x.astype(np.float64), y.astype(np.float64))[0, 1])


def _by_degradation(
    recorded: Mapping[str, degradations.Degradation] | None,
    rows: list[Row],
    query: Descriptors,
    gallery: Descriptors,
) -> Degradation | None:
    if recorded is None:
        return None
    images = [*known(query.paths).tolist(), *known(gallery.paths).tolist()]
    strength = np.array([recorded[image].strength for image in images])
    score = np.concatenate([known(side.identifiability) for side in (query, gallery)])
    levels = np.array([level(each) for each in strength[: len(query)]])
    groups = {name: np.flatnonzero(levels == name) for name in LEVELS if (levels == name).any()}
    return Degradation(
        recorded=recorded,
        queries={name: len(group) for name, group in groups.items()},
        rows={row.name: dict(_mean_precision(row, groups)) for row in rows},
        q_strength_r=correlation(score, strength),
    )


def _mean_precision(row: Row, groups: dict[str, NDArray[np.intp]]) -> Iterator[tuple[str, float]]:
    """mAP over each group of queries; one in which no query has a true match is left out."""
    for name, group in groups.items():
        precision = row.metrics.average_precision[group]
        if not np.isnan(precision).all():
            yield name, float(np.nanmean(precision))


async def _row(name: str, alpha: float | None, served: Metrics, query: Descriptors, gallery: Descriptors) -> Row:
    metrics = await asyncio.to_thread(evaluate, query, gallery)
    return Row(name, alpha, metrics, await asyncio.to_thread(differences, metrics, served, query.pids))


async def _fused(client: ReidClient, side: Descriptors, alpha: float, concurrency: int) -> Descriptors:
    weights = np.full(len(side), alpha, np.float32)
    vectors = (known(side.visual), known(side.semantic))
    return replace(side, descriptors=await client.fuse(*vectors, weights, concurrency=concurrency))


def _plain(side: Descriptors, name: str) -> Descriptors:
    vectors = known(getattr(side, name))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return replace(side, descriptors=vectors / np.maximum(lengths, np.finfo(np.float32).tiny))


def known(array: NDArray[Any] | None) -> NDArray[Any]:
    """An array of descriptors that came straight from the server, which has all of them."""
    assert array is not None, "descriptors straight from the server have every array"
    return array
