"""A dataset, whatever its layout: its splits, and what is known of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qafm.attributes import unknown_attributes
from qafm.datasets.attribute_file import read_attributes, require_attributes
from qafm.datasets.attribute_table import ATTRIBUTE_TABLE, read_attribute_table
from qafm.datasets.crops import DISTRACTOR_PID, Crop, Split
from qafm.datasets.degradations import DEGRADATION_FILE, Degradation, read_degradations
from qafm.datasets.numbering import WHOLE_NUMBER


class Dataset(ABC):
    """A dataset in one layout; `qafm.datasets.layouts.open_dataset` chooses the class.

    root: its folder. The path of every crop begins with it.
    """

    name: ClassVar[str]
    """Of the layout, for people."""
    expected: ClassVar[str]
    """What is in a folder of this layout, in a few words for the error about a folder of none."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._splits: dict[Split, tuple[Crop, ...]] = {}

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether what is at `root` is meant to be of this layout. False where the user has to ask for the layout."""
        return False

    @abstractmethod
    def _list(self, split: Split) -> Sequence[Crop]:
        """The crops of a split, at least one. Raises InvalidDataset."""

    def split(self, split: Split) -> tuple[Crop, ...]:
        """The crops of a split in a fixed order, junk and distractors included. They are listed once.

        Raises InvalidDataset where the split is missing or empty, or something in it is not valid.
        """
        if split not in self._splits:
            self._splits[split] = tuple(self._list(split))
        return self._splits[split]

    def identities(self, split: Split) -> list[int]:
        """The pids of a split in ascending order, without junk and distractors. Raises as `split` does."""
        return sorted({crop.pid for crop in self.split(split) if crop.pid > DISTRACTOR_PID})

    def cameras(self, split: Split) -> list[int]:
        """The camids of a split in ascending order. Raises as `split` does."""
        return sorted({crop.camid for crop in self.split(split)})

    @property
    def published_counts(self) -> Mapping[Split, int]:
        """Files in each split of the published dataset, junk and distractors included. Empty where none is known."""
        return {}

    @property
    def attribute_file(self) -> Path | None:
        """Where a dataset of this layout keeps its `market_attribute.mat`, whether it is there or not. None where
        the layout has no attributes."""
        return None

    @property
    def attribute_table(self) -> Path | None:
        """Its `attributes.csv`, which a dataset may have and which comes before an attribute file; None without.

        Raises InvalidDataset in a layout that cannot have one.
        """
        table = self.root / ATTRIBUTE_TABLE
        return table if table.is_file() else None

    def pid_named(self, text: str) -> int | None:
        """The pid of an identity as people write it in a table; None for what is none in this layout."""
        pid = int(text) if WHOLE_NUMBER.fullmatch(text) else DISTRACTOR_PID
        return pid if pid > DISTRACTOR_PID else None

    def attributes(self, split: Split) -> Mapping[int, NDArray[np.int8]]:
        """{pid: int8 [12]}, as `qafm.attributes` has them; empty where the dataset has no attributes.

        Raises InvalidDataset for a damaged table or attribute file. Needs scipy for the latter.
        """
        if self.attribute_table is not None:
            return read_attribute_table(self.attribute_table, self.pid_named)
        file = self.attribute_file
        if file is None or not file.is_file():
            return {}
        return read_attributes(file, "train" if split == "train" else "test")

    def attributes_of(self, pids: Sequence[int], split: Split) -> NDArray[np.int8]:
        """int8 [N,12] of each of N pids of a split; MISSING where nothing is known.

        Raises InvalidDataset as `attributes` does, and where an attribute file, which is of a whole dataset, lacks one.
        """
        known = self.attributes(split)
        if known and self.attribute_table is None and self.attribute_file is not None:
            return require_attributes(known, list(pids), self.attribute_file)
        (unknown,) = unknown_attributes(1)
        return np.stack([known.get(pid, unknown) for pid in pids])

    def degradations(self) -> dict[str, Degradation] | None:
        """What is recorded to be wrong with the images, by `relative` path; None where nothing is recorded.

        Raises InvalidDataset for a damaged `degradations.json`.
        """
        file = self.root / DEGRADATION_FILE
        return read_degradations(file) if file.is_file() else None

    def relative(self, crop: Crop) -> str:
        """The path of a crop below the root, with forward slashes: how descriptors and reports name it."""
        return crop.path.relative_to(self.root).as_posix()

    def warnings(self, *splits: Split) -> tuple[str, ...]:
        """What a person should know before trusting a result of these splits. Raises as `split` does."""
        shortfalls = [self._shortfall(split) for split in splits]
        return tuple(warning for warning in shortfalls if warning)

    def _shortfall(self, split: Split) -> str | None:
        return shortfall(self.name, split, len(self.split(split)), self.published_counts.get(split))


def shortfall(name: str, split: Split, images: int, published: int | None) -> str | None:
    """A sentence about a split with nearly, but not quite, as many images as the published one: a damaged copy?"""
    if published is None or images == published or abs(images - published) > published // 10:
        return None
    return (
        f"the {split} split has {images:,} images, {name} as published has {published:,}: "
        "if this is meant to be it, the copy is not complete"
    )
