"""Files of a run: whole or not at all, whenever a training is killed, and a clear stop where there is no room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from qafm import files
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
def whole_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """`qafm.files.whole_file` for a file of a run. Raises TrainingFailed."""
    with writing(path), files.whole_file(path, durable=durable) as file:
        yield file


def adopt(source: Path, folder: Path) -> None:
    """Copy a file into a folder, whole or not at all; one of its name that is there already stays."""
    if not (folder / source.name).is_file():
        with whole_file(folder / source.name) as file:
            file.write(source.read_bytes())
