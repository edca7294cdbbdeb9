"""Finding one person in a folder of crops, or in descriptors that were kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from client.description import Description, Float32
from client.evaluation.evaluate import Progress
from client.page import crop, page
from client.reid import ReidClient
from qafm.errors import InvalidDataset, InvalidDescriptors
from qafm.retrieval.descriptors import read_descriptors, require_one_model
from qafm.retrieval.distances import from_squares, squared_distances

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True, eq=False)
class Gallery:
    """N crops to search in. paths: where each is, or was. descriptors: float32 [N,D]. model: of them, where known."""

    paths: tuple[Path, ...]
    descriptors: Float32
    model: str | None = None


@dataclass(frozen=True)
class Found:
    """A crop of the gallery. distance: Euclidean, of descriptors of length 1: from 0, the same, to 2."""

    path: Path
    distance: float


def read_gallery(path: Path, folder: Path | None = None) -> Gallery:
    """The gallery of an .npz file, as `client eval` writes it. folder: what its paths are relative to.

    Raises InvalidDescriptors where it has no paths, or cannot be read.
    """
    found = read_descriptors(path, ("paths",))
    if found.paths is None:
        raise InvalidDescriptors(f"{path}: has no paths, so what is found in it cannot be named")
    paths = tuple((folder or Path()) / name for name in found.paths.tolist())
    return Gallery(paths, found.descriptors, found.model)


async def describe_gallery(
    client: ReidClient, folder: Path, *, concurrency: int, progress: Progress, failed: Callable[[Exception], None]
) -> Gallery:
    """Every image in a folder and the folders in it. failed: is told of each that cannot be described.

    Raises InvalidDataset where there are none, and as `ReidClient.describe` does where the server goes away.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InvalidDataset(f"{folder}: no images in it; expected files that end in {', '.join(SUFFIXES)}")
    paths: list[Path] = []
    descriptors: list[Float32] = []
    with progress("describe", len(files)) as step:
        async with aclosing(client.describe_many(files, concurrency=concurrency, return_errors=True)) as results:
            names = iter(files)
            async for result in results:
                name = next(names)
                if isinstance(result, Description):
                    paths.append(name)
                    descriptors.append(result.descriptor)
                else:
                    failed(result)
                step()
    if not paths:
        raise InvalidDataset(f"{folder}: none of its {len(files)} images could be described")
    return Gallery(tuple(paths), np.stack(descriptors))


def search(descriptor: Float32, gallery: Gallery, top: int, model: str | None = None) -> list[Found]:
    """The `top` crops nearest to a descriptor, float32 [D], nearest first, ties by place in the gallery.

    model: the name of what made the descriptor. Raises InvalidDescriptors where the gallery is of another model: of
    another name, or descriptors of another length.
    """
    require_one_model(model, gallery.model)
    if gallery.descriptors.shape[1] != len(descriptor):
        raise InvalidDescriptors(
            f"the gallery's descriptors have {gallery.descriptors.shape[1]} numbers, the image's {len(descriptor)}; "
            "expected both from the same model"
        )
    distances = from_squares(squared_distances(descriptor, gallery.descriptors), "euclidean")
    rows = np.argsort(distances, kind="stable")[:top]
    return [Found(gallery.paths[row], float(distances[row])) for row in rows.tolist()]


def write_page(path: Path, image: Path, nearest: list[Found]) -> None:
    """A page with the image and what was found, the pictures in it. A picture that is gone leaves its caption."""
    found = "".join(
        crop(
            _content(one.path),
            f"rank {rank}",
            f"<b>{rank}</b> &nbsp; {one.distance:.3f}<br>{escape(str(one.path))}",
        )
        for rank, one in enumerate(nearest, start=1)
    )
    path.write_text(
        page(
            f"Who looks like {image.name}?",
            f"""<header><h1>Who looks like this?</h1><p>{escape(str(image))}</p></header>
<section class="crops">{crop(_content(image), "what was searched for", escape(image.name))}</section>
<section><h2>Nearest first, with their distance</h2><div class="crops">{found}</div></section>""",
        ),
        encoding="utf-8",
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
