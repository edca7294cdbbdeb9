"""The 34 perturbations of a crop whose effect on a network's features tells its quality (paper, section V).

Each is applied alone, to the crop at its own resolution, rounded to uint8 once, and resized only afterwards:

    1-4    lighting    HSV value moved by -90, -45, +45, +90
    5-7    blur        Gaussian, sd 1, 1.5, 1.85 pixels
    8-23   occlusion   a black bar at the top, bottom, left, right, each over 5, 10, 15, 20 % of that side
    24-31  background  red, green, blue, yellow outside an oval of 0.90, then of 0.75 of each side
    32-34  noise       Gaussian, salt and pepper, speckle, drawn from `numpy.random.default_rng(index)`

`python -m qafm.perturbations IMAGE --out DIR` writes all 35 views as the networks see them.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from qafm.contract import HEIGHT, PERTURBATION_COUNT, VIEW_COUNT, WIDTH
from qafm.errors import QafmError
from qafm.files import write_json
from qafm.images import decode, resize
from qafm.resampling import blackened

LIGHTING_OFFSETS = (-90, -45, 45, 90)
BLUR_SIGMAS = (1.0, 1.5, 1.85)
BAR_SIDES = ("top", "bottom", "left", "right")
BAR_FRACTIONS = (0.05, 0.10, 0.15, 0.20)
OVAL_AXES = (0.90, 0.75)
OVAL_COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
GAUSSIAN_NOISE_SD = 10.0
SALT_FRACTION = PEPPER_FRACTION = 0.02
SPECKLE_SD = 0.1

_KEPT_NUMBERS = 1 << 21
"""How many numbers of a noise are kept, 16 MB: enough for a crop of 400x1000 pixels. Drawing them is the slow part."""


@dataclass(frozen=True)
class Perturbation:
    """One of the 34. `apply` takes a crop uint8 [H,W,3] and returns a new one of the same size."""

    index: int
    family: str
    name: str
    parameters: dict[str, object]
    apply: Callable[[np.ndarray], np.ndarray]


def views(crop: np.ndarray) -> np.ndarray:
    """The crop and its 34 perturbations as the networks see them.

    crop: uint8 [H,W,3], RGB. Returns uint8 [35,384,128,3]; view 0 is the crop itself. The same crop always gives
    bitwise the same views: `resize(perturbation.apply(crop))`, with the work that several share done once.
    """
    seen = np.empty((VIEW_COUNT, HEIGHT, WIDTH, 3), np.uint8)
    seen[0] = resize(crop)
    for view, lit in zip(_of(seen, "lighting"), _all_lightings(crop), strict=True):
        view[:] = resize(lit)
    bars = tuple(_bar_span(crop, side, fraction) for side in BAR_SIDES for fraction in BAR_FRACTIONS)
    _of(seen, "occlusion")[:] = blackened(crop, seen[0], bars)
    _of(seen, "background")[:] = np.concatenate([_resized_ovals(crop, axes) for axes in OVAL_AXES])
    for perturbation in PERTURBATIONS:
        if perturbation.family in ("blur", "noise"):
            seen[perturbation.index] = resize(perturbation.apply(crop))
    return seen


def _of(seen: np.ndarray, family: str) -> np.ndarray:
    """The views of one family, which follow each other."""
    indices = [perturbation.index for perturbation in PERTURBATIONS if perturbation.family == family]
    return seen[indices[0] : indices[-1] + 1]


@lru_cache(maxsize=len(LIGHTING_OFFSETS))
def _lighting_table(offset: int) -> np.ndarray:
    """uint8 [256,256]: what a channel value c becomes in a pixel of HSV value V, at [V, c]."""
    value = np.arange(256)[:, None]
    moved = np.clip(value + offset, 0, 255)
    channel = np.arange(256)[None]
    scaled = np.where(value > 0, channel * moved / np.maximum(value, 1), moved)
    return np.rint(scaled.clip(0, 255)).astype(np.uint8)


def _value(crop: np.ndarray) -> np.ndarray:
    """HSV value, uint8 [H,W,1]."""
    red, green, blue = np.moveaxis(crop, 2, 0)
    return np.maximum(np.maximum(red, green), blue)[..., None]


def _lighting(crop: np.ndarray, offset: int) -> np.ndarray:
    # Both the value and the channel are bytes, so every possible result fits a table.
    return _lighting_table(offset)[_value(crop), crop]


def _all_lightings(crop: np.ndarray) -> np.ndarray:
    """uint8 [4,H,W,3]: `_lighting` by each offset, with the place in the table computed once."""
    place = (_value(crop).astype(np.intp) << 8) | crop
    return np.stack([_lighting_table(offset).reshape(-1)[place] for offset in LIGHTING_OFFSETS])


def _blur(crop: np.ndarray, sigma: float) -> np.ndarray:
    """A true Gaussian, radius ceil(4 sigma), edges replicated."""
    down = _blur_down(crop.astype(np.float32), sigma)
    return _to_uint8(_blur_down(down.transpose(1, 0, 2), sigma).transpose(1, 0, 2))


def _blur_down(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Blur float32 [N,M,3] along its first axis: blocks of rows, each one product with a band of weights."""
    band = _blur_band(sigma)
    block, window = band.shape
    length, margin = len(pixels), (window - block) // 2
    blocks = -(-length // block)
    rows = pixels.reshape(length, -1)
    padded = np.pad(rows, ((margin, margin + blocks * block - length), (0, 0)), mode="edge")
    windows = sliding_window_view(padded, window, axis=0)[::block].transpose(0, 2, 1)  # [blocks,window,M*3]
    return (band @ windows).reshape(blocks * block, -1)[:length].reshape(pixels.shape)


@lru_cache(maxsize=len(BLUR_SIGMAS))
def _blur_band(sigma: float, block: int = 64) -> np.ndarray:
    """float32 [block, block + 2 radius]: row i has the Gaussian's weights from column i on."""
    radius = math.ceil(4 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    band = np.zeros((block, block + 2 * radius), np.float32)
    for row in range(block):
        band[row, row : row + len(weights)] = weights / weights.sum()
    return band


def _bar_span(crop: np.ndarray, side: str, fraction: float) -> tuple[int, int, int]:
    """Axis, first and end of the rows (axis 0) or columns (axis 1) that a bar covers."""
    axis = 0 if side in ("top", "bottom") else 1
    length = crop.shape[axis]
    thickness = round(fraction * length)
    return (axis, 0, thickness) if side in ("top", "left") else (axis, length - thickness, length)


def _bar(crop: np.ndarray, side: str, fraction: float) -> np.ndarray:
    axis, start, stop = _bar_span(crop, side, fraction)
    barred = crop.copy()
    barred[(slice(None),) * axis + (slice(start, stop),)] = 0
    return barred


@lru_cache(maxsize=8)
def _inside_oval(height: int, width: int, axes: float) -> np.ndarray:
    """uint8 [H,W,1]: 255 in an ellipse in the middle, its axes a fraction of each side, 0 outside it."""
    y = (np.arange(height) + 0.5 - height / 2) / (axes * height / 2)
    x = (np.arange(width) + 0.5 - width / 2) / (axes * width / 2)
    return np.where(y[:, None] ** 2 + x[None] ** 2 <= 1, np.uint8(255), np.uint8(0))[..., None]


def _oval(crop: np.ndarray, axes: float, colour: str) -> np.ndarray:
    inside = _inside_oval(*crop.shape[:2], axes)
    return (crop & inside) | (np.array(OVAL_COLOURS[colour], np.uint8) & ~inside)


def _resized_ovals(crop: np.ndarray, axes: float) -> np.ndarray:
    """uint8 [4,384,128,3]: `_oval` in each colour, resized. Every channel of it has either 0 or 255 outside."""
    inside = _inside_oval(*crop.shape[:2], axes)
    masked = crop & inside
    without, filled = resize(masked), resize(masked | ~inside)
    colours = np.array(list(OVAL_COLOURS.values()), np.uint8)
    rows = np.tile(colours, WIDTH)[:, None]  # [4,1,128*3]: whole rows, because numpy is slow over short last axes
    chosen = without.reshape(HEIGHT, -1) ^ ((without ^ filled).reshape(HEIGHT, -1) & rows)
    return chosen.reshape(len(colours), HEIGHT, WIDTH, 3)


def _gaussian_noise(crop: np.ndarray, seed: int) -> np.ndarray:
    return _to_uint8(crop + _normal(seed, GAUSSIAN_NOISE_SD, crop.shape))


def _salt_and_pepper(crop: np.ndarray, seed: int) -> np.ndarray:
    """One uniform number a pixel: under 0.02 it turns white, from 0.98 on black."""
    drawn = np.random.default_rng(seed).random(crop.shape[:2])
    speckled = crop.copy()
    speckled[drawn < SALT_FRACTION] = 255
    speckled[drawn >= 1 - PEPPER_FRACTION] = 0
    return speckled


def _speckle(crop: np.ndarray, seed: int) -> np.ndarray:
    return _to_uint8(crop * (1 + _normal(seed, SPECKLE_SD, crop.shape)))


def _normal(seed: int, sd: float, shape: tuple[int, ...]) -> np.ndarray:
    """float64, drawn from a fixed seed: the numbers of a small crop are the first of those of a large one."""
    count = math.prod(shape)
    if count > _KEPT_NUMBERS:
        return np.random.default_rng(seed).normal(0, sd, shape)
    return _kept_normal(seed, sd)[:count].reshape(shape)


@lru_cache(maxsize=2)
def _kept_normal(seed: int, sd: float) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(0, sd, _KEPT_NUMBERS)
    drawn.setflags(write=False)
    return drawn


def _to_uint8(values: np.ndarray) -> np.ndarray:
    """Values rounded and clipped to bytes. The given array is overwritten."""
    np.rint(values, out=values)
    np.clip(values, 0, 255, out=values)
    return values.astype(np.uint8, order="C")


def _perturbations() -> tuple[Perturbation, ...]:
    listed: list[Perturbation] = []

    def add(function: Callable[..., np.ndarray], family: str, name: str, **parameters: object) -> None:
        listed.append(
            Perturbation(len(listed) + 1, family, name, parameters, lambda crop: function(crop, **parameters))
        )

    for offset in LIGHTING_OFFSETS:
        add(_lighting, "lighting", f"lighting{offset:+d}", offset=offset)
    for sigma in BLUR_SIGMAS:
        add(_blur, "blur", f"blur-{sigma:g}", sigma=sigma)
    for side in BAR_SIDES:
        for fraction in BAR_FRACTIONS:
            add(_bar, "occlusion", f"bar-{side}-{fraction:.0%}", side=side, fraction=fraction)
    for axes in OVAL_AXES:
        for colour in OVAL_COLOURS:
            add(_oval, "background", f"oval-{axes:.2f}-{colour}", axes=axes, colour=colour)
    for function, name in (
        (_gaussian_noise, "gaussian"),
        (_salt_and_pepper, "salt-and-pepper"),
        (_speckle, "speckle"),
    ):
        add(function, "noise", f"noise-{name}", seed=len(listed) + 1)
    return tuple(listed)


PERTURBATIONS: tuple[Perturbation, ...] = _perturbations()
assert len(PERTURBATIONS) == PERTURBATION_COUNT


def write_views(image: Path, out: Path) -> None:
    """Write the 35 views of an image file as PNG files, numbered in order, and `manifest.json` about them.

    Raises InvalidImage where the file is not an image, OSError where it cannot be read or `out` not written.
    """
    seen = views(decode(image.read_bytes()))
    out.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, object]] = [
        {"index": 0, "family": "original", "name": "original", "parameters": {}},
        *({key: getattr(p, key) for key in ("index", "family", "name", "parameters")} for p in PERTURBATIONS),
    ]
    for entry, view in zip(entries, seen, strict=True):
        entry["file"] = f"{entry['index']:02d}-{entry['name']}.png".replace("%", "pct").replace("+", "plus")
        Image.fromarray(view).save(out / str(entry["file"]))
    manifest = {"image": image.name, "height": HEIGHT, "width": WIDTH, "views": entries}
    write_json(out / "manifest.json", manifest)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m qafm.perturbations",
        description="Write the 35 views of an image, resized as the networks see them, and manifest.json.",
    )
    parser.add_argument("image", type=Path, help="a JPEG, PNG, WebP or BMP file")
    parser.add_argument("--out", type=Path, required=True, help="folder for the PNG files; made if missing")
    options = parser.parse_args(arguments)
    try:
        write_views(options.image, options.out)
    except (QafmError, OSError) as error:
        print(f"{options.image}: {error}" if isinstance(error, QafmError) else error, file=sys.stderr)
        return 2
    print(f"{VIEW_COUNT} views of {options.image} in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
