"""The pictures that are sent, in whatever form a program has them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from qafm.errors import InvalidImage
from qafm.files import read_file
from qafm.images import MAX_BYTES, MIN_SIDE, decode, upright_rgb

Image = bytes | str | os.PathLike[str] | NDArray[np.uint8] | PIL.Image.Image
"""The path of a JPEG, PNG, WebP or BMP file, the bytes of one, pixels uint8 [H,W,3], RGB, or a picture of Pillow's."""


def subject_of(image: Image) -> str | None:
    """What an error calls an image: its path, or nothing."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None


def read_image(image: Image) -> bytes:
    """The encoded bytes; pixels are encoded without loss.

    Raises InvalidImage where there are too many, the file cannot be read, or pixels are not as `Image` says; TypeError
    for anything else.
    """
    if isinstance(image, str | os.PathLike):
        try:
            return read_file(Path(image), MAX_BYTES)
        except (OSError, ValueError) as error:  # a name with a zero in it
            raise InvalidImage(
                f"{os.fspath(image)}: the file cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from error
    if isinstance(image, bytes | bytearray | memoryview):
        data = bytes(image)
    elif isinstance(image, np.ndarray):
        _require_pixels(image)
        data = _encoded(PIL.Image.fromarray(image))
    elif isinstance(image, PIL.Image.Image):
        try:
            data = _encoded(upright_rgb(image.copy()))
        except OSError as error:  # of a file that Pillow has opened and not yet read
            raise InvalidImage(f"the picture cannot be read: {error}") from error
    else:
        raise TypeError(
            f"an image is a path, bytes, an array uint8 [H,W,3] or a picture of Pillow's; got {type(image).__name__}"
        )
    if len(data) > MAX_BYTES:
        raise InvalidImage(f"the image has {len(data):,} bytes; at most {MAX_BYTES:,} are accepted")
    return data


def crops_of(frame: NDArray[np.uint8], boxes: Any) -> list[NDArray[np.uint8]]:
    """The crops of people in a frame, as detectors and trackers have them.

    frame: uint8 [H,W,3], RGB. boxes: numbers [N,4], each x1, y1, x2, y2 in pixels; what lies outside of the frame is
    cut off. A crop under four pixels on a side is returned as it is: describing it says what is wrong with it. Raises
    InvalidImage for a frame, and ValueError for boxes of another shape or that are not finite.
    """
    _require_pixels(frame)
    corners = np.asarray(boxes, np.float64).reshape(-1, 4) if len(boxes) == 0 else np.asarray(boxes, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 4 or not np.isfinite(corners).all():
        raise ValueError(f"boxes are finite numbers [N,4], x1, y1, x2, y2; got an array {list(corners.shape)}")
    height, width = frame.shape[:2]
    limits = np.array([width, height, width, height])
    # Outwards, so that no pixel that a box touches is lost.
    outer = np.concatenate([np.floor(corners[:, :2]), np.ceil(corners[:, 2:])], axis=1).clip(0, limits).astype(int)
    return [frame[top:bottom, left:right] for left, top, right, bottom in outer.tolist()]


def _require_pixels(pixels: NDArray[Any]) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InvalidImage(f"an array of pixels is uint8 [H,W,3], RGB; got {pixels.dtype} {list(pixels.shape)}")
    if min(pixels.shape[:2]) < MIN_SIDE:
        raise InvalidImage(
            f"the image is {pixels.shape[1]}x{pixels.shape[0]} pixels; a person needs at least {MIN_SIDE} on a side"
        )


def _encoded(picture: PIL.Image.Image) -> bytes:
    """As a BMP, which costs no time, or as a PNG where that would be too many bytes."""
    stream = io.BytesIO()
    small = 3 * picture.width * picture.height < MAX_BYTES // 2
    picture.save(stream, "BMP") if small else picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


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
