"""The pictures that are sent: encoded bytes, or the path of a file of them."""

from __future__ import annotations

import os
from pathlib import Path

from qafm.errors import InvalidImage
from qafm.files import read_file
from qafm.images import MAX_BYTES, decode

Image = bytes | Path


def subject_of(image: Image) -> str | None:
    """What an error calls an image: its path, or nothing."""
    return None if isinstance(image, bytes) else str(image)


def read_image(image: Image) -> bytes:
    """The encoded bytes. Raises InvalidImage where there are too many, or the file cannot be read."""
    if isinstance(image, bytes):
        if len(image) > MAX_BYTES:
            raise InvalidImage(f"the image has {len(image):,} bytes; at most {MAX_BYTES:,} are accepted")
        return image
    try:
        return read_file(image, MAX_BYTES)
    except OSError as error:
        raise InvalidImage(f"{image}: the file cannot be read: {error.strerror}") from error


def picture(path: Path, within: Path) -> bytes:
    """A picture that a page may show: the encoded bytes of a file, or nothing where it is gone or no picture.

    within: a folder. A path that leads out of it, as one in somebody's file may, is not read into a page; a link in it
    is followed.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  (without following links)
    if not path.is_relative_to(os.path.abspath(within)):  # noqa: PTH100
        return b""
    try:
        content = read_file(path, MAX_BYTES)
        decode(content)
    except (OSError, InvalidImage):
        return b""
    return content
