"""The three folders that Market-1501 has and others took over: what differs is how the files are named.

DIR/bounding_box_train/     training crops
DIR/query/                  queries
DIR/bounding_box_test/      gallery
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from qafm.datasets.crops import Crop, Split
from qafm.datasets.dataset import Dataset
from qafm.errors import InvalidDataset

FOLDERS: dict[Split, str] = {
    "train": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
}


@dataclass(frozen=True)
class Naming:
    """How a layout names its files.

    pattern: of a name, with the groups pid and camid. form, example: the same for people. suffix: of the files that
    are read; others are passed over.
    """

    pattern: re.Pattern[str]
    form: str
    example: str
    suffix: str

    def parse(self, path: Path) -> Crop:
        """The identity and camera in a file's name. Raises InvalidDataset for a name of another form."""
        match = self.pattern.fullmatch(path.name)
        if match is None:
            raise InvalidDataset(
                f"{path}: the name is not of the form {self.form}, such as {self.example}. "
                "Rename the file or move it out of the dataset"
            )
        return Crop(path, int(match["pid"]), int(match["camid"]))

    def list_split(self, root: Path, split: Split) -> list[Crop]:
        """Every image of a split, sorted by name: junk and distractors included, other files passed over.

        Raises InvalidDataset for a folder that is missing or has no images, or a file that is misnamed.
        """
        folder = Path(root) / FOLDERS[split]
        if not folder.is_dir():
            expected = ", ".join(FOLDERS.values())
            raise InvalidDataset(
                f"{folder}: no such folder, so there is no {split} split. Expected a dataset folder that holds "
                f"{expected}; make one with `python -m synthetic --out DIR`"
            )
        # "_" sorts after the digits but "-1" before "0000": plain name order is one order on every machine.
        paths = sorted(folder.glob(f"*{self.suffix}"), key=lambda path: path.name)
        if not paths:
            raise InvalidDataset(f"{folder}: no {self.suffix} images in the {split} split")
        return [self.parse(path) for path in paths]


def has_folders(root: Path) -> bool:
    """Whether a folder holds one of the two that no other layout has."""
    return any((root / FOLDERS[split]).is_dir() for split in ("train", "gallery"))


class ThreeFolders(Dataset):
    """A dataset in the three folders, its files named by `naming`."""

    naming: ClassVar[Naming]

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """By the name of one of the files."""
        folders = [root / folder for folder in FOLDERS.values() if (root / folder).is_dir()]
        names = (path.name for folder in folders for path in folder.iterdir())
        return has_folders(root) and any(map(cls.naming.pattern.fullmatch, names))

    def _list(self, split: Split) -> Sequence[Crop]:
        return self.naming.list_split(self.root, split)
