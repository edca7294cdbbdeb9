"""`python -m export.heatmaps RUN IMAGE... --out DIR`: what both branches look at (paper, Fig. 8).

A heat map is the length of the feature vector at each place, of APN's decoded features and of APAN's attended ones,
before either is averaged over places: where it is short, nothing of the picture enters the branch's vector.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from qafm.contract import HEATMAPS_FILE, HEIGHT, WIDTH
from qafm.errors import InvalidImage, QafmError
from qafm.files import write_json
from qafm.images import decode, resize

if TYPE_CHECKING:
    from torch import Tensor, nn

    from train.networks import Networks

# PyTorch takes seconds to load: what needs it is imported where the work begins, and not for `--help`.

_HOT = np.array([255, 60, 0], np.float32)
_SHADE = 0.25
"""How bright a place stays where the map is 0."""


def heatmaps(networks: Networks, crop: np.ndarray) -> tuple[np.ndarray, ...]:
    """For one crop uint8 [H,W,3], the maps of APN and, where there is one, of APAN: float32 [384,128], each divided by
    its maximum."""
    import torch

    from train.networks import Pixels

    pixels = Pixels()(torch.from_numpy(resize(crop).copy())[None])
    with torch.inference_mode():
        of_apn = _lengths(networks.apn, networks.apn.merge_fine, pixels)
        if networks.apan is None:
            return (of_apn,)
        return of_apn, _lengths(networks.apan, networks.apan.attend, pixels)


def drawn(crop: np.ndarray, heat: tuple[np.ndarray, ...]) -> np.ndarray:
    """uint8 [384,W,3]: the crop, and beside it the crop under each map."""
    picture = resize(crop).astype(np.float32)
    parts = [picture]
    for branch in heat:
        weight = branch[..., None]
        parts.append((_SHADE + (1 - _SHADE) * weight) * picture * (1 - 0.5 * weight) + 0.5 * weight * _HOT)
    return np.concatenate(parts, axis=1).round().clip(0, 255).astype(np.uint8)


def write_heatmaps(networks: Networks, images: list[Path], out: Path, console: Console) -> None:
    """Write a PNG for each image, numbered in order, and a list that says which is of which image. It names an image by
    its path below the folder that all of them share. Raises InvalidImage, OSError."""
    out.mkdir(parents=True, exist_ok=True)
    listed = []
    names = _names(images)
    for number, path in enumerate(track(images, "heat maps", console=console)):
        try:
            crop = decode(path.read_bytes())
        except InvalidImage as error:
            raise InvalidImage(f"{path}: {error}") from error
        file = f"{number:03d}-{path.stem}.png"
        Image.fromarray(drawn(crop, heatmaps(networks, crop))).save(out / file)
        listed.append({"image": names[number], "file": file})
    write_json(out / HEATMAPS_FILE, {"heatmaps": listed})


def _names(images: list[Path]) -> list[str]:
    """Paths below the innermost folder that has all images in it, with slashes."""
    paths = [path.absolute() for path in images]
    shared = os.path.commonpath([path.parent for path in paths]) if paths else ""
    return [path.relative_to(shared).as_posix() for path in paths]


def _lengths(network: nn.Module, layer: nn.Module, pixels: Tensor) -> np.ndarray:
    import torch.nn.functional as F

    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        network(pixels)
    finally:
        hook.remove()
    lengths = seen[0].norm(dim=1, keepdim=True)  # [1,1,h,w]
    enlarged = F.interpolate(lengths, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)[0, 0]
    return (enlarged / enlarged.max().clamp_min(1e-12)).numpy()


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    crops: Annotated[list[Path] | None, typer.Argument(metavar="IMAGE...", help="Crops.", show_default=False)] = None,
    images: Annotated[list[Path] | None, typer.Option(help="Crops too: `--images *.jpg`.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures; made if missing.")] = Path("build/heatmaps"),
) -> None:
    """Draw what both branches look at, for `client eval --heatmaps`."""
    # An option takes one value: the others of `--images *.jpg` are arguments.
    images = [*(images or ()), *(crops or ())]
    if not images:
        raise typer.BadParameter("name at least one crop", param_hint="IMAGE...")
    from train.checkpoint import load_networks

    try:
        write_heatmaps(load_networks(run), images, out, Console())
    except (QafmError, OSError) as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    print(f"{len(images)} heat maps in {out}")


if __name__ == "__main__":
    typer.run(main)
