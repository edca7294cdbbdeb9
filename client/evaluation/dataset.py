"""What an evaluation describes: the queries and the gallery of a dataset in any layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.evaluation.identity import DatasetIdentity
from qafm.datasets.crops import Crop, without_junk
from qafm.datasets.dataset import Dataset
from qafm.datasets.degradations import DEGRADATION_FILE, Degradation, read_degradations, require_recorded
from qafm.datasets.layouts import open_dataset


@dataclass(frozen=True)
class EvaluationData:
    """The crops of one evaluation, without junk; and {pid: int8 [12]}, the attributes, where they are known.

    root: the folder that the path of every crop begins with. identity: which dataset it is, however many queries are
    used.
    """

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
        """Of each crop its path below `root`, with forward slashes."""
        return [crop.path.relative_to(self.root).as_posix() for crop in self.crops]

    def degradations(self) -> Mapping[str, Degradation] | None:
        """What is recorded to be wrong with the images, by their names; None where nothing is.

        Raises InvalidDataset where the record is damaged, or one of the images is not in it.
        """
        file = self.root / DEGRADATION_FILE
        if not file.is_file():
            return None
        recorded = read_degradations(file)
        require_recorded(recorded, self.names, file)
        return recorded


def read_dataset(root: Path, limit: int | None = None, name_pattern: str | None = None) -> EvaluationData:
    """List query and gallery; `limit` keeps the first so many queries.

    root, name_pattern: as `qafm.datasets.layouts.open_dataset` takes them. Raises InvalidDataset.
    """
    dataset = open_dataset(root, name_pattern)
    query, gallery = dataset.split("query"), dataset.split("gallery")
    attributes, lacking = _attributes(dataset)
    return EvaluationData(
        root=dataset.root,
        query=tuple(without_junk(query)[:limit]),
        gallery=tuple(without_junk(gallery)),
        attributes=attributes,
        identity=DatasetIdentity.of(root, ((dataset.relative(crop), crop.path) for crop in chain(query, gallery))),
        warnings=(*dataset.warnings("query", "gallery"), *lacking),
    )


def _attributes(dataset: Dataset) -> tuple[Mapping[int, NDArray[np.int8]], tuple[str, ...]]:
    """The attributes of query and gallery, and a warning where they are there but cannot be read."""
    file = dataset.attribute_file
    # The one thing a client needs scipy for.
    if dataset.attribute_table is None and file is not None and file.is_file() and find_spec("scipy") is None:
        return {}, (f"{file}: reading it needs scipy, so the accuracy of the attributes is not measured",)
    return dataset.attributes("gallery"), ()
