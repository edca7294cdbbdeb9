"""What an encoded picture says of itself before anything of it is decoded.

Some files of a few kilobytes keep a decoder busy for minutes: a picture that is refined ten thousand times, a million
empty pieces, a line that says "repeat". They are known by how they are built, and refused by name. What is left is
bounded by pixels, and in a server by the time and memory of the process that decodes (`qafm.serving.decoder`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from qafm.errors import InvalidImage

MAX_PIXELS = 4096 * 3072
"""What cameras call twelve megapixels."""
MAX_SCANS = 32
"""Of a JPEG. Encoders write ten or so for a progressive one; each goes over the whole picture."""
MAX_SEGMENTS = 1000
"""Of a JPEG, between its scans and before them. A colour profile or metadata of megabytes has about a hundred."""
MAX_PADDING = 64 * 1024
"""Bytes of a JPEG that belong to nothing."""
MAX_CHUNKS = 10_000
"""Of a PNG or a WebP. Encoders write a PNG in pieces of at least four kilobytes."""

# After 0xFF: 0x00 is data, 0xFF is padding, 0x01 and 0xD0 to 0xD7 stand alone within data.
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
_JPEG_START, _JPEG_END, _JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_BMP_RUN_LENGTHS = {1: "RLE8", 2: "RLE4"}


def check_structure(data: bytes) -> None:
    """Pass over the pieces of an encoded picture, in time that grows with its bytes alone.

    Raises InvalidImage for a JPEG, PNG, WebP or BMP that is built to cost far more than a picture does. What is none of
    these, or is damaged, is left to the decoder.
    """
    if data.startswith(_JPEG_START):
        _check_jpeg(data)
    elif data.startswith(_PNG_START):
        _check_chunks("PNG", _png_chunks(data))
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _check_chunks("WebP", _webp_chunks(data))
        check_pixels(*_webp_size(data))
    elif data.startswith(b"BM"):
        _check_bmp(data)


def check_pixels(width: int, height: int) -> None:
    """Raises InvalidImage for a picture of more than MAX_PIXELS."""
    if width * height > MAX_PIXELS:
        raise InvalidImage(
            f"the image is {width}x{height} = {width * height:,} pixels; at most {MAX_PIXELS:,} are accepted"
        )


def _check_jpeg(data: bytes) -> None:
    scans = segments = padding = 0
    position = len(_JPEG_START)
    within_scan = False
    while found := _MARKER.search(data, position):
        # Within a scan what lies between two markers is the picture's data, but for bytes 0xFF in a row.
        between = 2 * data.count(b"\xff\xff", position, found.start()) if within_scan else found.start() - position
        padding += between
        marker, position = found[0], found.end()
        within_scan = marker == _JPEG_SCAN
        scans += within_scan
        segments += not within_scan
        for count, most, of_what in (
            (scans, MAX_SCANS, "scans"),
            (segments, MAX_SEGMENTS, "segments"),
            (padding, MAX_PADDING, "bytes of padding"),
        ):
            if count > most:
                raise InvalidImage(f"the image is a JPEG of over {most:,} {of_what}; save it anew as a plain JPEG")
        if marker == _JPEG_END:
            return
        if marker != _JPEG_START:  # the one other without a length
            position += int.from_bytes(data[position : position + 2], "big")


def _check_chunks(kind: str, chunks: Iterator[bytes]) -> None:
    for count, _ in enumerate(chunks, start=1):
        if count > MAX_CHUNKS:
            raise InvalidImage(f"the image is a {kind} of over {MAX_CHUNKS:,} chunks; save it anew as a plain {kind}")


def _png_chunks(data: bytes) -> Iterator[bytes]:
    position = len(_PNG_START)
    while position + 8 <= len(data):
        name = data[position + 4 : position + 8]
        yield name
        if name == b"IEND":
            return
        position += 12 + int.from_bytes(data[position : position + 4], "big")


def _webp_chunks(data: bytes) -> Iterator[bytes]:
    position = 12
    while position + 8 <= len(data):
        yield data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + size % 2


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height as the head says them: the decoder takes memory for them before anybody can ask it."""
    kind, head = data[12:16], data[20:30]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(head[start : start + 3], "little") for start in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (int.from_bytes(head[start : start + 2], "little") & 0x3FFF for start in (6, 8))
    return width, height


def _check_bmp(data: bytes) -> None:
    if int.from_bytes(data[14:18], "little") < 40:  # a header from before there was any compression
        return
    if name := _BMP_RUN_LENGTHS.get(int.from_bytes(data[30:34], "little")):
        raise InvalidImage(f"the image is a BMP in run lengths ({name}), which is not accepted; save it as PNG")
