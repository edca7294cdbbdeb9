"""A network behind its pixels, as it is exported; with flip at test time, if wanted."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.networks.pixels import Pixels


class FromPixels(nn.Module):
    """uint8 [B,384,128,3], RGB, to what `network` gives for normalised crops: a tensor [B,...], or several.

    flip: each output is the mean of those for the crop and for its mirror image, which go through it as one batch.
    """

    def __init__(self, network: nn.Module, *, flip: bool = False) -> None:
        super().__init__()
        self.pixels, self.network, self.flip = Pixels(), network, flip

    def forward(self, crops: Tensor) -> Tensor | tuple[Tensor, ...]:
        planes = self.pixels.planes(crops)
        if self.flip:
            # Before the normalisation, which int8 folds into the convolution after it.
            planes = torch.cat([planes, planes.flip(3)])
        outputs = self.network(self.pixels.normalise(planes))
        if not self.flip:
            return outputs
        return tuple(map(_mean_of_both, outputs)) if isinstance(outputs, tuple) else _mean_of_both(outputs)


def _mean_of_both(values: Tensor) -> Tensor:
    """float [2B,...], the crops' and then the mirror images', to [B,...]."""
    return values.unflatten(0, (2, -1)).mean(dim=0)
