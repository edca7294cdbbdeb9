"""The pictures that are sent: encoded bytes, or the path of a file of them."""

from __future__ import annotations

from pathlib import Path

from qafm.errors import InvalidImage
from qafm.images import MAX_BYTES

Image = bytes | Path


def subject_of(image: Image) -> str | None:
    """What an error calls an image: its path, or nothing."""
    return None if isinstance(image, bytes) else str(image)


def read_image(image: Image) -> bytes:
    """The encoded bytes. Raises InvalidImage where there are too many, or the file cannot be read."""
    if isinstance(image, bytes):
        size = len(image)
    else:
        try:
            size = image.stat().st_size
        except OSError as error:
            raise InvalidImage(f"{image}: the file cannot be read: {error.strerror}") from error
    if size > MAX_BYTES:
        name = "" if isinstance(image, bytes) else f"{image}: "
        raise InvalidImage(f"{name}the image has {size:,} bytes; at most {MAX_BYTES:,} are accepted")
    if isinstance(image, bytes):
        return image
    try:
        return image.read_bytes()
    except OSError as error:
        raise InvalidImage(f"{image}: the file cannot be read: {error.strerror}") from error
