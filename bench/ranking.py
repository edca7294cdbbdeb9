"""`python -m bench.ranking`: how long metrics at Market-1501's size take, beside other ways to compute them.

ours         qafm.retrieval.metrics.evaluate: distances in blocks, ranks by counting, exact
distances    the distances alone, in blocks, as ours estimates them
by sorting   all distances at once and a full sort, as plainly as NumPy allows
torchreid    its distance matrix and its Cython evaluation, where --torchreid names a checkout of it in which
             `python setup.py build_ext --inplace` was run in torchreid/metrics/rank_cylib
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console

from bench.measure import ROUNDS, Out, Rounds, compare
from bench.torchreid_checkout import import_from
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.distances import estimate
from qafm.retrieval.metrics import evaluate
from qafm.retrieval.ranking import BLOCK_BYTES

QUERIES, GALLERY, IDENTITIES, CAMERAS, SIZE = 3_368, 15_913, 750, 6, 1000


def main(
    rounds: Rounds = ROUNDS,
    torchreid: Annotated[Path | None, typer.Option(help="A checkout of torchreid, its extension built.")] = None,
    out: Out = Path("build/bench/ranking.json"),
) -> None:
    """Time the metrics against other ways to compute them."""
    console = Console()
    query, gallery = _draw_descriptors(0, QUERIES), _draw_descriptors(1, GALLERY)
    ways: dict[str, Callable[[Descriptors, Descriptors], tuple[float, float]]] = {
        "ours": _ours,
        "by sorting": by_sorting,
    }
    if torchreid is not None:
        ways["torchreid"] = _torchreid(torchreid)
    metrics = {name: way(query, gallery) for name, way in ways.items()}
    for name, (rank1, mean_precision) in metrics.items():
        console.print(f"{name}: Rank-1 {100 * rank1:.4f}, mAP {100 * mean_precision:.4f}", highlight=False)
    promised = {"by sorting": "above 1", "torchreid": "at least 4"}
    compare(
        {
            **{name: partial(_discard, way, query, gallery) for name, way in ways.items()},
            "distances": partial(_distances, query, gallery),
        },
        rounds,
        title=f"{QUERIES:,} x {GALLERY:,} x {SIZE:,}",
        ratios=[
            ("ours", "distances", "at most 1.3"),
            *((name, "ours", promised[name]) for name in ways if name != "ours"),
        ],
        out=out,
        packages=("numpy", "torch"),
        metrics=metrics,
    )


def by_sorting(query: Descriptors, gallery: Descriptors) -> tuple[float, float]:
    """Rank-1 and mAP as in most evaluation scripts."""
    squares = [np.square(side.descriptors).sum(axis=1) for side in (query, gallery)]
    distances = squares[0][:, None] + squares[1] - 2 * query.descriptors @ gallery.descriptors.T
    order = np.argsort(distances, axis=1)
    first, precisions = [], []
    for row, ranked in enumerate(order):
        same_pid = gallery.pids[ranked] == query.pids[row]
        kept = ~(same_pid & (gallery.camids[ranked] == query.camids[row]))
        hits = same_pid[kept]
        if not hits.any():
            continue
        first.append(hits[0])
        places = np.flatnonzero(hits) + 1
        precisions.append(np.mean(np.arange(1, len(places) + 1) / places))
    return float(np.mean(first)), float(np.mean(precisions))


def _distances(query: Descriptors, gallery: Descriptors) -> None:
    for _ in estimate(query.descriptors, gallery.descriptors, BLOCK_BYTES):
        pass


def _ours(query: Descriptors, gallery: Descriptors) -> tuple[float, float]:
    metrics = evaluate(query, gallery)
    return metrics.rank1, metrics.mAP


def _torchreid(folder: Path) -> Callable[[Descriptors, Descriptors], tuple[float, float]]:
    # Not by its package: importing that needs much more than its metrics do.
    folders = ("torchreid/metrics", "torchreid/metrics/rank_cylib")
    distance, rank = import_from(folder, folders, "distance", "rank_cy")

    def way(query: Descriptors, gallery: Descriptors) -> tuple[float, float]:
        distances = distance.compute_distance_matrix(*(torch.from_numpy(s.descriptors) for s in (query, gallery)))
        ids = (query.pids, gallery.pids, query.camids, gallery.camids)
        cmc, mean_precision = rank.evaluate_cy(distances.numpy(), *ids, 50)
        return float(cmc[0]), float(mean_precision)

    return way


def _draw_descriptors(seed: int, count: int) -> Descriptors:
    """Descriptors of length 1 around one direction an identity, about as hard to tell apart as people are."""
    centres = np.random.default_rng(2).standard_normal((IDENTITIES, SIZE), np.float32)
    generator = np.random.default_rng(seed)
    pids = generator.integers(0, IDENTITIES, count)
    descriptors = centres[pids] + 4 * generator.standard_normal((count, SIZE), np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return Descriptors(descriptors, pids, generator.integers(1, CAMERAS + 1, count))


def _discard(way: Callable[[Descriptors, Descriptors], object], query: Descriptors, gallery: Descriptors) -> None:
    way(query, gallery)


if __name__ == "__main__":
    typer.run(main)
