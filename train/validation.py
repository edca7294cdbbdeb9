"""Retrieval among the identities that training does not see, by the benchmark's protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from qafm.datasets.crops import Crop
from qafm.errors import InvalidDescriptors
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate
from train.data import WholeCrops, collate, readable

BATCH = 32


def validate(
    describe: Callable[[Tensor, Tensor], dict[str, Tensor]],
    crops: Sequence[Crop],
    *,
    device: torch.device,
    workers: int = 0,
) -> dict[str, float]:
    """`mAP` and `rank1`, fractions, of each crop as a query to all of them; `mAP_NAME` of every further vector.

    `describe` is as `describe_crops` takes it; of its vectors the first is the one that counts. Empty where no crop has
    a true match: another picture of the same person by another camera. Raises InvalidDescriptors where a vector is not
    finite.
    """
    vectors = describe_crops(describe, crops, device=device, workers=workers)
    # Made outside the try: descriptors that are not finite are an error, not an absence of matches.
    sides = {name: _labelled(values, crops) for name, values in vectors.items()}
    try:
        metrics = {name: evaluate(side, side) for name, side in sides.items()}
    except InvalidDescriptors:
        return {}
    main, *others = metrics
    found = {"mAP": metrics[main].mAP, "rank1": metrics[main].rank1}
    return found | {f"mAP_{name}": metrics[name].mAP for name in others}


def describe_crops(
    describe: Callable[[Tensor, Tensor], dict[str, Tensor]],
    crops: Sequence[Crop],
    *,
    device: torch.device,
    workers: int = 0,
) -> dict[str, Tensor]:
    """Crops by vectors of length 1, float32 [N,D] on the CPU, by name.

    `describe` takes crops uint8 [B,384,128,3] and their rows int64 [B], and returns vectors [B,D] of each, by name.
    Raises InvalidDataset where a crop cannot be read.
    """
    loader = DataLoader(
        WholeCrops(crops),
        batch_size=BATCH,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    described: dict[str, list[Tensor]] = {}
    for pixels, rows in readable(loader):
        vectors = describe(pixels.to(device, non_blocking=True), rows.to(device, non_blocking=True))
        for name, values in vectors.items():
            described.setdefault(name, []).append(F.normalize(values.float(), dim=1).cpu())
    return {name: torch.cat(vectors) for name, vectors in described.items()}


def _labelled(vectors: Tensor, crops: Sequence[Crop]) -> Descriptors:
    return Descriptors(
        descriptors=vectors.numpy(),
        pids=np.array([crop.pid for crop in crops]),
        camids=np.array([crop.camid for crop in crops]),
    )
