"""Files of a run: whole or not at all, whenever a training is killed, and a clear stop where there is no room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from qafm.errors import TrainingFailed


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what goes wrong while writing `path` into TrainingFailed."""
    try:
        yield
    except OSError as error:
        raise TrainingFailed(
            f"{path}: cannot be written ({error.strerror or error}). What the run has so far is intact: "
            "make room, and go on with --resume"
        ) from error


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` only once all of it is on the disk. Raises TrainingFailed."""
    unfinished = path.with_name(f".{path.name}.partial")
    with writing(path):
        try:
            with unfinished.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
