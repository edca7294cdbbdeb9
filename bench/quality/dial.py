"""`python -m bench.quality.dial RUN`: what Q is worth by fewer views, between one look and all 35.

Views are chosen greedily, on half of the test people, so that Q over them and the original ranks pictures as the whole
Q does; what that is worth is measured on the other half. The queries of the test set are the pictures.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from scipy.spatial.distance import pdist, squareform

from bench.quality.described import Described
from bench.quality.figures import LEFT_OUT, Figure, correlation, keep, resampled, tables
from bench.quality.judge import crops_of_test_people, side_at
from bench.quality.options import Data, Out, Results, Run
from bench.quality.pictures import as_they_are
from qafm.contract import VIEW_COUNT
from qafm.datasets.crops import Crop
from qafm.files import whole_file
from qafm.perturbations import PERTURBATIONS
from qafm.retrieval.discard import discard_curve
from qafm.retrieval.metrics import evaluate
from train.checkpoint import load_networks, load_run_settings
from train.quality.folds import people_in_turns
from train.quality.views import seen_in_views

SHOWN = (1, 2, 3, 4, 6, 8, 12, 16, 24, 34)
"""Numbers of views beside the original that are told of."""


def main(run: Run, data: Data, out: Out, results: Results) -> None:
    """Choose views, and tell what Q by few of them is worth."""
    console, crops = Console(), crops_of_test_people(data)[0]
    described = Described(run, out, console)
    sides = [described(side, as_they_are(crops[side])) for side in crops]
    precision = evaluate(*(side_at(side, np.full(len(side.pids), 0.75)) for side in sides)).average_precision
    distances = _kept_distances(run, crops["query"], out / "distances.npz", console)
    pids = sides[0].pids
    choosing = np.isin(pids, people_in_turns(pids, 2)[0])
    order, figures = greedy(distances[choosing]), []
    whole = q_over(distances, list(range(VIEW_COUNT)))
    for count in SHOWN:
        q = q_over(distances, [0, *order[:count]])
        # Of the people who did not choose.
        told, rows = (q[~choosing], whole[~choosing]), pids[~choosing]
        where = f"{count} views" if count < len(order) else "all 34"
        found = resampled(rows, lambda some, told=told: correlation(told[0][some], told[1][some]))
        figures.append(Figure("Q by few views", "rank correlation with the whole Q", where, *found))
        curve = discard_curve(precision[~choosing], -told[0], rows, fractions=(0.0, LEFT_OUT))
        figures.append(Figure("Q by few views", "mAP without the worst fifth", where, curve.mAP[1]))
        figures.append(Figure("Q by few views", "passes", where, (1 + count) / VIEW_COUNT))
    keep(figures, results)
    print(tables(figures))
    print("\nin this order: " + ", ".join(PERTURBATIONS[view - 1].name for view in order))


def q_over(distances: np.ndarray, views: list[int]) -> np.ndarray:
    """Q over some of the views, the mean of their distances to each other: float [N] of float [N,35,35]."""
    some = distances[:, views][:, :, views]
    mean: np.ndarray = some.sum(axis=(1, 2)) / (len(views) * (len(views) - 1))
    return mean


def greedy(distances: np.ndarray) -> list[int]:
    """The views 1 to 34, each the one that with those before it and the original ranks N pictures most like all do.

    distances: float [N,35,35].
    """
    whole = q_over(distances, list(range(VIEW_COUNT)))
    chosen: list[int] = []
    while left := [view for view in range(1, VIEW_COUNT) if view not in chosen]:
        told = [correlation(whole, q_over(distances, [0, *chosen, view])) for view in left]
        chosen.append(left[int(np.argmax(told))])
    return chosen


def _kept_distances(run: Path, crops: list[Crop], path: Path, console: Console) -> np.ndarray:
    """Between the features of each picture's views, float32 [N,35,35]."""
    if not path.is_file():
        pictures, settings = as_they_are(crops), load_run_settings(run)
        seen = seen_in_views(load_networks(run).iqa, pictures, settings=settings, device=torch.device("cpu"))
        tracked = track(seen, "views", total=len(crops), console=console)
        found = [squareform(pdist(features)).astype(np.float32) for (features,) in tracked]
        with whole_file(path) as file:
            np.savez(file, distances=np.stack(found))
    with np.load(path) as stored:
        return stored["distances"]


if __name__ == "__main__":
    typer.run(main)
