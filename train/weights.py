"""Where a trunk's first weights come from."""

from __future__ import annotations

from pathlib import Path

import torch
from torchvision.models import ResNet50_Weights

from qafm.errors import InvalidCheckpoint
from train.networks import Trunk


def load_trunk_weights(trunk: Trunk, weights: str) -> None:
    """Load "imagenet" (downloaded by torchvision), "none" (leave it random), or a ResNet state dictionary's path.

    Strictly: every weight of the trunk must be there and fit. Raises InvalidCheckpoint.
    """
    if weights == "none":
        return
    _load(trunk, _imagenet() if weights == "imagenet" else _read(Path(weights)), weights)


def _imagenet() -> dict[str, torch.Tensor]:
    try:
        return ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=True)
    except OSError as error:  # urllib's errors are OSErrors
        raise InvalidCheckpoint(
            f"the ImageNet weights cannot be downloaded ({error}). Use --weights none to train from random "
            "weights, or --weights PATH with a ResNet-50 state dictionary"
        ) from error


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types on a damaged file
        raise InvalidCheckpoint(f"{path}: cannot be read as a ResNet state dictionary: {error}") from error


def _load(trunk: Trunk, state: dict[str, torch.Tensor], source: str) -> None:
    # torchvision's names; the trunk's stem holds conv1 and bn1 as its first two modules
    renamed = {
        name.replace("conv1.", "stem.0.", 1)
        if name.startswith("conv1.")
        else name.replace("bn1.", "stem.1.", 1)
        if name.startswith("bn1.")
        else name: values
        for name, values in state.items()
        if not name.startswith("fc.")
    }
    try:
        trunk.load_state_dict(renamed, strict=True)
    except RuntimeError as error:
        raise InvalidCheckpoint(f"{source}: the weights do not fit the network of these settings: {error}") from error
