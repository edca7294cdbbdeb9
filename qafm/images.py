"""From encoded bytes to the pixels every part of the system sees: one decoder, one resize.

The bytes come from anyone, so the decoder bounds what it accepts before it decodes, and every failure is an
InvalidImage whose message says what was wrong with the picture. A server decodes in a process that can be stopped
(`qafm.serving.decoder`): a limit here bounds what a picture says, not what decoding it takes.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from qafm.contract import HEIGHT, WIDTH
from qafm.encoded import MAX_PIXELS, check_pixels, check_structure
from qafm.errors import InvalidImage
from qafm.resampling import SMALL, enlarged

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MAX_BYTES = 8 * 1024 * 1024
MIN_SIDE = 4
"""Under four pixels on a side there is nothing left to recognise, and bars and ovals cover everything."""
MAX_SIDE = 1024
"""A larger crop is first reduced to this: perturbing it at full size costs much and changes little."""

_BASE64 = (b"/9j/", b"iVBORw0K", b"UklGR", b"data:image/")
"""How JPEG, PNG and WebP begin when they are written in base64, and a data URL of any of them."""

_ROWS = 256
"""A picture is converted in strips of so many rows: a whole one of the largest size takes hundreds of megabytes."""
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def decode(data: bytes) -> np.ndarray:
    """Decode an image file to a crop: uint8 [H,W,3], RGB, upright, no side over MAX_SIDE.

    JPEG, PNG, WebP and BMP in any mode: grey, palette and CMYK become RGB, 16 bits become 8, transparency is laid
    over white, the EXIF orientation is applied, an animation gives its first picture.
    Raises InvalidImage, naming the reason.
    """
    if not data:
        raise InvalidImage("the image is empty (0 bytes); expected an encoded JPEG, PNG, WebP or BMP")
    if len(data) > MAX_BYTES:
        raise InvalidImage(f"the image has {len(data):,} bytes; at most {MAX_BYTES:,} are accepted")
    check_structure(data)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image)
            image.load()
            return np.asarray(_reduced(upright_rgb(image)))
    except InvalidImage:
        raise
    except Image.DecompressionBombError as error:
        raise InvalidImage(f"the image is too large: at most {MAX_PIXELS:,} pixels are accepted") from error
    except UnidentifiedImageError as error:
        said = f"the {len(data):,} bytes are not a JPEG, PNG, WebP or BMP image (they begin {data[:8]!r})"
        if data.startswith(_BASE64):
            said += "; they look like an image in base64: send its bytes as they are"
        raise InvalidImage(said) from error
    except MemoryError as error:
        raise InvalidImage("the image takes more memory to decode than a picture of its size should") from error
    except Exception as error:  # a damaged file makes Pillow raise OSError, SyntaxError, ValueError, struct.error ...
        raise InvalidImage(f"the image is damaged and cannot be decoded: {error}") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode in RGB, as `decode` sees it: turned as its EXIF says, transparency laid over white."""
    ImageOps.exif_transpose(image, in_place=True)
    return _as_rgb(image)


def resize(crop: np.ndarray) -> np.ndarray:
    """The one resize: a crop uint8 [H,W,3] of any size to uint8 [384,128,3], bilinear, antialiased, as Pillow's."""
    if crop.shape[:2] == SMALL:
        return enlarged(crop)
    return np.asarray(Image.fromarray(crop).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    check_pixels(width, height)
    if min(width, height) < MIN_SIDE:
        raise InvalidImage(f"the image is {width}x{height} pixels; a person needs at least {MIN_SIDE} on either side")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode in _SIXTEEN_BIT:
        strip_as_rgb = _from_sixteen_bit
    elif image.has_transparency_data:
        strip_as_rgb = _over_white
    else:
        return image.convert("RGB")
    rgb = Image.new("RGB", image.size)
    for top in range(0, image.height, _ROWS):
        strip = image.crop((0, top, image.width, min(top + _ROWS, image.height)))
        rgb.paste(strip_as_rgb(strip), (0, top))
    return rgb


def _from_sixteen_bit(image: Image.Image) -> Image.Image:
    # Pillow clips 16-bit grey at 255 when it converts; 257 maps 65535 to 255 exactly.
    grey = (np.asarray(image).clip(0, 65535).astype(np.uint32) + 128) // 257
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _reduced(image: Image.Image) -> Image.Image:
    longest = max(image.size)
    if longest <= MAX_SIDE:
        return image
    width, height = (max(MIN_SIDE, round(side * MAX_SIDE / longest)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)
