"""Which dataset a report is of, without saying where it lies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DatasetIdentity:
    """Two hashes, in hexadecimal. folder: of the absolute path of the dataset, or of the list of its images. images: of
    its images' names.

    Two datasets are the same if either hash is: a dataset may have been moved, or a picture may have been added.
    """

    folder: str
    images: str

    @classmethod
    def of(cls, root: Path, names: Iterable[str]) -> DatasetIdentity:
        """root: the dataset's folder, or the file that lists it. names: of all its query and gallery images."""
        return cls(_hash(str(root.resolve())), _hash(json.dumps(sorted(names))))

    def same(self, other: DatasetIdentity) -> bool:
        """Whether the two are one dataset."""
        return self.folder == other.folder or self.images == other.images


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
