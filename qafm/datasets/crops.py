"""What every dataset consists of, whatever its layout: image files, each with an identity and a camera."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "query", "gallery"]
SPLITS: tuple[Split, ...] = ("train", "query", "gallery")

JUNK_PID = -1
"""Not a person, or hardly one: never counts, neither as a match nor as a mistake."""
DISTRACTOR_PID = 0
"""Nobody's match: stays in the gallery and counts as a mistake."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""What an image file of a dataset of one's own may end in, in upper or lower case."""


@dataclass(frozen=True)
class Crop:
    """One image file of a split. `pid` is the identity; `camid` the camera, from 1 in the published datasets."""

    path: Path
    pid: int
    camid: int


def is_image(path: Path) -> bool:
    """Whether the name ends in one of IMAGE_SUFFIXES."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def without_junk(crops: Iterable[Crop]) -> list[Crop]:
    """The crops that count: all but the `-1` junk."""
    return [crop for crop in crops if crop.pid != JUNK_PID]
