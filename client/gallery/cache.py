"""What servers said of pictures, kept on this machine: by the model that said it and the content of the picture."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from client.description import Description
from client.images import read_image
from qafm.errors import InvalidImage
from qafm.files import whole_file
from qafm.record import RECORD

MOST_BYTES = 2 * 10**9
"""Of all descriptions together, 150,000 of them; then the oldest go."""
_LEFT = 0.75
_KEY_BYTES = 16
_FIELDS = {field.name: field for field in RECORD}


def cache_folder() -> Path:
    """Where descriptions are kept: in the environment's QAFM_CACHE, else XDG_CACHE_HOME, else ~/.cache."""
    if own := os.environ.get("QAFM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qafm"


def content_key(path: Path) -> bytes:
    """What tells a picture from every other, wherever it lies: 16 bytes. Of one that cannot be read more, and nothing
    is kept under these: describing it will say why."""
    try:
        return hashlib.blake2b(read_image(path), digest_size=_KEY_BYTES).digest()
    except InvalidImage:
        return b"cannot be read: " + os.fsencode(path)


class Cache:
    """The descriptions that one model gave. Each is a file of its own, so several processes may use it at once.

    model: its name. folder: where; nothing is made there before something is kept.
    """

    def __init__(self, model: str, folder: Path | None = None) -> None:
        self._root = folder or cache_folder()
        self._folder = self._root / "descriptions" / model.replace("/", "-").replace("@", "-")
        self._model = model
        self._added = False

    def find(self, key: bytes) -> Description | None:
        """The description of the picture of a key; None where there is none that can be read."""
        if len(key) != _KEY_BYTES:
            return None
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        head, _, rest = content.partition(b"\n")
        numbers, checksum = rest[:-4], rest[-4:]
        if zlib.crc32(head + numbers).to_bytes(4, "little") != checksum:
            return None
        lengths, values = json.loads(head), np.frombuffer(numbers, "<f4")
        if not lengths.keys() <= _FIELDS.keys():
            return None  # of another version of this client
        found: dict[str, object] = {name: None for name in _FIELDS}
        for name, length in lengths.items():
            found[name], values = (values[:length] if _FIELDS[name].shape else float(values[0])), values[length:]
        return Description(**found, model=self._model)  # type: ignore[arg-type]

    def add(self, described: Iterable[tuple[bytes, Description]]) -> None:
        """Keep descriptions, by the keys of their pictures. Raises OSError where that is not possible."""
        for key, description in described:
            if len(key) != _KEY_BYTES:
                continue
            values = {
                name: np.atleast_1d(np.asarray(value, "<f4"))
                for name in _FIELDS
                if (value := getattr(description, name)) is not None
            }
            head = json.dumps({name: len(array) for name, array in values.items()}).encode()
            numbers = b"".join(array.tobytes() for array in values.values())
            path = self._path(key)
            # Descriptions of people: nobody else's business.
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path, durable=False) as file:
                file.write(head + b"\n" + numbers + zlib.crc32(head + numbers).to_bytes(4, "little"))
            self._added = True

    def tidy(self) -> None:
        """Where this has grown too large, and something was kept, delete the oldest of all models."""
        if not self._added:
            return
        files = sorted(_files(self._root / "descriptions"))
        total = sum(size for _, size, _ in files)
        if total <= MOST_BYTES:
            return
        for _, size, path in files:
            if total <= _LEFT * MOST_BYTES:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _path(self, key: bytes) -> Path:
        name = key.hex()
        return self._folder / name[:2] / f"{name[2:]}.description"


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When each was written, its size and where it is."""
    for path in folder.glob("*/*/*.description"):
        try:
            status = path.stat()
        except OSError:  # another process tidies too
            continue
        yield status.st_mtime, status.st_size, path
