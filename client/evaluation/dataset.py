"""What an evaluation describes: the queries and the gallery of a dataset in any layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qafm.datasets.crops import Crop, without_junk
from qafm.datasets.dataset import Dataset
from qafm.datasets.degradations import DEGRADATION_FILE, require_recorded
from qafm.datasets.layouts import open_dataset


@dataclass(frozen=True)
class EvaluationData:
    """The crops of one evaluation, without junk; and {pid: int8 [12]}, the attributes, where they are known.

    root: the folder that the path of every crop begins with.
    """

    root: Path
    query: tuple[Crop, ...]
    gallery: tuple[Crop, ...]
    attributes: Mapping[int, NDArray[np.int8]]
    warnings: tuple[str, ...] = ()
    """What a person should know before trusting the result."""


def read_dataset(root: Path, limit: int | None = None, name_pattern: str | None = None) -> EvaluationData:
    """List query and gallery; `limit` keeps the first so many queries.

    root, name_pattern: as `qafm.datasets.layouts.open_dataset` takes them. Raises InvalidDataset, also where a
    `degradations.json` is damaged or says nothing of one of the images: what reads it then comes last.
    """
    dataset = open_dataset(root, name_pattern)
    query = tuple(without_junk(dataset.split("query"))[:limit])
    gallery = tuple(without_junk(dataset.split("gallery")))
    recorded = dataset.degradations()
    if recorded is not None:
        images = map(dataset.relative, chain(query, gallery))
        require_recorded(recorded, images, dataset.root / DEGRADATION_FILE)
    attributes, lacking = _attributes(dataset)
    return EvaluationData(
        root=dataset.root,
        query=query,
        gallery=gallery,
        attributes=attributes,
        warnings=(*dataset.warnings("query", "gallery"), *lacking),
    )


def _attributes(dataset: Dataset) -> tuple[Mapping[int, NDArray[np.int8]], tuple[str, ...]]:
    """The attributes of query and gallery, and a warning where they are there but cannot be read."""
    file = dataset.attribute_file
    # The one thing a client needs scipy for.
    if file is not None and file.is_file() and find_spec("scipy") is None:
        return {}, (f"{file}: reading it needs scipy, so the accuracy of the attributes is not measured",)
    return dataset.attributes("gallery"), ()
