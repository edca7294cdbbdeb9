"""The crops of one evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.evaluation.identity import DatasetIdentity
from qafm.datasets.attribute_file import read_attributes
from qafm.datasets.market1501 import ATTRIBUTE_FILE, Crop, list_split, shortfall, without_junk


@dataclass(frozen=True)
class Dataset:
    """The crops of one evaluation, without junk; and {pid: int8 [12]}, the attributes, where they are known."""

    root: Path
    query: tuple[Crop, ...]
    gallery: tuple[Crop, ...]
    attributes: Mapping[int, NDArray[np.int8]]
    identity: DatasetIdentity
    warnings: tuple[str, ...] = ()
    """What a person should know before trusting the result."""

    @property
    def crops(self) -> tuple[Crop, ...]:
        """The queries, then the gallery."""
        return (*self.query, *self.gallery)

    @property
    def names(self) -> list[str]:
        """Of each crop its path, relative to `root`."""
        return [crop.path.relative_to(self.root).as_posix() for crop in self.crops]


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
        identity=DatasetIdentity.of(root, (crop.path.name for crop in (*query, *gallery))),
        warnings=tuple(warning for warning in found if warning),
    )
