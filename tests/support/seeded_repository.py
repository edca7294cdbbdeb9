"""A complete model repository from untrained networks of demo size: the real exporter, without the training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from export.repository import install
from qafm.utility import Utility
from train.networks import Networks, QualityNetwork, build_trunk
from train.presets import load_preset
from train.settings import NetworkSettings


def seeded_networks(seed: int = 0, network: NetworkSettings | None = None, *, attributes: bool = True) -> Networks:
    """Networks whose outputs vary with the picture as trained ones' do, the same at each call."""
    torch.manual_seed(seed)
    preset = load_preset("demo")
    networks = Networks.untrained(network or preset.network, attributes=attributes)
    networks = replace(networks, quality=QualityNetwork(build_trunk(network or preset.network)).eval())
    # Untrained, a block of a trunk is the identity.
    for network in networks.all():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.ones_(module.weight)
    # The spread of Q that these random features show, so that alpha is not stuck at either end.
    networks.weighting.mu.fill_(2.0)
    networks.weighting.sigma.fill_(1.0)
    # Untrained, it is a constant.
    torch.nn.init.normal_(networks.weighting.output.weight, std=0.2)
    return networks


def seeded_utility(seed: int = 0) -> Utility:
    """One whose answers vary with the picture."""
    generator = np.random.default_rng(seed)
    drawn = {name: generator.normal(size=shape) for name, shape in Utility.shapes.items()}
    return Utility(**drawn | {"spread": 1 + np.abs(drawn["spread"]), "linear": drawn["linear"] / 40})


def make_seeded_repository(directory: Path, seed: int = 0, *, attributes: bool = True) -> Path:
    """Install a repository into `directory` and return its path. Another seed is another model."""
    networks = seeded_networks(seed, attributes=attributes)
    install(networks, directory, {"run": "seeded, untrained"}, utility=seeded_utility(seed))
    return directory
