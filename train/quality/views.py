"""The 35 views of pictures, read as a network is asked for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from qafm.perturbations import views
from train.data import CropFiles, readable
from train.quality.spoilt import Spoilt


def views_of(pictures: Sequence[Spoilt], workers: int) -> Iterator[Tensor]:
    """Of one picture after the other, uint8 [35,384,128,3]. Raises InvalidDataset where a crop cannot be read."""
    # With a generator of its own: networks of one seed begin alike, whether views are read before them or not.
    loader = DataLoader(_Views(pictures), batch_size=None, num_workers=workers, generator=torch.Generator())
    return readable(loader)


class _Views(CropFiles):
    def __init__(self, pictures: Sequence[Spoilt]) -> None:
        super().__init__([picture.crop for picture in pictures])
        self.pictures = pictures

    def read(self, key: int) -> Tensor:
        return torch.from_numpy(views(self.pictures[key].picture()))
