"""Reading a dataset in Market-1501's folder layout and file naming.

DIR/bounding_box_train/0002_c1s1_000451_03.jpg      training crops
DIR/query/0001_c1s1_001051_00.jpg                   queries
DIR/bounding_box_test/-1_c1s1_000401_03.jpg         gallery, with `-1` junk and `0000` distractors
DIR/market_attribute.mat                            attributes of the identities (`qafm.attributes`)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qafm.errors import InvalidDataset

Split = Literal["train", "query", "gallery"]

FOLDERS: dict[Split, str] = {
    "train": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
}
ATTRIBUTE_FILE = "market_attribute.mat"
PUBLISHED_COUNTS: dict[Split, int] = {"train": 12_936, "query": 3_368, "gallery": 19_732}
"""Files in each split of the published dataset, junk and distractors included."""

JUNK_PID = -1
"""Not a person, or hardly one: never counts, neither as a match nor as a mistake."""
DISTRACTOR_PID = 0
"""Nobody's match: stays in the gallery and counts as a mistake."""

_NAME = re.compile(r"(?P<pid>-1|\d{4,})_c(?P<camid>[1-9]\d*)s(?P<sequence>\d+)_(?P<frame>\d+)_(?P<box>\d+)\.jpg")


@dataclass(frozen=True)
class Crop:
    """One image file of a split. `pid` is the identity, `camid` the camera, from 1."""

    path: Path
    pid: int
    camid: int


def parse_name(path: Path) -> Crop:
    """The identity and camera in a file's name. Raises InvalidDataset for a name of another form."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise InvalidDataset(
            f"{path}: the name is not of the form PID_cCAMsSEQUENCE_FRAME_BOX.jpg, such as "
            "0002_c1s1_000451_03.jpg. Rename the file or move it out of the dataset"
        )
    return Crop(path, int(match["pid"]), int(match["camid"]))


def list_split(root: Path, split: Split) -> list[Crop]:
    """Every .jpg of a split, sorted by name: junk and distractors included, other files passed over.

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
    crops = [parse_name(path) for path in sorted(folder.glob("*.jpg"), key=lambda path: path.name)]
    if not crops:
        raise InvalidDataset(f"{folder}: no .jpg images in the {split} split")
    return crops


def shortfall(split: Split, crops: list[Crop]) -> str | None:
    """A sentence about a split with nearly, but not quite, as many files as the published one: a damaged copy?"""
    published = PUBLISHED_COUNTS[split]
    if len(crops) == published or abs(len(crops) - published) > published // 10:
        return None
    return (
        f"the {split} split has {len(crops):,} images, Market-1501 as published has {published:,}: "
        "if this is meant to be it, the copy is not complete"
    )


def without_junk(crops: list[Crop]) -> list[Crop]:
    """The crops that count: all but the `-1` junk."""
    return [crop for crop in crops if crop.pid != JUNK_PID]
