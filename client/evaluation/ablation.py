"""What α is worth: the paper's Table 4, and the same by degradation, from one description of each image.

The server's fusion is asked again for the vectors it has already computed, with α fixed; no image is sent twice.
"""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qafm.datasets import degradations
from qafm.datasets.degradations import DEGRADATION_FILE, LEVELS, level, read_degradations, require_recorded
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import Metrics, evaluate

if TYPE_CHECKING:
    from client.reid import ReidClient

FIXED_ALPHAS = tuple(tenth / 10 for tenth in range(1, 10))


@dataclass(frozen=True, eq=False)
class Row:
    """One way to make a descriptor. `alpha` is the fixed weight of APN, None where there is no such thing."""

    name: str
    alpha: float | None
    metrics: Metrics

    def summary(self) -> dict[str, Any]:
        """For JSON. `paper_alpha` is 1 - alpha: the paper's Table 4 has α as the weight of APAN."""
        return {
            "name": self.name,
            "alpha": self.alpha,
            "paper_alpha": None if self.alpha is None else round(1 - self.alpha, 3),
            "rank1": self.metrics.rank1,
            "rank5": self.metrics.rank5,
            "mAP": self.metrics.mAP,
        }


@dataclass(frozen=True, eq=False)
class Degradation:
    """What is recorded to be wrong with the images, and what that does.

    recorded: {path: kind and strength}. queries: how many there are at each level that has any; rows: for
    each row of the sweep its mAP at those levels. q_strength_r: Pearson's r of Q and strength over all images.
    """

    recorded: dict[str, degradations.Degradation]
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

    def table(self) -> Iterator[tuple[str, list[float | None], list[float | None]]]:
        """For each row its name, α and the paper's α, and in [0,1] Rank-1, Rank-5, mAP and the mAP at each level."""
        levels = self.degradation.queries if self.degradation else {}
        for row in self.rows:
            summary = row.summary()
            by_level = self.degradation.rows[row.name] if self.degradation else {}
            fractions = [summary["rank1"], summary["rank5"], summary["mAP"], *(by_level.get(name) for name in levels)]
            yield row.name, [summary["alpha"], summary["paper_alpha"]], fractions

    def summary(self) -> dict[str, Any]:
        names = ("alpha_mean", "alpha_sd", "alpha_min", "alpha_max", "q_alpha_r")
        return {
            "table4": [row.summary() for row in self.rows],
            **{name: getattr(self, name) for name in names},
            "degradation": self.degradation.summary() if self.degradation else None,
        }


async def ablate(
    client: ReidClient, root: Path, query: Descriptors, gallery: Descriptors, metrics: Metrics
) -> Ablation:
    """Evaluate both branches alone and fixed weights beside `metrics`, of the served descriptors of query and gallery.

    "APN alone" and "APAN alone" stand twice: as α = 1 and 0, through an FC that never trained there, and as the plain
    cosine of v_a and v_s. Where `root` has a degradations.json, its strengths split the queries.
    """
    rows = [Row("QAFM", None, metrics)]
    for name, field in (("APN alone, cosine of v_a", "visual"), ("APAN alone, cosine of v_s", "semantic")):
        rows.append(await _row(name, None, _plain(query, field), _plain(gallery, field)))
    for name, fixed in (
        ("APN alone, α = 1", 1.0),
        ("APAN alone, α = 0", 0.0),
        *((f"fixed α = {tenth}", tenth) for tenth in FIXED_ALPHAS),
    ):
        sides = [await _fused(client, side, fixed) for side in (query, gallery)]
        rows.append(await _row(name, fixed, *sides))
    alpha = np.concatenate([_known(side.alpha) for side in (query, gallery)])
    score = np.concatenate([_known(side.identifiability) for side in (query, gallery)])
    return Ablation(
        rows=tuple(rows),
        alpha_mean=float(alpha.mean()),
        alpha_sd=float(alpha.std()),
        alpha_min=float(alpha.min()),
        alpha_max=float(alpha.max()),
        q_alpha_r=correlation(score, alpha),
        degradation=_by_degradation(root, rows, query, gallery),
    )


def write_images(path: Path, query: Descriptors, gallery: Descriptors, ablation: Ablation) -> None:
    """One line an image as CSV: what is wrong with it, Q, α; of a query also its AP fused and by each branch's cosine.

    A gallery image has no AP, nor has a query without a true match: their fields are empty.
    """
    fused, apn, apan, *_ = ablation.rows
    recorded = ablation.degradation.recorded if ablation.degradation else {}
    unknown = np.full(len(gallery), np.nan)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "kind", "strength", "identifiability", "alpha", "ap", "ap_apn", "ap_apan"])
        for side, precisions in (
            (query, [one.metrics.average_precision for one in (fused, apn, apan)]),
            (gallery, [unknown] * 3),
        ):
            columns = (_known(side.identifiability), _known(side.alpha), *precisions)
            for image, *numbers in zip(_known(side.paths).tolist(), *columns, strict=True):
                cells = ("" if np.isnan(number) else f"{number:.6g}" for number in numbers)
                writer.writerow([image, *recorded.get(image, ("", "")), *cells])


def correlation(x: NDArray[Any], y: NDArray[Any]) -> float | None:
    """Pearson's r of two arrays [N]; None where either is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x.astype(np.float64), y.astype(np.float64))[0, 1])


def _by_degradation(root: Path, rows: list[Row], query: Descriptors, gallery: Descriptors) -> Degradation | None:
    path = root / DEGRADATION_FILE
    if not path.is_file():
        return None
    recorded = read_degradations(path)
    images = [*_known(query.paths).tolist(), *_known(gallery.paths).tolist()]
    require_recorded(recorded, images, path)
    strength = np.array([recorded[image].strength for image in images])
    score = np.concatenate([_known(side.identifiability) for side in (query, gallery)])
    levels = np.array([level(one) for one in strength[: len(query)]])
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


async def _row(name: str, alpha: float | None, query: Descriptors, gallery: Descriptors) -> Row:
    return Row(name, alpha, await asyncio.to_thread(evaluate, query, gallery))


async def _fused(client: ReidClient, side: Descriptors, alpha: float) -> Descriptors:
    weights = np.full(len(side), alpha, np.float32)
    return replace(side, descriptors=await client.fuse(_known(side.visual), _known(side.semantic), weights))


def _plain(side: Descriptors, field: str) -> Descriptors:
    vectors = _known(getattr(side, field))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return replace(side, descriptors=vectors / np.maximum(lengths, np.finfo(np.float32).tiny))


def _known(array: NDArray[Any] | None) -> NDArray[Any]:
    assert array is not None, "descriptors straight from the server have every array"
    return array
