"""MSMT17: four lists, and the images in folders by identity.

DIR/list_train.txt, list_val.txt, list_query.txt, list_gallery.txt
    0000/0000_000_01_0303morning_0008_0.jpg 0       a path in the split's folder, the identity; 01 is the camera
DIR/train/, DIR/test/                               images of version 1
DIR/mask_train_v2/, DIR/mask_test_v2/               images of version 2, with faces blurred

`list_train` and `list_val` together are the training split, as published results have it. The lists count identities
from 0, in training and test apart; 0 is the distractor here, so each pid is one more than in the list. An identity of
the training split has nothing to do with the one of the same pid in query and gallery.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from qafm.datasets.attribute_table import ATTRIBUTE_TABLE
from qafm.datasets.crops import Crop, Split
from qafm.datasets.dataset import Dataset
from qafm.errors import InvalidDataset

_LISTS: dict[Split, tuple[str, ...]] = {
    "train": ("list_train.txt", "list_val.txt"),
    "query": ("list_query.txt",),
    "gallery": ("list_gallery.txt",),
}
_FOLDERS: dict[Split, tuple[str, str]] = {
    "train": ("train", "mask_train_v2"),
    "query": ("test", "mask_test_v2"),
    "gallery": ("test", "mask_test_v2"),
}
_LINE = re.compile(
    r"(?P<path>(?:[^\s/]+/)*[^\s/_]+_[^\s/_]+_(?P<camid>\d{1,4})_[^\s/]*\.jpg)\s+(?P<pid>\d{1,9})", re.ASCII
)


class Msmt17(Dataset):
    """MSMT17, version 1 or 2."""

    name = "MSMT17"
    expected = "list_train.txt, list_val.txt, list_query.txt, list_gallery.txt and the folders they name files in"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return any((root / name).is_file() for names in _LISTS.values() for name in names)

    @property
    def published_counts(self) -> Mapping[Split, int]:
        return {"train": 32_621, "query": 11_659, "gallery": 82_161}

    @property
    def attribute_table(self) -> None:
        if super().attribute_table is not None:
            raise InvalidDataset(
                f"{self.root}: one number names two people in MSMT17, one of the training split and one of the test "
                f"splits, so {ATTRIBUTE_TABLE} cannot say whom it means; take it away, or list the images in a "
                "dataset.csv, with names of your own"
            )

    def _list(self, split: Split) -> Sequence[Crop]:
        folder = self._folder(split)
        crops: dict[Path, Crop] = {}
        for name in _LISTS[split]:
            for crop, line in _read_list(self.root / name, folder):
                if crop.path in crops:
                    raise InvalidDataset(f"{line}: {crop.path} is listed twice")
                if not crop.path.is_file():
                    raise InvalidDataset(f"{line}: {crop.path}: no such file. The copy is not complete")
                crops[crop.path] = crop
        if not crops:
            raise InvalidDataset(f"{self.root}: no images in the {split} split: {', '.join(_LISTS[split])} is empty")
        return list(crops.values())

    def _folder(self, split: Split) -> Path:
        for name in _FOLDERS[split]:
            if (self.root / name).is_dir():
                return self.root / name
        raise InvalidDataset(
            f"{self.root}: has MSMT17's lists, but no folder {' or '.join(_FOLDERS[split])} with the images of its "
            f"{split} split"
        )


def _read_list(path: Path, folder: Path) -> Iterator[tuple[Crop, str]]:
    """Each crop of a list, and where it stands there, for an error."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDataset(f"{path}: cannot be read ({error}); expected a list of MSMT17") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or ".." in match["path"].split("/"):
            raise InvalidDataset(
                f"{path}, line {number}: expected a path and an identity, such as "
                f"'0000/0000_000_01_0303morning_0008_0.jpg 0', got {line[:200]!r}"
            )
        yield Crop(folder / match["path"], int(match["pid"]) + 1, int(match["camid"])), f"{path}, line {number}"
