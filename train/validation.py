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
    describe: Callable[[Tensor, Tensor], Tensor], crops: Sequence[Crop], *, device: torch.device
) -> dict[str, float]:
    """`mAP` and `rank1`, fractions, of each crop as a query to all of them.

    `describe` takes crops uint8 [B,384,128,3] and their rows int64 [B], and returns a descriptor [B,D] of each.
    Empty where no crop has a true match: another picture of the same person by another camera.
    Raises InvalidDescriptors where a descriptor is not finite.
    """
    loader = DataLoader(WholeCrops(crops), batch_size=BATCH, collate_fn=collate)
    vectors = [
        F.normalize(describe(pixels.to(device), rows.to(device)).float(), dim=1).cpu()
        for pixels, rows in readable(loader)
    ]
    # Made outside the try: descriptors that are not finite are an error, not an absence of matches.
    described = Descriptors(
        descriptors=torch.cat(vectors).numpy(),
        pids=np.array([crop.pid for crop in crops]),
        camids=np.array([crop.camid for crop in crops]),
    )
    try:
        metrics = evaluate(described, described)
    except InvalidDescriptors:
        return {}
    return {"mAP": metrics.mAP, "rank1": metrics.rank1}
