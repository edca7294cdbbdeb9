"""Which pictures a folder of one's own has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qafm.datasets.crops import IMAGE_SUFFIXES, JUNK_PID, Crop, is_image
from qafm.datasets.name_pattern import list_images
from qafm.errors import InvalidDataset


@dataclass(frozen=True)
class GalleryImages:
    """The crops of a folder, by path. people: by path who it is, where a name pattern says so. warning: of what is left
    out."""

    crops: tuple[Crop, ...]
    people: Mapping[Path, str] | None = None
    warning: str | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(crop.path for crop in self.crops)


def list_gallery(folder: Path, name_pattern: str | None = None) -> GalleryImages:
    """Every image in a folder and the folders in it, each of nobody known (-1) and of no camera (0); with
    `name_pattern` those that it matches, identity and camera as it reads them.

    Raises InvalidDataset where there are none.
    """
    if not folder.is_dir():
        raise InvalidDataset(f"{folder}: no such folder; expected one with image files, at any depth")
    if name_pattern is not None:
        matched = list_images(folder, name_pattern)
        people = {crop.path: matched.pid_texts[crop.pid] for crop in matched.crops}
        return GalleryImages(matched.crops, people, matched.warning)
    paths = sorted(path for path in folder.rglob("*") if is_image(path) and path.is_file())
    if not paths:
        raise InvalidDataset(f"{folder}: no images in it; expected files that end in {', '.join(IMAGE_SUFFIXES)}")
    return GalleryImages(tuple(Crop(path, JUNK_PID, 0) for path in paths))
