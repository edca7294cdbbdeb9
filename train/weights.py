"""Where a trunk's first weights come from."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import ResNet50_Weights

from qafm.errors import InvalidCheckpoint
from train.networks import Trunk

_DOWNLOADED = {"imagenet": ResNet50_Weights.IMAGENET1K_V1, "imagenet-v2": ResNet50_Weights.IMAGENET1K_V2}
_PREFIXES = ("module.", "base.", "backbone.", "trunk.")
"""Of a model over several processes, and of the trunk within BoT's and fast-reid's models and our IQA network."""


def load_trunk_weights(trunk: Trunk, weights: str) -> None:
    """Load "imagenet" or "imagenet-v2" (torchvision's, downloaded), "none" (leave it random), or a file.

    A file is a ResNet state dictionary with torchvision's names, those of BoT's checkpoints (`base.`, in torchvision's
    names below) or of fast-reid's (`backbone.`, in its `model`), whose heads are passed over; or the iqa.pt of a
    finished run of ours. Strictly: every weight of the trunk must be there and fit, and none may be left over. Raises
    InvalidCheckpoint.
    """
    if weights == "none":
        return
    state = _download(_DOWNLOADED[weights]) if weights in _DOWNLOADED else _read(Path(weights))
    try:
        trunk.load_state_dict(_renamed(state), strict=True)
    except RuntimeError as error:
        raise InvalidCheckpoint(
            f"{weights}: the weights do not fit the network of these settings: {error}; expected a ResNet of the "
            "blocks, width and instance_norm in `network`, in the names of torchvision, BoT, fast-reid or an iqa.pt"
        ) from error


def _download(weights: ResNet50_Weights) -> dict[str, Tensor]:
    try:
        return weights.get_state_dict(progress=True)
    except OSError as error:  # urllib's errors are OSErrors
        raise InvalidCheckpoint(
            f"the ImageNet weights cannot be downloaded ({error}). Use --weights none to train from random "
            "weights, or --weights PATH with a ResNet-50 state dictionary"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types on a damaged file
        raise InvalidCheckpoint(f"{path}: cannot be read as a ResNet state dictionary: {error}") from error
    if isinstance(state, dict) and isinstance(state.get("networks"), dict):  # a checkpoint of ours
        if "iqa" not in state["networks"] or not state.get("complete"):
            raise InvalidCheckpoint(
                f"{path}: a checkpoint of the {state.get('stage')} stage after {state.get('epoch')} epochs; expected "
                "the iqa.pt of a run that finished this stage"
            )
        state = state["networks"]["iqa"]
    for wrapping in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapping), dict):
            state = state[wrapping]
    if not isinstance(state, dict) or not all(isinstance(values, Tensor) for values in state.values()):
        raise InvalidCheckpoint(f"{path}: expected a dictionary of tensors by name, got another content")
    return state


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """In the trunk's names, whose stem holds conv1 and bn1 as its first two modules."""
    for prefix in _PREFIXES:
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): values for name, values in state.items() if name.startswith(prefix)}
    return {
        re.sub(r"^bn1\.", "stem.1.", re.sub(r"^conv1\.", "stem.0.", name)): values
        for name, values in state.items()
        if not name.startswith("fc.")
    }
