"""Descriptions of an evaluation as they arrive, in a file that keeps them when the evaluation is killed.

A first line that says of what they are, then one record of a fixed size an image, in the order of arrival: its row,
its numbers, and a checksum of both. Records are only ever added; a last one that was cut off is not counted.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from client.description import Description
from qafm.contract import ATTRIBUTE_SIZE, DESCRIPTOR_SIZE, VECTOR_SIZE
from qafm.errors import InvalidSettings

try:
    import fcntl
except ImportError:  # Windows, where two evaluations into one folder are not noticed
    fcntl = None  # type: ignore[assignment]

_MAGIC = b"QAFM descriptions 1 "
_RECORD = np.dtype(
    [
        ("row", "<u4"),
        ("descriptor", "<f4", DESCRIPTOR_SIZE),
        ("visual", "<f4", VECTOR_SIZE),
        ("semantic", "<f4", VECTOR_SIZE),
        ("attribute_probabilities", "<f4", ATTRIBUTE_SIZE),
        ("alpha", "<f4"),
        ("identifiability", "<f4"),
        ("checksum", "<u4"),
    ]
)
_CHECKED_BYTES = _RECORD.itemsize - 4


class Journal:
    """The journal at `path` of an evaluation of `images` on a server with this `manifest`; use it as a context manager.

    What an earlier evaluation of the same left there is kept, anything else is replaced: `replaced` says whether that
    were descriptions. images: what tells each from another version of it; a row is a place in it.
    Entering raises InvalidSettings where another evaluation has it open.
    """

    replaced = False

    def __init__(self, path: Path, images: Sequence[tuple[str | int, ...]], manifest: dict[str, Any]) -> None:
        self.path = path
        about = json.dumps([manifest, list(images)], sort_keys=True)
        self._head = _MAGIC + hashlib.sha256(about.encode()).hexdigest().encode() + b"\n"
        self._file: BinaryIO | None = None

    def __enter__(self) -> Journal:
        self._file = self.path.open("a+b")
        self._lock(self._file)
        found = self._file.seek(0, os.SEEK_END)
        intact = self._intact(self._file)
        self.replaced = not intact and found > len(self._head)
        self._file.truncate(intact)
        if not intact:
            self._file.write(self._head)
            self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, row: int, description: Description) -> None:
        """Keep the description of one image: from here on it survives the end of this process."""
        assert self._file is not None, "a journal is used as a context manager"
        record = np.zeros((), _RECORD)
        record["row"] = row
        for name in _RECORD.names[1:-1]:  # type: ignore[index]  # a structured type has names
            record[name] = getattr(description, name)
        content = record.tobytes()[:_CHECKED_BYTES]
        self._file.write(content + zlib.crc32(content).to_bytes(4, "little"))
        self._file.flush()

    def records(self) -> NDArray[Any]:
        """All that is kept, a structured array by the names of `Description` and `row`; on the disk, not in memory."""
        size = self.path.stat().st_size - len(self._head)
        if size < _RECORD.itemsize:
            return np.empty(0, _RECORD)
        return np.memmap(self.path, _RECORD, "r", len(self._head), (size // _RECORD.itemsize,))

    def _lock(self, file: BinaryIO) -> None:
        """Until the file is closed, or this process ends, however it does."""
        if fcntl is None:
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise InvalidSettings(
                f"{self.path}: another evaluation is writing there; wait for it, or choose another --report"
            ) from error

    def _intact(self, file: BinaryIO) -> int:
        """How many bytes of the file can be kept; 0 for none."""
        file.seek(0)
        if file.read(len(self._head)) != self._head:
            return 0
        end = file.tell()
        while len(record := file.read(_RECORD.itemsize)) == _RECORD.itemsize:
            content, checksum = record[:_CHECKED_BYTES], record[_CHECKED_BYTES:]
            if zlib.crc32(content) != int.from_bytes(checksum, "little"):
                break
            end = file.tell()
        return end
