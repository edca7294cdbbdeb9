"""`degradations.json`: what is recorded to be wrong with each image of a dataset, and how badly.

    {"version": 1,
     "fields": {"kind": ..., "strength": ...},
     "images": {"query/0001_c1s1_000151_00.jpg": {"kind": "blur", "strength": 0.5}, ...}}

The paths are relative to the folder of the file, with forward slashes. `fields` says in words what the two mean;
nothing reads it. A file without `version` is read as version 1, one of a later version is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qafm.datasets.crops import Crop
from qafm.errors import InvalidDataset
from qafm.files import whole_file

DEGRADATION_FILE = "degradations.json"
VERSION = 1
LEVELS = ("none", "slight", "medium", "severe")
"""Of a strength: 0, up to 1/3, up to 2/3, above."""

_FIELDS = {
    "kind": "what is wrong: none, blur, low_resolution, noise, darkness or occlusion",
    "strength": "how badly: 0 with kind none, else over 0 (hardly) to 1 (severely)",
}


class Degradation(NamedTuple):
    """What is wrong with one image. strength: from 0, nothing, to 1, as bad as it gets."""

    kind: str
    strength: float


def level(strength: float) -> str:
    """The level of a strength in [0,1]."""
    return LEVELS[math.ceil(strength * 3)]


def read_degradations(path: Path) -> dict[str, Degradation]:
    """{path of an image, relative to the dataset: what is wrong with it}.

    Raises InvalidDataset for a file that is missing or of another format, or a strength that is not in [0,1]: it
    names the image.
    """
    content = _load(path)
    version = content.get("version", VERSION)
    if version != VERSION:
        raise InvalidDataset(f"{path}: its version is {version!r}; this program reads version {VERSION}")
    images = content.get("images")
    if not isinstance(images, dict):
        raise InvalidDataset(f'{path}: not a degradations.json; expected {{"images": {{PATH: {{...}}}}}}')
    return {image: _degradation(path, image, entry) for image, entry in images.items()}


def undegraded(crops: Sequence[Crop], root: Path) -> list[Crop]:
    """Those with which nothing is wrong yet, where the dataset at `root` records that for some of them; else all."""
    if not (root / DEGRADATION_FILE).is_file():
        return list(crops)
    recorded = read_degradations(root / DEGRADATION_FILE)
    names = (crop.path.relative_to(root).as_posix() for crop in crops)
    clean = [crop for crop, name in zip(crops, names, strict=True) if name in recorded and not recorded[name].strength]
    return clean or list(crops)


def write_degradations(path: Path, images: Mapping[str, Degradation]) -> None:
    """Write the record of all images, sorted by path, the file whole. Raises OSError."""
    content = {
        "version": VERSION,
        "fields": _FIELDS,
        "images": {image: images[image]._asdict() for image in sorted(images)},
    }
    with whole_file(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def require_recorded(recorded: Mapping[str, Degradation], images: Iterable[str], path: Path) -> None:
    """Raise InvalidDataset where one of the images is not in what was read from `path`."""
    if absent := [image for image in images if image not in recorded]:
        raise InvalidDataset(
            f"{path}: says nothing of {len(absent)} of the images; the first is {absent[0]}. Add them, with the kind "
            "none and the strength 0 where nothing is wrong, or move the file away"
        )


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidDataset(f"{path}: not a degradations.json ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict):
        raise InvalidDataset(f"{path}: not a degradations.json; expected an object, got {type(content).__name__}")
    return content


def _degradation(path: Path, image: str, entry: Any) -> Degradation:
    known: dict[str, Any] = entry if isinstance(entry, dict) else {}
    kind: Any = known.get("kind")
    strength: Any = known.get("strength")
    # JSON's true and false are numbers to Python; its NaN is in no range.
    if not isinstance(kind, str) or type(strength) not in (int, float) or not 0 <= strength <= 1:
        raise InvalidDataset(
            f'{path}: image {image}: expected {{"kind": a text, "strength": a number from 0 to 1}}, '
            f"got {json.dumps(entry)}"
        )
    return Degradation(kind, float(strength))
