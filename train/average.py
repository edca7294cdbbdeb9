"""Exponential moving averages of weights, which stand in for the weights where a training is judged and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

State = dict[str, dict[str, Tensor]]


class WeightAverage:
    """Of several networks. With a decay of 0 it is the weights themselves, and costs nothing."""

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self.networks = networks
        self.decay = decay
        self.averages = _copied(networks) if decay else {}

    @torch.no_grad()
    def update(self) -> None:
        """After a step. Counters, which are whole numbers, are taken as they are."""
        for name, average in self.averages.items():
            current = self.networks[name].state_dict()
            real = [key for key, values in average.items() if values.is_floating_point()]
            move = get_ema_multi_avg_fn(self.decay)
            move([average[key] for key in real], [current[key] for key in real], None)
            for key in average.keys() - set(real):
                average[key].copy_(current[key])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the networks have their averages as weights, and what is set there is set in the averages."""
        if not self.averages:
            yield
            return
        trained = _copied(self.networks)
        _load(self.networks, self.averages)
        try:
            yield
        finally:
            self.averages = _copied(self.networks)
            _load(self.networks, trained)

    def resume(self, averages: State) -> None:
        """Go on from the averages of a checkpoint."""
        for name, average in self.averages.items():
            for key, values in average.items():
                values.copy_(averages[name][key])


def _copied(networks: Mapping[str, nn.Module]) -> State:
    return {name: {key: v.clone() for key, v in network.state_dict().items()} for name, network in networks.items()}


def _load(networks: Mapping[str, nn.Module], state: State) -> None:
    for name, network in networks.items():
        network.load_state_dict(state[name])
