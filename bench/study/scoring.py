"""The test split of a dataset, described by a run in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from qafm.datasets.crops import Crop, without_junk
from qafm.datasets.layouts import open_dataset
from qafm.errors import InvalidSettings
from qafm.retrieval.descriptors import Descriptors
from qafm.weighting.constant import Constant
from qafm.weighting.retrieval import Retrieval
from train.checkpoint import load_finished_checkpoint, load_networks, load_run_settings
from train.data import WholeCrops, collate, readable
from train.networks import FromPixels, Networks, build_apan, build_trunk
from train.networks.apan import attribute_probabilities
from train.precision import autocast
from train.quality.teaching import load_fitted_weighting
from train.settings import StageName

BATCH = 32

Vectors = dict[str, Tensor]
"""By name, float32 [B,D] each: "visual" (v_a), "semantic" (v_s), "fused", and "attributes", which are probabilities."""


Described = dict[str, Descriptors]
"""By name of vector, each with the probabilities of the attributes."""


def describe_test(run: Path, data: Path, *, last: StageName, flip: bool, console: Console) -> dict[str, Described]:
    """ "query" and "gallery" without junk, by every vector of a run up to the stage `last`; "apan" has only "semantic".

    α is one for every picture, see `constant_alpha`. flip: v_a and v_s are the means of a picture's and its mirror
    image's.
    """
    describe, dataset = describer(run, last=last, flip=flip), open_dataset(data)
    return {
        side: described(describe, without_junk(dataset.split(side)), data, side, console)
        for side in ("query", "gallery")
    }


def describer(run: Path, *, last: StageName, flip: bool) -> Callable[[Tensor], Vectors]:
    """What describes crops, uint8 [B,384,128,3], by the networks of a run, on a GPU if there is one; its vectors are on
    the CPU."""
    settings, device = load_run_settings(run), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if last == "apan":
        apan = build_apan(build_trunk(settings.network), settings.network)
        load_finished_checkpoint(run, "apan").restore({"apan": apan})
        semantic_branch = FromPixels(apan, flip=flip).eval().to(device, memory_format=torch.channels_last)

        def semantic_alone(crops: Tensor) -> Vectors:
            with autocast(settings.precision, device):
                semantic, logits = (each.float().cpu() for each in semantic_branch(crops.to(device)))
            return {"semantic": semantic, "attributes": attribute_probabilities(logits)}

        return semantic_alone

    networks = load_networks(run)
    if networks.apan is None:
        raise InvalidSettings(f"{run}: it was trained without attributes; expected a run of both branches")
    alpha = constant_alpha(run, networks)
    apn_branch, apan_branch = (
        FromPixels(network, flip=flip).to(device, memory_format=torch.channels_last)
        for network in (networks.apn, networks.apan)
    )

    def every(crops: Tensor) -> Vectors:
        crops = crops.to(device)
        with autocast(settings.precision, device):
            visual, (semantic, logits) = apn_branch(crops), apan_branch(crops)
        visual, semantic, logits = (each.float().cpu() for each in (visual, semantic, logits))
        return {
            "visual": visual,
            "semantic": semantic,
            "fused": networks.fusion(visual, semantic, torch.full((len(crops),), alpha)),
            "attributes": attribute_probabilities(logits),
        }

    return every


@torch.inference_mode()
def constant_alpha(run: Path, networks: Networks) -> float:
    """One α for every picture, by a finished run and its networks: the constant that was fitted, and that a rule which
    reads quality varies around; without one, that of the mean Q."""
    fitted = load_fitted_weighting(run)
    if isinstance(fitted, Constant):
        return float(fitted.value)
    if isinstance(fitted, Retrieval):
        return float(fitted.alphas(fitted.centre))
    ordinary = getattr(networks.weighting, "mu", torch.zeros(())).expand(1)
    return float(networks.weighting(ordinary))


@torch.inference_mode()
def described(
    describe: Callable[[Tensor], Vectors], crops: Sequence[Crop], data: Path, title: str, console: Console
) -> Described:
    """Crops by every vector."""
    loader = DataLoader(WholeCrops(crops), batch_size=BATCH, collate_fn=collate, num_workers=1)
    batches = track(readable(loader), title, total=len(loader), console=console)
    found = [describe(pixels) for pixels, _ in batches]
    vectors = {name: torch.cat([batch[name] for batch in found]) for name in found[0]}
    attributes = vectors.pop("attributes").numpy()
    labels = {
        "pids": np.array([crop.pid for crop in crops], dtype=np.int64),
        "camids": np.array([crop.camid for crop in crops], dtype=np.int64),
        "paths": np.array([crop.path.relative_to(data).as_posix() for crop in crops]),
    }
    return {
        name: Descriptors(descriptors=F.normalize(each, dim=1).numpy(), attributes=attributes, **labels)
        for name, each in vectors.items()
    }
