"""Flip at test time: a picture is described together with its mirror image."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Mirrored(nn.Module):
    """A branch, each of whose outputs is the mean of those for the crop and for its mirror image, as one batch.

    Crops [B,3,H,W] to what `network` gives: a tensor [B,...], or several.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> Tensor | tuple[Tensor, ...]:
        both = self.network(torch.cat([crops, crops.flip(3)]))
        if isinstance(both, tuple):
            return tuple(_mean_of_both(each) for each in both)
        return _mean_of_both(both)


def _mean_of_both(values: Tensor) -> Tensor:
    """float [2B,...], the crops' and then the mirror images', to [B,...]."""
    return values.unflatten(0, (2, -1)).mean(dim=0)
