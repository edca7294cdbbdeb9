"""What networks make of the 35 views of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.utils.data import DataLoader

from qafm.perturbations import views
from train.data import CropFiles, readable
from train.networks import IQA, Pixels
from train.precision import autocast
from train.quality.spoilt import Spoilt
from train.settings import Settings

Branch = Callable[[Tensor], Tensor]


def seen_in_views(
    iqa: IQA, pictures: Sequence[Spoilt], *branches: Branch, settings: Settings, device: torch.device
) -> Iterator[list[np.ndarray]]:
    """Of one picture after the other what the IQA network makes of its 35 views, float32 [35,2048], and what each
    further branch, on the device already, makes of the picture as it is, float32 [1,D].

    On a CPU each thread that PyTorch has becomes a process with pictures of its own: two threads are hardly faster than
    one with the views of a single picture. Raises InvalidDataset where a crop cannot be read.
    """
    iqa.to(device, memory_format=torch.channels_last).eval()
    look = _Look(iqa, branches, settings, device)
    # Here and in the processes, which begin with it: NumPy's products, as in views, would take every core for each.
    with threadpool_limits(1, "blas"):
        if device.type == "cpu":
            yield from _loaded(_Seen(pictures, look), torch.get_num_threads() if settings.workers else 0)
        else:
            yield from map(look, _loaded(_Views(pictures), settings.workers))


class _Look(nn.Module):
    """uint8 [35,384,128,3] to what `seen_in_views` yields."""

    def __init__(self, iqa: IQA, branches: Sequence[Branch], settings: Settings, device: torch.device) -> None:
        super().__init__()
        self.iqa, self.branches, self.pixels = iqa, branches, Pixels().to(device)
        self.precision, self.device = settings.precision, device

    @torch.inference_mode()
    def forward(self, seen: Tensor) -> list[np.ndarray]:
        crops = self.pixels(seen.to(self.device))
        with autocast(self.precision, self.device):
            vectors = [self.iqa(crops), *(branch(crops[:1]) for branch in self.branches)]
        # Arrays: each tensor that comes from another process keeps a file open.
        return [vector.float().cpu().numpy() for vector in vectors]


def _loaded(pictures: CropFiles, workers: int) -> Iterator[Any]:
    # With a generator of its own: networks of one seed begin alike, whether views are read before them or not.
    options = {"collate_fn": _as_it_is, "generator": torch.Generator()}
    return readable(DataLoader(pictures, batch_size=None, num_workers=workers, **options))


def _as_it_is(item: Any) -> Any:
    return item


class _Views(CropFiles):
    def __init__(self, pictures: Sequence[Spoilt]) -> None:
        super().__init__([picture.crop for picture in pictures])
        self.pictures = pictures

    def read(self, key: int) -> Tensor:
        return torch.from_numpy(views(self.pictures[key].picture()))


class _Seen(_Views):
    def __init__(self, pictures: Sequence[Spoilt], look: _Look) -> None:
        super().__init__(pictures)
        self.look = look

    def read(self, key: int) -> list[np.ndarray]:
        return self.look(super().read(key))
