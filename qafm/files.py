"""Files that are read with a limit, and written whole or not at all; folders in which one process works at a time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where two processes at the same file are not noticed
    fcntl = None  # type: ignore[assignment]


def read_file(path: Path, most_bytes: int) -> bytes:
    """The content of a regular file. A pipe, which may never end, and a device are not read.

    Raises OSError, whose `strerror` says why.
    """
    # Opening a pipe without O_NONBLOCK waits for somebody to write.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        content = file.read(most_bytes + 1)
        if len(content) > most_bytes:
            size = max(status.st_size, len(content))
            raise OSError(errno.EFBIG, f"it has {size:,} bytes; at most {most_bytes:,} are read", str(path))
    return content


def sha256_of(path: Path) -> str:
    """Of a file's content, in hexadecimal. Raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` only once all of it is written, and `durable`, on the disk.

    An error leaves the file that was there before, or none. Of a link the target is replaced; what is no file, such as
    a pipe, is written as it is. A process that is killed half-way leaves
    `.NAME.partial`, which the next writer of the same file takes over; a second writer waits for the first. Raises
    OSError.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:  # a pipe, or /dev/stdout
            yield stream
        return
    path = path.resolve()  # a link stays one
    unfinished = path.with_name(f".{path.name}.partial")
    try:
        file = _ours(unfinished)
    except OSError as error:
        error.filename = str(path)  # the name that the caller knows
        raise
    try:
        with file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and programs, the file whole. Raises OSError."""
    with whole_file(path) as file:
        file.write((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


@contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """Hold a folder until the context, or the process, ends. Yields False where another process holds it already."""
    if fcntl is None:
        yield True
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except OSError as error:
            # Any other error is of a file system that cannot lock, such as some network ones.
            alone = not isinstance(error, BlockingIOError)
        yield alone
    finally:
        os.close(place)


def _ours(path: Path) -> BinaryIO:
    """An empty file at `path` that no other process writes."""
    while True:
        # Not yet emptied: it may be another writer's.
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "wb")
        if fcntl is not None:
            with suppress(OSError):  # a file system that cannot lock
                fcntl.flock(file, fcntl.LOCK_EX)
        # While this one waited, the writer before has moved its file away.
        if path.is_file() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            file.truncate(0)
            return file
        file.close()
