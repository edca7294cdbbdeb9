"""Finding one person in a folder of crops, or in descriptors that were kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.description import Description, Float32
from client.gallery.cache import Cache
from client.gallery.describing import describe_files, model_asked
from client.gallery.files import GalleryImages
from client.progress import Progress
from client.reid import ReidClient
from qafm.contract import QAFM
from qafm.errors import InvalidDataset, InvalidDescriptors
from qafm.retrieval.descriptors import read_descriptors, require_one_model
from qafm.retrieval.distances import from_squares, squared_distances


@dataclass(frozen=True, eq=False)
class Gallery:
    """N crops to search in.

    paths: where each is, or was. descriptors: float32 [N,D]. model: the name of what made them, where known. people: of
    each crop who it is, where its name says so.
    """

    paths: tuple[Path, ...]
    descriptors: Float32
    model: str | None = None
    people: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Found:
    """A crop of the gallery. distance: Euclidean, of descriptors of length 1: from 0, the same, to 2. person: who it
    is, where its name says so."""

    path: Path
    distance: float
    person: str | None = None


def read_gallery(path: Path, folder: Path | None = None) -> Gallery:
    """The gallery of an .npz file, as `client eval` writes it. folder: what its paths are relative to.

    Raises InvalidDescriptors where it has no paths, or cannot be read.
    """
    kept = read_descriptors(path, ("paths",))
    if not len(kept):
        raise InvalidDescriptors(f"{path}: has no descriptors; expected some to search in")
    if kept.paths is None:
        raise InvalidDescriptors(f"{path}: has no paths, so what is found in it cannot be named")
    paths = tuple((folder or Path()) / name for name in kept.paths.tolist())
    return Gallery(paths, kept.descriptors, kept.model)


async def describe_gallery(
    client: ReidClient,
    images: GalleryImages,
    alpha: float | None = None,
    *,
    ensemble: str = QAFM,
    cache: Cache | None = None,
    concurrency: int,
    progress: Progress,
    failed: Callable[[Exception], None],
    warn: Callable[[str], None] = lambda _: None,
) -> Gallery:
    """The descriptors of images. alpha, ensemble: as `ReidClient.describe` takes them. cache: has those that are not
    sent again. failed: is told of each that cannot be described; warn: where the cache cannot keep them.

    Raises InvalidDataset where none can be, and as `ReidClient.describe` does where the server goes away.
    """
    results = await describe_files(
        client,
        images.paths,
        alpha,
        ensemble=ensemble,
        cache=cache,
        concurrency=concurrency,
        progress=progress,
        warn=warn,
    )
    for result in results:
        if not isinstance(result, Description):
            failed(result)
    found = [
        (path, result) for path, result in zip(images.paths, results, strict=True) if isinstance(result, Description)
    ]
    if not found:
        raise InvalidDataset(f"none of the gallery's {len(images.paths)} images could be described")
    return Gallery(
        paths=tuple(path for path, _ in found),
        descriptors=np.stack([result.descriptor for _, result in found]),
        model=model_asked(client, alpha, ensemble),
        people=None if images.people is None else tuple(images.people[path] for path, _ in found),
    )


def require_same_model(
    client: ReidClient, gallery: Gallery, alpha: float | None = None, *, ensemble: str = QAFM
) -> None:
    """Refuse a gallery that another model made than would describe an image to look for, before one is sent.

    alpha, ensemble: as `ReidClient.describe` takes them. Raises InvalidDescriptors, which says how to ask the gallery's
    model where this server has it; ContractMismatch for an ensemble that it lacks.
    """
    try:
        require_one_model(model_asked(client, alpha, ensemble), gallery.model)
    except InvalidDescriptors as error:
        asked = client.manifest.asked(gallery.model)
        if asked is None:
            raise
        options = f"--model {asked[0]}" + ("" if asked[1] is None else f" --alpha {asked[1]}")
        raise InvalidDescriptors(f"{error}: the server has the gallery's, by {options}") from None


def search(
    descriptor: Float32, gallery: Gallery, top: int | None, model: str | None = None, threshold: float | None = None
) -> list[Found]:
    """The `top` crops nearest to a descriptor, float32 [D], or all, nearest first, ties by place in the gallery.

    model: the name of what made the descriptor. threshold: the largest distance that is still found. Raises
    InvalidDescriptors where the gallery is of another model: of another name, or descriptors of another length.
    """
    require_one_model(model, gallery.model)
    if gallery.descriptors.shape[1] != len(descriptor):
        raise InvalidDescriptors(
            f"the gallery's descriptors have {gallery.descriptors.shape[1]} numbers, the image's {len(descriptor)}; "
            "expected both from the same model"
        )
    distances = from_squares(squared_distances(descriptor, gallery.descriptors), "euclidean")
    rows = np.argsort(distances, kind="stable")[:top]
    if threshold is not None:
        rows = rows[distances[rows] <= threshold]
    people = gallery.people or (None,) * len(gallery.paths)
    return [Found(gallery.paths[row], float(distances[row]), people[row]) for row in rows.tolist()]
