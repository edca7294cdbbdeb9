"""Which dataset a report is of, without saying where it lies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class DatasetIdentity:
    """Two hashes, in hexadecimal. folder: of the absolute path of the dataset, or of the list of its images. images: of
    its images' names and sizes.

    Either is enough for it to be the same dataset: it may have been moved, or a picture may have been added.
    """

    folder: str
    images: str

    @classmethod
    def of(cls, root: Path, images: Iterable[tuple[str, Path]]) -> DatasetIdentity:
        """root: the dataset's folder, or the file that lists it. images: all of query and gallery, names and files."""
        sizes = sorted((name, _size(file)) for name, file in images)
        return cls(_hash(str(root.resolve())), _hash(json.dumps(sizes)))

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> DatasetIdentity:
        """From JSON. Raises KeyError."""
        return cls(content["folder"], content["images"])

    def same(self, other: DatasetIdentity) -> bool:
        """Whether the two are one dataset."""
        return self.folder == other.folder or self.images == other.images


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # describing it will say why
        return -1


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
