"""Training crops: which ones, with which labels and attributes, and reading them."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from qafm.attributes import MISSING, SCHEMA, unknown_attributes
from qafm.datasets.attribute_table import ATTRIBUTE_TABLE
from qafm.datasets.crops import DISTRACTOR_PID, Crop
from qafm.datasets.layouts import open_dataset
from qafm.errors import InvalidCheckpoint, InvalidDataset, InvalidImage
from qafm.images import decode, resize
from train.settings import Settings

HELD_OUT_FRACTION = 0.1
"""Of the identities: seen by no network, they measure Q's mean and deviation, validate and calibrate."""

DATA_FORMAT = 2
"""Of data.json. Format 1 had no number in it."""


@dataclass(frozen=True)
class TrainingData:
    """The training split: `pids[label]` is the identity behind a label, row n of the arrays belongs to `crops[n]`."""

    crops: tuple[Crop, ...]
    held_out: tuple[Crop, ...]
    pids: tuple[int, ...]
    labels: np.ndarray
    """int64 [N], in 0..len(pids)-1."""
    attributes: np.ndarray
    """int8 [N,12], see `qafm.attributes`; all MISSING where the dataset has none."""
    folder: Path = Path()
    """Of the dataset, absolute; or the list that it is."""
    root: Path = Path()
    """What the paths of its images, and what is recorded of them, lie below."""
    warning: str | None = None
    """What a person should know before training on it."""

    @property
    def everyone(self) -> bool:
        """Whether the held-out people are trained on too."""
        return not {crop.pid for crop in self.held_out}.isdisjoint(self.pids)

    @property
    def taught(self) -> list[str]:
        """The names of the attributes of which something is known."""
        known = (self.attributes != MISSING).any(axis=0)
        return [attribute.name for attribute, any_known in zip(SCHEMA, known, strict=True) if any_known]

    def require_attributes(self) -> None:
        """Raises InvalidDataset where no attribute of anybody is known."""
        if not self.taught:
            raise InvalidDataset(
                f"{self.root}: no attributes of the people in it are known, which the branch APAN learns from. Give "
                f"them in {ATTRIBUTE_TABLE} there, or train on appearance alone: --without-attributes"
            )

    def description(self) -> dict[str, object]:
        """What a run says of its data, as data.json: counts, and a fingerprint."""
        return {
            "format": DATA_FORMAT,
            "name": self.folder.name,
            "folder": str(self.folder),
            "crops": len(self.crops),
            "identities": len(self.pids),
            "held_out_crops": len(self.held_out),
            "held_out_identities": len({crop.pid for crop in self.held_out}),
            **({"held_out_trained_on": True} if self.everyone else {}),
            "attributes": self.taught,
            "sha256": self.fingerprint(),
        }

    def fingerprint(self, data_format: int = DATA_FORMAT) -> str:
        """A hash, as data.json of a format has it, of all that training reads but the pixels.

        Of each file its name, size, identity and camera, and of those trained on the attributes; in format 1 only
        names and sizes.
        """
        files = [(crop.path.name, crop.path.stat().st_size) for crop in (*self.crops, *self.held_out)]
        content: Any = sorted(files)
        if data_format > 1:
            labels = [(crop.pid, crop.camid) for crop in (*self.crops, *self.held_out)]
            attributes = [*self.attributes.tolist(), *([] for _ in self.held_out)]
            content = sorted(zip(files, labels, attributes, strict=True))
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def is_described_by(self, description: Mapping[str, Any]) -> bool:
        """Whether a data.json, of this format or an earlier one, is of this data, in whatever folder it lies.

        One of format 1 knows nothing of labels and attributes: they may have changed. Raises InvalidCheckpoint for a
        newer format.
        """
        data_format = description.get("format", 1)
        if data_format > DATA_FORMAT:
            raise InvalidCheckpoint(
                f"the run's data.json is of format {data_format}, expected {DATA_FORMAT} or an earlier one: a newer "
                "version made the run; use that version"
            )
        return self.fingerprint(data_format) == description["sha256"]


