"""Pictures for a page, small enough that thousands fit."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from qafm.errors import InvalidImage
from qafm.files import read_file
from qafm.images import MAX_BYTES, decode

_SIZE = (64, 128)


def thumbnail(path: Path) -> bytes:
    """As WebP; empty where the picture is gone or cannot be read."""
    try:
        picture = Image.fromarray(decode(read_file(path, MAX_BYTES)))
    except (OSError, InvalidImage):
        return b""
    picture.thumbnail(_SIZE)
    encoded = io.BytesIO()
    picture.save(encoded, "WEBP", quality=70)
    return encoded.getvalue()
