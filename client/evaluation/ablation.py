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
from qafm.contract import FEATURE_SIZE, PERTURBATION_COUNT, QAFM
from qafm.datasets import degradations
from qafm.datasets.degradations import LEVELS, level
from qafm.errors import InvalidSettings
from qafm.quality import Quality
from qafm.retrieval.comparison import Differences, differences, differences_summary
from qafm.retrieval.descriptors import Descriptors, of_both
from qafm.retrieval.metrics import Metrics, evaluate
from qafm.utility import LENGTH
from qafm.weighting import Weighting
from qafm.weighting.retrieval import Retrieval

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
    each row of the sweep its mAP at those levels. q_strength_r: Pearson's r of Q and strength over all images, None
    where either is constant or there is no Q.
    """

    recorded: Mapping[str, degradations.Degradation]
    queries: dict[str, int]
    rows: dict[str, dict[str, float]]
    q_strength_r: float | None

    def summary(self) -> dict[str, Any]:
        return {"queries": self.queries, "mAP": self.rows, "q_strength_r": self.q_strength_r}


@dataclass(frozen=True, eq=False)
class Ablation:
    """The rows of Table 4, first the served descriptor. alpha_*: over all images; q_alpha_r: Pearson's r of Q and α,
    None where either is constant or there is no Q."""

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
    weightings: Mapping[str, Weighting] | None = None,
) -> Ablation:
    """Evaluate both branches alone and fixed weights beside `metrics`, of the served descriptors of query and gallery.

    "APN alone" and "APAN alone" stand twice: as α = 1 and 0, through an FC that never trained there, and as the plain
    cosine of v_a and v_s. recorded: what is wrong with the images, all of them, by path; it splits the queries.
    concurrency: how many requests are in flight at once. weightings: further ones by name, a row each, by Q and SCATTER
    as they were served; raises InvalidSettings where one cannot do with these (see `require_served_inputs`). Those of
    QAFM_FAST are learnt estimates: there a row is what the weighting makes of these, not of what 35 views measure. An
    ensemble that gives no Q takes none.
    """
    weightings = weightings or {}
    require_served_inputs(weightings, scatter=query.scatter is not None)
    ensemble, given_alpha = client.manifest.asked(query.model) or (QAFM, None)
    rows = [Row("QAFM" if ensemble == QAFM else ensemble, given_alpha, metrics)]
    for name, vectors in (("APN alone, cosine of v_a", "visual"), ("APAN alone, cosine of v_s", "semantic")):
        rows.append(await _row(name, None, metrics, _plain(query, vectors), _plain(gallery, vectors)))
    for name, fixed in (
        ("APN alone, α = 1", 1.0),
        ("APAN alone, α = 0", 0.0),
        *((f"fixed α = {tenth}", tenth) for tenth in FIXED_ALPHAS),
    ):
        sides = [await _fused(client, side, np.full(len(side), fixed), concurrency) for side in (query, gallery)]
        rows.append(await _row(name, fixed, metrics, *sides))
    for name, weighting in weightings.items():
        sides = [await _fused(client, side, _alphas(weighting, side), concurrency) for side in (query, gallery)]
        rows.append(await _row(f"weighting {name}", None, metrics, *sides))
    alpha = known(of_both(query, gallery, "alpha"))
    score = of_both(query, gallery, "identifiability")
    return Ablation(
        rows=tuple(rows),
        alpha_mean=float(alpha.mean()),
        alpha_sd=float(alpha.std()),
        alpha_min=float(alpha.min()),
        alpha_max=float(alpha.max()),
        q_alpha_r=None if score is None else correlation(score, alpha),
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
    score = of_both(query, gallery, "identifiability")
    levels = np.array([level(each) for each in strength[: len(query)]])
    groups = {name: np.flatnonzero(levels == name) for name in LEVELS if (levels == name).any()}
    return Degradation(
        recorded=recorded,
        queries={name: len(group) for name, group in groups.items()},
        rows={row.name: dict(_mean_precision(row, groups)) for row in rows},
        q_strength_r=None if score is None else correlation(score, strength),
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


async def _fused(client: ReidClient, side: Descriptors, alpha: NDArray[Any], concurrency: int) -> Descriptors:
    vectors = (known(side.visual), known(side.semantic))
    return replace(side, descriptors=await client.fuse(*vectors, alpha.astype(np.float32), concurrency=concurrency))


def require_served_inputs(weightings: Mapping[str, Weighting], *, scatter: bool) -> None:
    """Raises InvalidSettings for a weighting that needs more of an image than a server says: SCATTER where it gives
    none, or the length of the features, which none gives."""
    for name, weighting in weightings.items():
        if isinstance(weighting, Retrieval) and weighting.linear[:PERTURBATION_COUNT].any() and not scatter:
            raise InvalidSettings(f"the weighting {name} reads SCATTER, which this server does not give; leave it away")
        if isinstance(weighting, Retrieval) and weighting.linear[LENGTH]:
            raise InvalidSettings(
                f"the weighting {name} reads the length of an image's features, which a server does not say; expected "
                "one that was fitted to Q and to the distances"
            )


def _alphas(weighting: Weighting, side: Descriptors) -> NDArray[np.float64]:
    """α of each image, float64 [N]."""
    count, features = len(side), np.zeros(FEATURE_SIZE)
    scatter = np.zeros((count, PERTURBATION_COUNT), np.float32) if side.scatter is None else side.scatter
    scores = known(side.identifiability).tolist()
    qualities = [Quality(score, each, features) for score, each in zip(scores, scatter, strict=True)]
    return np.array([weighting.alpha(quality) for quality in qualities])


def _plain(side: Descriptors, name: str) -> Descriptors:
    vectors = known(getattr(side, name))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return replace(side, descriptors=vectors / np.maximum(lengths, np.finfo(np.float32).tiny))


def known(array: NDArray[Any] | None) -> NDArray[Any]:
    """An array of descriptors that came straight from the server, which has all of them."""
    assert array is not None, "descriptors straight from the server have every array"
    return array
