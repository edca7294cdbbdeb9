"""CUHK03-NP: CUHK03 in the training and test split of Zhong et al. (2017), as folders of images.

DIR/labeled/bounding_box_train/0001_c1_1.png        boxes that people drew
DIR/labeled/query/..., DIR/labeled/bounding_box_test/...
DIR/detected/...                                    the same people, boxes of a detector

These are two datasets: one of the two folders is the root. The raw file `cuhk-03.mat` is HDF5 and is not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from qafm.datasets.crops import Split
from qafm.datasets.folders import Naming, ThreeFolders, has_folders
from qafm.errors import InvalidDataset

_COUNTS: dict[str, dict[Split, int]] = {
    "labeled": {"train": 7_368, "query": 1_400, "gallery": 5_328},
    "detected": {"train": 7_365, "query": 1_400, "gallery": 5_332},
}
_RAW = re.compile(r"cuhk-?03\.mat", re.IGNORECASE)


class Cuhk03(ThreeFolders):
    """One of the two folders of CUHK03-NP. Raises InvalidDataset for the folder that holds both, and the raw file."""

    name = "CUHK03-NP"
    naming = Naming(
        pattern=re.compile(r"(?P<pid>\d{4,})_c(?P<camid>[1-9]\d*)_(?P<image>\d+)\.png"),
        form="PID_cCAM_IMAGE.png",
        example="0001_c1_1.png",
        suffix=".png",
    )
    expected = f"the same three folders, in labeled or in detected, with images named as {naming.example}"

    def __init__(self, root: Path) -> None:
        if both := _boxes(root):
            raise InvalidDataset(
                f"{root}: CUHK03-NP has two sets of boxes, which are two datasets. Name one of them: "
                f"{' or '.join(str(folder) for folder in both)}"
            )
        if not has_folders(root) and (raw := _raw_file(root)):
            raise InvalidDataset(
                f"{raw}: the raw HDF5 file of CUHK03 is not read. Take the dataset as images in the folders of "
                "CUHK03-NP and name its folder labeled or detected; or write the file's images out yourself, and list "
                "them in a dataset.csv with the columns path,pid,camid,split"
            )
        super().__init__(root)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return bool(_boxes(root)) or super().recognises(root) or (not has_folders(root) and _raw_file(root) is not None)

    @property
    def published_counts(self) -> Mapping[Split, int]:
        return _COUNTS.get(self.root.resolve().name, {})


def _boxes(root: Path) -> list[Path]:
    """The folders of boxes that `root` holds."""
    return [root / boxes for boxes in _COUNTS if has_folders(root / boxes)]


def _raw_file(root: Path) -> Path | None:
    """The raw file of CUHK03: `root` itself, or in it."""
    candidates = sorted(root.iterdir()) if root.is_dir() else [root]
    return next((path for path in candidates if _RAW.fullmatch(path.name) and path.is_file()), None)
