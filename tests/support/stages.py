"""What tests of single training stages begin with."""

from __future__ import annotations

from typing import Any

import numpy as np

from train.networks import build_apan, build_trunk
from train.settings import Settings
from train.stages.joint import JointStage


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
