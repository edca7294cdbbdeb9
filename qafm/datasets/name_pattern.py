"""A folder of one's own, whose file names say who is in each picture: a regular expression reads them.

The pattern has to match the whole path of an image, relative to the folder, with forward slashes and the ending. Its
named groups are `pid`, and where wanted `camid` and `split`. Without a group `split` the first folder of the path
is the split: query, gallery or train. `qafm.datasets.numbering` says what becomes of pid and camid.

    (?P<split>query|gallery)/(?P<pid>[^_]+)_(?P<camid>\\d+)\\.jpg
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qafm.datasets.crops import IMAGE_SUFFIXES, SPLITS, Crop, Split, is_image
from qafm.datasets.dataset import Dataset
from qafm.datasets.numbering import NamedImage, number_pids, numbered
from qafm.errors import InvalidDataset

GROUPS = ("pid", "camid", "split")


@dataclass(frozen=True)
class NamedImages:
    """The images of a folder that a pattern matches, sorted by path.

    splits: for each crop the text that says its split, which may be none of SPLITS. pid_texts: {pid: text}.
    warning: a sentence about images that do not match, if there are any.
    """

    crops: tuple[Crop, ...]
    splits: tuple[str, ...]
    pid_texts: Mapping[int, str]
    warning: str | None


def list_images(folder: Path, name_pattern: str) -> NamedImages:
    """The images in a folder and the folders in it, with identity and camera as the pattern reads them.

    Raises InvalidDataset for a pattern that is not a regular expression or lacks `pid`, and where it matches no image.
    """
    pattern = _compiled(name_pattern)
    paths = _image_paths(folder)
    images: list[NamedImage] = []
    splits: list[str] = []
    others: list[str] = []
    for name, path in paths.items():
        match = pattern.fullmatch(name)
        # A group in an optional part may match nothing: then the image has no identity, or no camera.
        if match is None or not all(match[group] for group in pattern.groupindex):
            others.append(name)
            continue
        images.append(NamedImage(path, match["pid"], match["camid"] if "camid" in pattern.groupindex else None))
        splits.append(match["split"] if "split" in pattern.groupindex else name.rpartition("/")[0].split("/")[0])
    if not images:
        raise InvalidDataset(
            f"{folder}: none of its {len(paths)} images matches the name pattern {name_pattern}. It has to match the "
            f"whole path below that folder, such as {others[0]}"
        )
    return NamedImages(
        crops=tuple(numbered(images)),
        splits=tuple(splits),
        pid_texts={pid: text for text, pid in number_pids(image.pid for image in images).items()},
        warning=_left_out(folder, name_pattern, others, len(paths)) if others else None,
    )


class NamePattern(Dataset):
    """A folder whose file names are read by a pattern. Raises InvalidDataset as `list_images` does."""

    name = "name pattern"
    expected = "images whose names a pattern reads (--name-pattern)"

    def __init__(self, root: Path, name_pattern: str) -> None:
        super().__init__(root)
        self._images = list_images(root, name_pattern)
        self._pids = {text: pid for pid, text in self._images.pid_texts.items()}

    def pid_named(self, text: str) -> int | None:
        return self._pids.get(text)

    def _list(self, split: Split) -> Sequence[Crop]:
        crops = [crop for crop, mine in zip(self._images.crops, self._images.splits, strict=True) if mine == split]
        if not crops:
            raise InvalidDataset(
                f"{self.root}: no image belongs to the {split} split. Put the images into folders named query and "
                f"gallery, or give the name pattern a group (?P<split>...) that matches one of {', '.join(SPLITS)}"
            )
        return crops

    def warnings(self, *splits: Split) -> tuple[str, ...]:
        counts = Counter(split for split in self._images.splits if split not in SPLITS)
        other_splits = [
            f"{self.root}: {count} images of the split {split or '(none)'} are left out; read are {', '.join(SPLITS)}"
            for split, count in sorted(counts.items())
        ]
        return tuple(filter(None, (self._images.warning, *other_splits, *super().warnings(*splits))))


def _compiled(name_pattern: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(name_pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidDataset(f"the name pattern {name_pattern} is not a regular expression: {error}") from error
    if "pid" not in pattern.groupindex:
        raise InvalidDataset(
            f"the name pattern {name_pattern} does not say which part is the identity; mark it as (?P<pid>...)"
        )
    # Left alone, a misspelt camid would make each picture a camera of its own.
    if unknown := sorted(set(pattern.groupindex) - set(GROUPS)):
        raise InvalidDataset(
            f"the name pattern {name_pattern} has a group {unknown[0]}; the groups with names are {', '.join(GROUPS)}"
        )
    return pattern


def _image_paths(folder: Path) -> dict[str, Path]:
    """{path relative to the folder: path} of each image, sorted by the former."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if is_image(path)}
    paths = {name: paths[name] for name in sorted(paths) if paths[name].is_file()}
    if not paths:
        raise InvalidDataset(
            f"{folder}: no images in it; expected a folder with files that end in {', '.join(IMAGE_SUFFIXES)}"
        )
    return paths


def _left_out(folder: Path, name_pattern: str, others: Sequence[str], images: int) -> str:
    return (
        f"{folder}: {len(others)} of its {images} images do not match the name pattern {name_pattern}, such as "
        f"{others[0]}; they are left out"
    )
