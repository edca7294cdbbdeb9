"""Pictures that are made, and then broken where a decoder looks: in the fields and pieces that their formats have."""

from __future__ import annotations

import io
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image

from qafm.drawn_picture import drawn_picture
from qafm.images import MAX_BYTES

_NUMBERS = (0, 1, 2, 3, 127, 128, 255, 256, 4095, 4096, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
"""What counters overflow at."""

_MOST_BYTES = MAX_BYTES + 1000

Change = Callable[[bytes, random.Random], bytes]


def good_pictures() -> dict[str, bytes]:
    """One of each kind that is accepted, by a name; nobody's picture."""
    rgb = Image.fromarray(drawn_picture())
    faint = rgb.copy()
    faint.putalpha(rgb.convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    made: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "jpeg": (rgb, "JPEG", {}),
        "jpeg, progressive": (rgb, "JPEG", {"progressive": True, "subsampling": 0}),
        "jpeg, restarts": (rgb, "JPEG", {"restart_marker_blocks": 4}),
        "jpeg, turned": (rgb, "JPEG", {"exif": exif}),
        "jpeg, grey": (rgb.convert("L"), "JPEG", {}),
        "jpeg, CMYK": (rgb.convert("CMYK"), "JPEG", {}),
        "png": (rgb, "PNG", {}),
        "png, transparent": (faint, "PNG", {}),
        "png, palette": (rgb.quantize(64), "PNG", {"transparency": 3}),
        "png, one bit": (rgb.convert("1"), "PNG", {}),
        "png, 16 bit": (rgb.convert("I;16"), "PNG", {}),
        "webp": (rgb, "WEBP", {}),
        "webp, lossless": (rgb, "WEBP", {"lossless": True}),
        "webp, transparent": (faint, "WEBP", {}),
        "webp, moving": (rgb, "WEBP", {"save_all": True, "append_images": [faint, rgb]}),
        "bmp": (rgb, "BMP", {}),
        "bmp, palette": (rgb.quantize(16), "BMP", {}),
    }
    return {name: _encoded(image, kind, options) for name, (image, kind, options) in made.items()}


def mutated(seed: int) -> Iterator[tuple[str, bytes]]:
    """Broken pictures without end, the same for a seed: what was broken and how, and the bytes."""
    generator, pictures = random.Random(seed), good_pictures()
    names = sorted(pictures)
    while True:
        name = generator.choice(names)
        data, words = pictures[name], [name]
        for _ in range(generator.choice((1, 1, 1, 2, 4))):
            change = generator.choice((*_ANYWHERE, *_of(data), *_of(data)))
            data = change(data, generator)[:_MOST_BYTES]
            words.append(change.__name__.strip("_"))
        yield " ".join(words), data


def _encoded(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _of(data: bytes) -> tuple[Change, ...]:
    """The changes that fit a format."""
    if data.startswith(b"\xff\xd8"):
        return (_jpeg_number, _jpeg_piece, _jpeg_scans)
    if data.startswith(b"\x89PNG"):
        return (_png_number, _png_piece, _png_rows)
    if data.startswith(b"RIFF"):
        return (_webp_number, _webp_piece)
    return (_bmp_number,)


# --- anywhere


def _bits(data: bytes, generator: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.choice((1, 2, 8, 64))):
        if changed:
            changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _cut(data: bytes, generator: random.Random) -> bytes:
    return data[: generator.randrange(len(data) + 1)]


def _slice(data: bytes, generator: random.Random) -> bytes:
    """A slice lost, doubled, or exchanged for another."""
    start, stop = sorted(generator.randrange(len(data) + 1) for _ in range(2))
    other = generator.randrange(len(data) + 1)
    return data[:start] + generator.choice((b"", data[start:stop] * 2, data[other : other + 64])) + data[stop:]


def _run(data: bytes, generator: random.Random) -> bytes:
    """Many bytes of one kind in the middle."""
    place = generator.randrange(len(data) + 1)
    return data[:place] + generator.randbytes(1) * generator.choice((16, 1000, 100_000)) + data[place:]


_ANYWHERE: tuple[Change, ...] = (_bits, _cut, _slice, _run)


def _with_number(data: bytes, place: int, size: int, order: str, generator: random.Random) -> bytes:
    number = (generator.choice(_NUMBERS) % 256**size).to_bytes(size, order)
    return data[:place] + number + data[place + size :]


# --- JPEG: segments of a marker, a length and a content


_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd9]")
_MOST_PIECES = 2000


def _segments(data: bytes) -> list[tuple[int, int]]:
    """Start and end of each, the data of a scan with its head."""
    starts, place = [], 2
    while len(starts) < _MOST_PIECES and (found := _MARKER.search(data, place)):
        starts.append(found.start())
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return list(zip(starts, [*starts[1:], len(data)], strict=True)) if starts else []


def _jpeg_number(data: bytes, generator: random.Random) -> bytes:
    """A length, or one of the first numbers of a content: sizes, sampling, tables, the order of coefficients."""
    if not (found := _segments(data)):
        return data
    start, stop = generator.choice(found)
    place = start + generator.choice((2, 4, 5, 7, 9, 10, 11, 12, 13, 15, 18))
    return _with_number(data, min(place, stop), generator.choice((1, 2)), "big", generator)


def _jpeg_piece(data: bytes, generator: random.Random) -> bytes:
    """A segment lost, doubled or elsewhere."""
    return _moved(data, _segments(data), generator)


def _jpeg_scans(data: bytes, generator: random.Random) -> bytes:
    """A scan again and again."""
    scans = [(start, stop) for start, stop in _segments(data) if data[start + 1] == 0xDA]
    if not scans:
        return data
    start, stop = generator.choice(scans)
    return data[:stop] + data[start:stop] * generator.choice((1, 20, 400)) + data[stop:]


# --- PNG: chunks of a length, a name, a content and a sum


def _chunks(data: bytes) -> list[tuple[int, int]]:
    found, place = [], 8
    while len(found) < _MOST_PIECES and place + 12 <= len(data):
        stop = place + 12 + int.from_bytes(data[place : place + 4], "big")
        found.append((place, min(stop, len(data))))
        place = stop
    return found


def _png_number(data: bytes, generator: random.Random) -> bytes:
    """A size, a depth, a colour or what stands elsewhere in a chunk's head, mostly with the right sum."""
    if not (found := _chunks(data)):
        return data
    start, stop = found[0] if generator.random() < 0.6 else generator.choice(found)
    place = start + generator.choice((0, 8, 12, 16, 17, 18, 20))
    changed = _with_number(data, min(place, stop), generator.choice((1, 4)), "big", generator)
    if generator.random() < 0.8 and stop <= len(changed):
        changed = changed[: stop - 4] + struct.pack(">I", zlib.crc32(changed[start + 4 : stop - 4])) + changed[stop:]
    return changed


def _png_piece(data: bytes, generator: random.Random) -> bytes:
    """A chunk lost, doubled, elsewhere, or a thousand times."""
    return _moved(data, _chunks(data), generator)


def _png_rows(data: bytes, generator: random.Random) -> bytes:
    """Other rows than the head promises, well packed: far too many, or of another length."""
    rows = generator.randbytes(64) * generator.choice((1, 1000, 100_000))
    body = b"IDAT" + zlib.compress(rows, 1)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    found = [(start, stop) for start, stop in _chunks(data) if data[start + 4 : start + 8] == b"IDAT"]
    return data[: found[0][0]] + chunk + data[found[-1][1] :] if found else data


# --- WebP: chunks of a name, a size and a content


def _webp_chunks(data: bytes) -> list[tuple[int, int]]:
    found, place = [], 12
    while len(found) < _MOST_PIECES and place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        found.append((place, min(place + 8 + size + size % 2, len(data))))
        place = found[-1][1]
    return found


def _webp_number(data: bytes, generator: random.Random) -> bytes:
    if not (found := _webp_chunks(data)):
        return data
    start, stop = generator.choice(found)
    place = start + generator.choice((4, 8, 9, 11, 12, 14, 15, 18, 20, 24))
    return _with_number(data, min(place, stop), generator.choice((1, 2, 3, 4)), "little", generator)


def _webp_piece(data: bytes, generator: random.Random) -> bytes:
    return _moved(data, _webp_chunks(data), generator)


# --- BMP: one head


def _bmp_number(data: bytes, generator: random.Random) -> bytes:
    place = generator.choice((2, 10, 14, 18, 22, 26, 28, 30, 34, 46, 50))
    return _with_number(data, place, generator.choice((1, 2, 4)), "little", generator)


def _moved(data: bytes, pieces: list[tuple[int, int]], generator: random.Random) -> bytes:
    if not pieces:
        return data
    start, stop = generator.choice(pieces)
    piece, rest = data[start:stop], data[:start] + data[stop:]
    place = min(generator.choice(pieces)[0], len(rest))
    times = min(generator.choice((0, 1, 2, 2, 1000)), _MOST_BYTES // max(len(piece), 1))
    return rest[:place] + piece * times + rest[place:]
