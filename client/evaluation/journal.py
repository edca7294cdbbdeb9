"""Descriptions of an evaluation as they arrive, in a file that keeps them when the evaluation is killed.

Two lines say what the file is: its format; then, as JSON, the model, the dataset and the fields of a record. One record
of a fixed size follows for each image, in the order of arrival: the image's key, its numbers, and a checksum of both.
Records are only ever added. What comes after a damaged or cut record is not read.

The key is of the image alone: other images, or one that has changed, leave the other records as they are. Each model
has a journal of its own.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from client.description import Description
from client.evaluation.identity import DatasetIdentity
from qafm.errors import InvalidSettings
from qafm.record import RECORD

FORMAT = 2
_MAGIC = f"QAFM descriptions {FORMAT}\n".encode()
_KEY_BYTES = 16
_NAME = "descriptions-{}.journal"
_FIRST_NAME = "descriptions.journal"
"""The name in format 1. Such a journal does not say which images it is of: it is not read, and stays where it is."""


@dataclass(frozen=True)
class _Head:
    model: str
    dataset: dict[str, str]
    fields: list[str]

    def line(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode() + b"\n"


@dataclass(frozen=True, eq=False)
class Records:
    """What a journal keeps of some images.

    rows: int [M], ascending, which of the images they are. places: int [M], where each of them is among `kept`, a
    structured array by the names of the record's fields. It is on the disk, not in memory.
    """

    rows: NDArray[np.intp]
    places: NDArray[np.intp]
    kept: NDArray[Any]


class Journal:
    """The journal in `folder` of one model's descriptions of a dataset; use it as a context manager.

    model: its name. outputs: the names of the tensors that are kept of each image. The records that an earlier
    evaluation of the same dataset by the same model left there are kept. Entering raises InvalidSettings where the
    journal is of another dataset or of a newer format.
    """

    def __init__(self, folder: Path, model: str, dataset: DatasetIdentity, outputs: Sequence[str]) -> None:
        self.path = folder / _NAME.format(model.replace("/", "-").replace("@", "-"))
        self._dataset = dataset
        fields = [field for field in RECORD if field.tensor.name in outputs]
        self._head = _Head(model, asdict(dataset), [field.name for field in fields])
        self._record = np.dtype(
            [
                ("key", f"V{_KEY_BYTES}"),
                *((field.name, "<f4", field.shape) for field in fields),
                ("checksum", "<u4"),
            ]
        )
        self._checked_bytes = self._record.itemsize - 4
        self._start = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Journal:
        self._file = self.path.open("a+b")
        try:
            intact = self._intact(self._file)
            self._file.truncate(intact)
            if not intact:
                self._start = self._file.write(_MAGIC + self._head.line())
                self._file.flush()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, described: Iterable[tuple[bytes, Description]]) -> None:
        """Keep descriptions of images, by their keys: from here on they survive the end of this process."""
        assert self._file is not None, "a journal is used as a context manager"
        for key, description in described:
            record = np.zeros((), self._record)
            record["key"] = np.void(key)
            for name in self._head.fields:
                record[name] = getattr(description, name)
            content = record.tobytes()[: self._checked_bytes]
            self._file.write(content + zlib.crc32(content).to_bytes(4, "little"))
        self._file.flush()

    def records(self, keys: Sequence[bytes]) -> Records:
        """The records of those images whose keys are given, as far as they are kept."""
        size = self.path.stat().st_size - self._start
        if size < self._record.itemsize:
            return Records(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, self._record))
        kept = np.memmap(self.path, self._record, "r", self._start, (size // self._record.itemsize,))
        place_of = {bytes(key): place for place, key in enumerate(kept["key"])}
        known = [(row, place_of[key]) for row, key in enumerate(keys) if key in place_of]
        rows, places = np.array(known, np.intp).reshape(-1, 2).T
        return Records(rows, places, kept)

    def remove(self) -> None:
        """Delete the file, once its content is written elsewhere."""
        self.path.unlink(missing_ok=True)

    def _intact(self, file: BinaryIO) -> int:
        """How many bytes of the file can be kept; 0 for none. Raises InvalidSettings where it is not to be touched."""
        file.seek(0)
        magic, line = file.readline(), file.readline()
        if not line.endswith(b"\n"):
            return 0  # cut off before the first record, or no journal
        if magic != _MAGIC:
            raise InvalidSettings(
                f"{self.path}: expected a journal of format {FORMAT}, got one that begins with {magic[:40]!r}; finish "
                "with the version of this client that wrote it, or choose another --report"
            )
        try:
            head = json.loads(line)
            dataset, fields = DatasetIdentity.read(head["dataset"]), head["fields"]
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidSettings(
                f"{self.path}: the journal does not say what it is of ({error!r}); delete it, or choose another "
                "--report"
            ) from error
        if not self._dataset.same(dataset):
            raise InvalidSettings(
                f"{self.path}: is of another dataset, whose evaluation has not ended; finish that one, delete the "
                "file, or choose another --report"
            )
        if fields != self._head.fields:
            raise InvalidSettings(
                f"{self.path}: expected records of {', '.join(self._head.fields)}, got {fields}; finish with the "
                "client that wrote it, delete the file, or choose another --report"
            )
        self._start = end = file.tell()
        while len(record := file.read(self._record.itemsize)) == self._record.itemsize:
            content, checksum = record[: self._checked_bytes], record[self._checked_bytes :]
            if zlib.crc32(content) != int.from_bytes(checksum, "little"):
                break
            end = file.tell()
        return end


def key_of(path: str, file: Path) -> bytes:
    """What tells an image from every other one and from another version of itself: 16 bytes.

    path: its name in the dataset. file: whose size and time of the last change are part of it.
    """
    try:
        status = file.stat()
        version = (status.st_size, status.st_mtime_ns)
    except OSError:  # describing it will say why
        version = (-1, -1)
    return hashlib.blake2b(json.dumps([path, *version]).encode(), digest_size=_KEY_BYTES).digest()


def other_journals(folder: Path, journal: Journal) -> list[Path]:
    """Journals that other models, or an earlier version of this client, left in the folder."""
    names = {_FIRST_NAME, *(path.name for path in folder.glob(_NAME.format("*")))} - {journal.path.name}
    return [folder / name for name in sorted(names) if (folder / name).is_file()]
