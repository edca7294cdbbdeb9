"""The paper's augmentation (section III), a batch at a time on the device that trains.

A worker draws what to do with a crop from the crop's own seed (`draw`), so the seed alone decides it; the device does
it (`augment`), where it costs a fraction of what a worker needs for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from qafm.contract import HEIGHT, IMAGENET_MEAN, WIDTH
from train.settings import AugmentationSettings

COLUMNS = ("flip", "down", "right", "brightness", "contrast", "saturation", "top", "left", "height", "width")
"""What is drawn: flip 0 or 1; a shift and a rectangle to erase, in fractions of the crop; factors."""
_GREY = (0.299, 0.587, 0.114)
_ERASED_AREA = (0.02, 0.33)
_ERASED_ASPECT = (0.3, 1 / 0.3)
_TRIES = 10


def draw(settings: AugmentationSettings, seed: int) -> Tensor:
    """What to do with one crop, float32 [10] in the order of `COLUMNS`."""
    generator = np.random.default_rng(seed)
    down, right = generator.integers(-settings.padding, settings.padding + 1, 2) / (HEIGHT, WIDTH)
    factors = generator.uniform(1 - settings.jitter, 1 + settings.jitter, 3)
    flip = generator.random() < settings.flip
    erased = _rectangle(generator) if generator.random() < settings.erasing else (0.0, 0.0, 0.0, 0.0)
    return torch.tensor([flip, down, right, *factors, *erased], dtype=torch.float32)


def untouched(count: int) -> Tensor:
    """What leaves crops as they are, float32 [count,10]."""
    return torch.tensor([[0, 0, 0, 1, 1, 1, 0, 0, 0, 0]], dtype=torch.float32).repeat(count, 1)


def augment(planes: Tensor, drawn: Tensor) -> Tensor:
    """Crops float32 [B,3,H,W], 0 to 255, at whatever resolution, by what was `drawn` for each, float32 [B,10]."""
    drawn = drawn.to(planes.dtype)
    moved = _moved(planes.permute(0, 2, 3, 1), drawn[:, :3])
    coloured = _coloured(moved, drawn[:, 3:6])
    return _erased(coloured, drawn[:, 6:]).permute(0, 3, 1, 2)


def _rectangle(generator: np.random.Generator) -> tuple[float, float, float, float]:
    """Top, left, height and width in fractions (Zhong et al. 2017); of no size where none fits."""
    for _ in range(_TRIES):
        area = generator.uniform(*_ERASED_AREA) * HEIGHT * WIDTH
        aspect = np.exp(generator.uniform(*np.log(_ERASED_ASPECT)))
        height, width = np.sqrt(area * aspect) / HEIGHT, np.sqrt(area / aspect) / WIDTH
        if height < 1 and width < 1:
            return generator.uniform(0, 1 - height), generator.uniform(0, 1 - width), height, width
    return 0.0, 0.0, 0.0, 0.0


def _moved(pixels: Tensor, drawn: Tensor) -> Tensor:
    """Flipped, then moved down and to the right, black coming in. pixels [B,H,W,3]."""
    count, height, width, _ = pixels.shape
    flip, down, right = drawn.T[:, :, None]
    rows = torch.arange(height, device=pixels.device) - (down * height).round()
    columns = torch.arange(width, device=pixels.device) - (right * width).round()
    inside = _between(rows, height)[:, :, None] & _between(columns, width)[:, None, :]
    columns = torch.where(flip > 0, width - 1 - columns, columns)
    rows, columns = rows.clamp(0, height - 1).long(), columns.clamp(0, width - 1).long()
    crop = torch.arange(count, device=pixels.device)[:, None]
    taken = ((crop * height + rows) * width)[:, :, None] + columns[:, None, :]
    # On whole pixels this is several times faster than an index for each dimension.
    return pixels.reshape(-1, 3).index_select(0, taken.flatten()).view_as(pixels) * inside[..., None]


def _between(places: Tensor, size: int) -> Tensor:
    return (places >= 0) & (places < size)


def _coloured(pixels: Tensor, factors: Tensor) -> Tensor:
    """Brighter, with more contrast to the mean grey, and more saturated, each by its factor, as one product."""
    brightness, contrast, saturation = factors.T[:, :, None, None]
    grey = _constant(_GREY, pixels.device)
    identity = torch.eye(3, device=pixels.device)
    # A pixel x becomes saturation·y + (1 - saturation)·grey(y), with y = contrast·brightness·x + (1 - contrast)·mean.
    mix = brightness * contrast * (saturation * identity + (1 - saturation) * grey[:, None].expand(3, 3))
    mean = (brightness * pixels.mean(dim=(1, 2))[:, None] @ grey)[..., None]
    return torch.baddbmm((1 - contrast) * mean, pixels.flatten(1, 2), mix).clamp(0, 255).view_as(pixels)


def _erased(pixels: Tensor, rectangles: Tensor) -> Tensor:
    """A rectangle in ImageNet's mean colour."""
    _, height, width, _ = pixels.shape
    top, left, tall, wide = rectangles.T[:, :, None]
    rows = (torch.arange(height, device=pixels.device) + 0.5) / height
    columns = (torch.arange(width, device=pixels.device) + 0.5) / width
    covered = ((rows >= top) & (rows < top + tall))[:, :, None] & ((columns >= left) & (columns < left + wide))[:, None]
    return torch.where(covered[..., None], 255 * _constant(IMAGENET_MEAN, pixels.device), pixels)


def _constant(values: Sequence[float], device: torch.device) -> Tensor:
    """Filled on the device: a copy from the host would wait for all that a GPU was given to do before."""
    return torch.stack([torch.full((), value, device=device) for value in values])