def load_training_data(root: Path, seed: int, *, everyone: bool = False, attributes: bool = True) -> TrainingData:
    """List the training split of the dataset at `root` and hold a tenth of its identities out, chosen by `seed`.

    With `everyone` these are trained on too, and stay listed as held out for whoever needs the same people. Without
    `attributes` none are read.
    Raises InvalidDataset, among others where attributes are there that lack an identity or there are too few of them.
    """
    # Whole paths: crops are told apart by them, wherever the dataset was named from.
    root = Path(root).resolve()
    dataset = open_dataset(root)
    listed = [crop for crop in dataset.split("train") if crop.pid > DISTRACTOR_PID]
    pids = dataset.identities("train")
    if len(pids) < 4:
        raise InvalidDataset(f"{root}: the train split has {len(pids)} identities; training needs at least 4")
    shuffled = np.random.default_rng(seed).permutation(pids)
    held = max(2, round(HELD_OUT_FRACTION * len(pids)))
    held_out, trained = set(shuffled[:held].tolist()), tuple(sorted(shuffled[0 if everyone else held :].tolist()))

    label_of = {pid: label for label, pid in enumerate(trained)}
    crops = tuple(crop for crop in listed if crop.pid in label_of)
    pids_of_crops = [crop.pid for crop in crops]
    known = dataset.attributes_of(pids_of_crops, "train") if attributes else unknown_attributes(len(crops))
    unnamed = _unnamed(dataset.attribute_table, crops, known) if attributes else ()
    return TrainingData(
        crops=crops,
        held_out=tuple(crop for crop in listed if crop.pid in held_out),
        pids=trained,
        labels=np.array([label_of[crop.pid] for crop in crops]),
        attributes=known,
        folder=root,
        root=dataset.root,
        warning=" ".join((*dataset.warnings("train"), *unnamed)) or None,
    )


def load_data_of(settings: Settings, root: Path) -> TrainingData:
    """What a run of these settings is trained on. Raises as `load_training_data` does."""
    everyone = settings.refits is not None
    return load_training_data(root, settings.seed, everyone=everyone, attributes=settings.attributes)


def _unnamed(table: Path | None, crops: Sequence[Crop], attributes: np.ndarray) -> Iterator[str]:
    """What to know of a table that says nothing of some people: their names may be written otherwise there."""
    if table is None:
        return
    nothing = (attributes == MISSING).all(axis=1)
    unknown = {crop.pid for crop, none in zip(crops, nothing, strict=True) if none}
    people = len({crop.pid for crop in crops})
    if 0 < len(unknown) < people:
        yield f"{table} says nothing of {len(unknown)} of the {people} people who are trained on"


def read_crop(crop: Crop) -> np.ndarray:
    """Decode a crop, uint8 [H,W,3]. Raises InvalidDataset that names the file."""
    try:
        return decode(crop.path.read_bytes())
    except (InvalidImage, OSError) as error:
        raise InvalidDataset(f"{crop.path}: {error}") from error


class CropFiles(Dataset[Any], ABC):
    """What is read from the files of crops.

    For a file that cannot be read, the error is returned, and `readable` raises it: raised in a loader's worker, it
    would arrive wrapped in a traceback.
    """

    def __init__(self, crops: Sequence[Crop]) -> None:
        self.crops = crops

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.read(key)
        except InvalidDataset as error:
            return error

    @abstractmethod
    def read(self, key: Any) -> Any:
        """Raises InvalidDataset that names the file."""


class WholeCrops(CropFiles):
    """Crops as they are, not augmented: (pixels uint8 [384,128,3], row)."""

    def read(self, key: int) -> tuple[Tensor, int]:
        return torch.from_numpy(resize(read_crop(self.crops[key])).copy()), key


def collate(items: list[tuple[Any, ...] | InvalidDataset]) -> list[Tensor] | InvalidDataset:
    errors = [item for item in items if isinstance(item, InvalidDataset)]
    return errors[0] if errors else default_collate(items)


def readable(loader: DataLoader) -> Iterator[Any]:
    """What a loader of CropFiles yields. Raises InvalidDataset for the first file that could not be read."""
    for loaded in loader:
        if isinstance(loaded, InvalidDataset):
            raise loaded
        yield loaded
