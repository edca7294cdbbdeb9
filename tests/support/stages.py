"""What tests of single training stages begin with."""

from __future__ import annotations

from typing import Any

import numpy as np

from train.networks import build_apan, build_trunk
from train.presets import load_preset
from train.settings import Settings
from train.stages.joint import JointStage

STRONG: dict[str, Any] = {
    "network": {**load_preset("demo").network.model_dump(), "neck": "bnneck", "pooling": "gem", "instance_norm": True},
    "losses": {"identity": "circle", "triplet": "weighted"},
    "augmentation": {"degraded": {"apan": 0.5}},
}
"""What the strong recipes change, in networks of the demo's size: overrides of a preset."""


def joint_stage(
    settings: Settings,
    fabric: Any,
    *,
    identities: int,
    q: np.ndarray,
    held_out_q: np.ndarray,
    mu: float = 10.0,
    sigma: float = 1.0,
    **options: Any,
) -> JointStage:
    """With fresh networks, drawn from torch's global generator."""
    return JointStage(
        settings,
        fabric,
        identities=identities,
        apn_trunk=build_trunk(settings.network),
        apan=build_apan(build_trunk(settings.network), settings.network),
        q=q,
        held_out_q=held_out_q,
        mu=mu,
        sigma=sigma,
        **options,
    )
