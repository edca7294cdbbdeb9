"""Small files that are made to keep a decoder busy, or to fill its memory. None is a picture of anybody."""

from __future__ import annotations

import struct
import zlib

from PIL import Image

from tests.support.bad_images import GOOD, encoded, picture

SIDE = (4000, 3000)
"""Width and height of what is as large as a picture may be."""


def png(width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 2, between: bytes = b"") -> bytes:
    """A PNG of uncompressed `rows`, with `between` before its data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + between
        + png_chunk(b"IDAT", zlib.compress(rows, 9))
        + png_chunk(b"IEND", b"")
    )


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def jpeg_refined(times: int) -> bytes:
    """A progressive JPEG whose last scan, of a few bytes, comes so many times more."""
    data = encoded(Image.new("RGB", SIDE, "grey"), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * times + data[-2:]


def jpeg_with(segment: bytes, times: int) -> bytes:
    """A good JPEG with a segment so many times in front."""
    return GOOD[:2] + segment * times + GOOD[2:]


def bmp_run_lengths(compression: int, width: int, height: int) -> bytes:
    """A BMP of one line of "repeat"; 1: of eight bits a pixel, 2: of four."""
    bits = {1: 8, 2: 4}[compression]
    palette = bytes(4 * 2**bits)
    data = b"\xff\x01" * (width // 255 + 1) + b"\x00\x01"
    offset = 14 + 40 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, 2**bits, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + palette + data


def png_rgba16(width: int, height: int) -> bytes:
    return png(width, height, bytes((1 + 8 * width) * height), depth=16, colour=6)


def webp_with_alpha(width: int, height: int) -> bytes:
    image = Image.new("RGBA", (width, height), (90, 120, 30, 128))
    return encoded(image, "WEBP", lossless=True, method=0, quality=0)


REFUSED_BY_STRUCTURE = {
    # Name: what makes it, and words of why it is refused.
    "a JPEG refined without end": (lambda: jpeg_refined(20_000), "scans"),
    "a JPEG of comments": (lambda: jpeg_with(b"\xff\xfe\x00\x02", 1_000_000), "segments"),
    "a JPEG of padding": (lambda: jpeg_with(b"\xff" * 1_000_000, 7), "padding"),
    "a JPEG of padding in its data": (lambda: GOOD[:-2] + b"\xff" * 7_000_000 + GOOD[-2:], "padding"),
    "a PNG of empty chunks": (
        lambda: png(8, 8, bytes(25 * 8), between=png_chunk(b"teXt", b"") * 600_000),
        "chunks",
    ),
    "a WebP of empty chunks": (
        lambda: encoded(picture(), "WEBP") + struct.pack("<4sI", b"JUNK", 0) * 1_000_000,
        "chunks",
    ),
    "a BMP in run lengths of 8 bits": (lambda: bmp_run_lengths(1, 8_000_000, 4), "RLE8"),
    "a BMP in run lengths of 4 bits": (lambda: bmp_run_lengths(2, 8_000_000, 4), "RLE4"),
    "a PNG of 32 megapixels": (lambda: png_rgba16(8000, 4000), "pixels"),
    "a WebP of 32 megapixels": (lambda: webp_with_alpha(8000, 4000), "pixels"),
}
