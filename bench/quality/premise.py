"""`python -m bench.quality.premise RUN`: how much an α could gain that knew what is wrong with each picture.

Of the run's own branches, and as a control of colour and shape in place of v_s, both concatenated without an FC.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from torch import Tensor

from bench.quality.classes import Ranking, Side, classes_of, premise
from bench.quality.options import Data, Run
from bench.study.scoring import constant_alpha, described, describer
from client.evaluation.baseline import describe_by_colour
from qafm.datasets.crops import without_junk
from qafm.datasets.degradations import DEGRADATION_FILE, read_degradations
from qafm.datasets.layouts import open_dataset
from qafm.retrieval.descriptors import Descriptors
from train.checkpoint import load_networks

SIDES = ("query", "gallery")


def main(run: Run, data: Data) -> None:
    """Print the best constant in hindsight, and what α by kind and strength gains over it on the other half."""
    recorded, dataset = read_degradations(data / DEGRADATION_FILE), open_dataset(data)
    crops = {side: without_junk(dataset.split(side)) for side in SIDES}
    wrong = [recorded[crop.path.relative_to(data).as_posix()] for side in SIDES for crop in crops[side]]
    classes = dict(zip(SIDES, np.split(classes_of(wrong), [len(crops["query"])]), strict=True))
    describe, console = describer(run, last="joint", flip=False), Console()
    vectors = {side: described(describe, crops[side], data, side, console) for side in SIDES}
    networks = load_networks(run)
    fusion = networks.fusion

    def fused(visual: Tensor, semantic: Tensor) -> np.ndarray:
        ends = [fusion.unscaled(visual, semantic, torch.full((len(visual),), alpha)) for alpha in (0.0, 1.0)]
        return torch.stack(ends, dim=1).numpy()

    def concatenated(visual: Tensor, other: Tensor) -> np.ndarray:
        visual, other = F.normalize(visual, dim=1), F.normalize(other, dim=1)
        ends = [torch.cat([torch.zeros_like(visual), other], 1), torch.cat([visual, torch.zeros_like(other)], 1)]
        return torch.stack(ends, dim=1).numpy()

    def of(side: str, name: str) -> Descriptors:
        return describe_by_colour(data, vectors[side]["visual"]) if name == "colour" else vectors[side][name]

    for other, join in (("semantic", fused), ("semantic", concatenated), ("colour", concatenated)):
        ranked = []
        for side in SIDES:
            visual, semantic = (torch.from_numpy(of(side, name).descriptors) for name in ("visual", other))
            with torch.inference_mode():
                ends = join(visual, semantic)
            labels = vectors[side]["visual"]
            ranked.append(Side(ends, labels.pids, labels.camids, classes[side]))
        ranking = Ranking(*ranked)
        found = premise(ranking)
        console.print(
            f"v_a and {other}, {join.__name__}: best constant {found.constant:.2f}, mAP {100 * found.mAP:.2f}; "
            f"α by kind and strength {found.gain.in_per_cent()}",
            soft_wrap=True,
        )
        if join is fused:
            own = constant_alpha(run, networks)
            precision = ranking.precisions(*(np.full(len(side.pids), own) for side in ranked))
            console.print(f"    by the run's own constant, {own:.3f}: mAP {100 * np.nanmean(precision):.2f}")


if __name__ == "__main__":
    typer.run(main)
