"""Encoded images a client may send that are no plain RGB JPEG, and what a person would expect of each."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from qafm.images import MAX_BYTES

WIDTH, HEIGHT = 64, 128


@dataclass(frozen=True)
class Case:
    """Encoded bytes, and either why they are refused or the crop they make.

    refused: words of the error's message, in any case; None where the image is described.
    shape: (height, width) of the decoded crop, where it is described.
    top_left: RGB of its top left pixel, to within `tolerance` grey levels a channel, where it is described.
    """

    data: bytes
    refused: str | None = None
    shape: tuple[int, int] | None = None
    top_left: tuple[int, int, int] | None = None
    tolerance: int = 0


def picture() -> Image.Image:
    """RGB, 64 wide and 128 high: smooth colours, with a red top left corner of 16x16."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = np.stack([columns * 3, rows, 255 - rows], axis=-1).astype(np.uint8)
    pixels[:16, :16] = (200, 30, 20)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, file_format: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def _good() -> Case:
    return Case(encoded(picture(), "JPEG", quality=95), None, (HEIGHT, WIDTH), (200, 30, 20), 12)


def _exif_rotated() -> bytes:
    # Stored on its side; orientation 6 says "turn a quarter clockwise to see it upright".
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


def _rgba() -> Image.Image:
    image = picture().convert("RGBA")
    image.putalpha(Image.fromarray(np.where(np.mgrid[0:HEIGHT, 0:WIDTH][0] < 16, 0, 255).astype(np.uint8)))
    return image


def _sixteen_bit() -> Image.Image:
    return Image.fromarray(np.full((HEIGHT, WIDTH), 128 * 257, np.uint16))


def _bomb(side: int = 20_000) -> bytes:
    """A PNG of 49 kB whose header and data are those of a black picture of 20,000x20,000."""
    rows = zlib.compressobj(9)
    line = bytes(1 + side // 8)
    data = b"".join(rows.compress(line) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


GOOD: bytes = _good().data

CASES: dict[str, Case] = {
    "good": _good(),
    # Refused, each for its own reason.
    "empty": Case(b"", refused="empty"),
    "text": Case(b"this is no picture, it is a sentence\n", refused="not a JPEG"),
    "base64": Case(base64.b64encode(GOOD), refused="look like an image in base64: send its bytes"),
    "data_url": Case(b"data:image/jpeg;base64," + base64.b64encode(GOOD), refused="look like an image in base64"),
    "truncated": Case(GOOD[: len(GOOD) // 2], refused="damaged"),
    "one_pixel": Case(encoded(picture().resize((1, 1)), "PNG"), refused="1x1"),
    "bomb": Case(_bomb(), refused="pixels"),
    "too_many_bytes": Case(GOOD + bytes(MAX_BYTES + 1 - len(GOOD)), refused="bytes"),
    # Described as a person would see them.
    "grey": Case(encoded(Image.new("L", (WIDTH, HEIGHT), 90)), None, (HEIGHT, WIDTH), (90, 90, 90), 2),
    "palette": Case(
        encoded(picture().convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        None,
        (HEIGHT, WIDTH),
        (200, 30, 20),
        8,
    ),
    "cmyk": Case(encoded(picture().convert("CMYK"), "JPEG", quality=95), None, (HEIGHT, WIDTH), (200, 30, 20), 16),
    "rgba": Case(encoded(_rgba(), "PNG"), None, (HEIGHT, WIDTH), (255, 255, 255)),
    "sixteen_bit": Case(encoded(_sixteen_bit(), "PNG"), None, (HEIGHT, WIDTH), (128, 128, 128)),
    "exif_rotated": Case(_exif_rotated(), None, (HEIGHT, WIDTH), (200, 30, 20), 12),
    "webp": Case(encoded(picture(), "WEBP", lossless=True), None, (HEIGHT, WIDTH), (200, 30, 20)),
    "bmp": Case(encoded(picture(), "BMP"), None, (HEIGHT, WIDTH), (200, 30, 20)),
}

REFUSED: dict[str, Case] = {name: case for name, case in CASES.items() if case.refused}
ACCEPTED: dict[str, Case] = {name: case for name, case in CASES.items() if not case.refused}
