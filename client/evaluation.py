"""Evaluating a server on a dataset: describe query and gallery, rank, compare with the baseline."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from client.baseline import describe_by_colour
from client.description import Description
from client.reid import ReidClient
from qafm.attributes import HeadAccuracy, head_accuracies, read_attributes
from qafm.contract import ATTRIBUTE_SIZE, DESCRIPTOR_SIZE, VECTOR_SIZE
from qafm.descriptors import Descriptors
from qafm.errors import InvalidImage, RequestFailed
from qafm.market1501 import ATTRIBUTE_FILE, Crop, list_split, shortfall, without_junk
from qafm.metrics import Metrics, evaluate

OnError = Literal["skip", "fail"]
Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""Called with the name of the work and its number of images; gives a function to call after each image."""
Result = Description | InvalidImage | RequestFailed


@dataclass(frozen=True)
class Dataset:
    """The crops of one evaluation, without junk; and {pid: int8 [12]}, the attributes, where they are known."""

    root: Path
    query: tuple[Crop, ...]
    gallery: tuple[Crop, ...]
    attributes: Mapping[int, NDArray[np.int8]]
    warnings: tuple[str, ...] = ()
    """What a person should know before trusting the result."""


@dataclass(frozen=True)
class FailedImage:
    """An image that could not be described. `path` is relative to the dataset's folder."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class DescribedDataset:
    """What the server made of a dataset.

    query, gallery: the images that could be described, in order of name, paths relative to `root`.
    attributes: how well the annotated ones were told, by name. manifest: what the server says it serves.
    seconds: how long describing took.
    """

    root: Path
    query: Descriptors
    gallery: Descriptors
    attributes: dict[str, HeadAccuracy]
    failed_images: tuple[FailedImage, ...]
    manifest: dict[str, Any]
    seconds: float

    @property
    def images_per_second(self) -> float:
        return (len(self.query) + len(self.gallery) + len(self.failed_images)) / self.seconds


def read_dataset(root: Path, limit: int | None = None) -> Dataset:
    """List query and gallery; `limit` keeps the first so many queries. Raises InvalidDataset."""
    query, gallery = list_split(root, "query"), list_split(root, "gallery")
    found = [shortfall("query", query), shortfall("gallery", gallery)]
    file = root / ATTRIBUTE_FILE
    attributes: Mapping[int, NDArray[np.int8]] = {}
    if file.is_file():
        # The one thing a client needs scipy for.
        if find_spec("scipy") is None:
            found.append(f"{file}: reading it needs scipy, so the accuracy of the attributes is not measured")
        else:
            attributes = read_attributes(file, "test")
    return Dataset(
        root=root,
        query=tuple(without_junk(query)[:limit]),
        gallery=tuple(without_junk(gallery)),
        attributes=attributes,
        warnings=tuple(warning for warning in found if warning),
    )


async def describe_dataset(
    client: ReidClient, dataset: Dataset, *, on_error: OnError, concurrency: int, progress: Progress
) -> DescribedDataset:
    """Describe every image of a dataset.

    on_error: "skip" leaves an image that fails out and lists it in failed_images; "fail" raises its
    InvalidImage or RequestFailed. Raises ServerUnreachable when the server goes away for good.
    """
    crops = [*dataset.query, *dataset.gallery]
    results: list[Result] = []
    start = time.perf_counter()
    paths = (crop.path for crop in crops)
    with progress("describe", len(crops)) as step:
        async with aclosing(client.describe_many(paths, concurrency=concurrency, return_errors=True)) as found:
            async for result in found:
                if on_error == "fail" and not isinstance(result, Description):
                    raise result
                results.append(result)
                step()
    seconds = time.perf_counter() - start
    split = len(dataset.query)
    query = _gather(dataset.root, crops[:split], results[:split])
    gallery = _gather(dataset.root, crops[split:], results[split:])
    return DescribedDataset(
        root=dataset.root,
        query=query,
        gallery=gallery,
        attributes=_accuracies(dataset.attributes, query, gallery),
        failed_images=tuple(
            FailedImage(_relative(crop, dataset.root), str(result).removeprefix(f"{crop.path}: "))
            for crop, result in zip(crops, results, strict=True)
            if not isinstance(result, Description)
        ),
        manifest=client.manifest,
        seconds=seconds,
    )


def measure_baseline(described: DescribedDataset, progress: Progress) -> Metrics:
    """What colour histograms reach on the same images."""
    with progress("baseline", len(described.query) + len(described.gallery)) as step:
        return evaluate(
            describe_by_colour(described.root, described.query, step),
            describe_by_colour(described.root, described.gallery, step),
        )


def _accuracies(attributes: Mapping[int, NDArray[np.int8]], *sides: Descriptors) -> dict[str, HeadAccuracy]:
    """Over all images whose identity is annotated: distractors are not."""
    probabilities, labels = [], []
    for side in sides:
        assert side.attributes is not None, "descriptors straight from the server have every array"
        for pid, row in zip(side.pids.tolist(), side.attributes, strict=True):
            if pid in attributes:
                probabilities.append(row)
                labels.append(attributes[pid])
    return head_accuracies(np.stack(probabilities), np.stack(labels)) if labels else {}


def _gather(root: Path, crops: Sequence[Crop], results: Sequence[Result]) -> Descriptors:
    """The descriptions that succeeded, as arrays with one row each."""
    kept, found = [], []
    for crop, result in zip(crops, results, strict=True):
        if isinstance(result, Description):
            kept.append(crop)
            found.append(result)

    def rows(name: str, *sizes: int) -> NDArray[np.float32]:
        values = np.array([getattr(description, name) for description in found], dtype=np.float32)
        return values.reshape(len(found), *sizes)  # for when none succeeded

    return Descriptors(
        descriptors=rows("descriptor", DESCRIPTOR_SIZE),
        pids=np.array([crop.pid for crop in kept], dtype=np.int64),
        camids=np.array([crop.camid for crop in kept], dtype=np.int64),
        paths=np.array([_relative(crop, root) for crop in kept], dtype=np.str_),
        alpha=rows("alpha"),
        identifiability=rows("identifiability"),
        visual=rows("visual", VECTOR_SIZE),
        semantic=rows("semantic", VECTOR_SIZE),
        attributes=rows("attribute_probabilities", ATTRIBUTE_SIZE),
    )


def _relative(crop: Crop, root: Path) -> str:
    return crop.path.relative_to(root).as_posix()
