from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from qafm.contract import HEIGHT, WIDTH
from qafm.encoded import MAX_PIXELS
from qafm.errors import InvalidImage
from qafm.images import MAX_SIDE, MIN_SIDE, decode, resize
from tests.support.bad_images import ACCEPTED, GOOD, REFUSED, encoded, picture


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_image_is_refused_with_its_reason(name):
    with pytest.raises(InvalidImage) as caught:
        decode(REFUSED[name].data)
    assert REFUSED[name].refused.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_unusual_image_looks_as_a_person_would_see_it(name):
    case = ACCEPTED[name]
    crop = decode(case.data)
    assert crop.dtype == np.uint8 and crop.shape == (*case.shape, 3)
    assert np.abs(crop[2, 2].astype(int) - case.top_left).max() <= case.tolerance


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.array([[0, 65535], [256, 32768]], np.uint16).repeat(4, 0).repeat(4, 1)),
        picture().convert("1"),
        picture().convert("LA"),
        picture().convert("P"),
    ],
    ids=["I;16", "1", "LA", "P"],
)
def test_every_mode_of_a_png_becomes_rgb(image):
    crop = decode(encoded(image, "PNG"))
    assert crop.shape == (image.height, image.width, 3)
    if image.mode.startswith("I"):
        assert crop[::4, ::4, 0].tolist() == [[0, 255], [1, 128]]


def test_transparent_pixels_show_white_whatever_colour_hides_behind_them():
    image = Image.new("RGBA", (8, 8), (10, 200, 30, 0))
    assert (decode(encoded(image, "PNG")) == 255).all()


@pytest.mark.parametrize(("size", "expected"), [((2048, 512), (1024, 256)), ((500, 3000), (171, 1024))])
def test_a_large_crop_is_reduced_and_keeps_its_shape(size, expected):
    crop = decode(encoded(Image.new("RGB", size, "grey")))
    assert crop.shape[1::-1] == expected and max(crop.shape) == MAX_SIDE


def test_the_limits_themselves_are_accepted():
    assert decode(encoded(picture().resize((MIN_SIDE, MIN_SIDE)), "PNG")).shape == (MIN_SIDE, MIN_SIDE, 3)
    side = int(MAX_PIXELS**0.5)
    assert decode(encoded(Image.new("L", (side, side)), "PNG")).shape == (MAX_SIDE, MAX_SIDE, 3)
    with pytest.raises(InvalidImage, match="pixels; at most 12,582,912"):
        decode(encoded(Image.new("L", (side + 1, side + 1)), "PNG"))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise_anything_but_invalid_image(data):
    with pytest.raises(InvalidImage):
        decode(data)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, len(GOOD)))
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_refused_or_decoded(position, value, length):
    damaged = bytearray(GOOD[:length])
    if position < length:
        damaged[position] = value
    try:
        crop = decode(bytes(damaged))
    except InvalidImage:
        return
    assert crop.dtype == np.uint8 and crop.ndim == 3 and crop.shape[2] == 3


def test_resize_is_bilinear_with_antialiasing():
    """Against the definition in float64: a triangle as wide as the reduction, over pixel centres."""
    crop = np.random.default_rng(0).integers(0, 256, (500, 90, 3), dtype=np.uint8)

    def weights(source: int, target: int) -> np.ndarray:
        scale = source / target
        support = max(scale, 1.0)
        centres = (np.arange(target) + 0.5) * scale
        triangle = 1 - np.abs(np.arange(source)[None] + 0.5 - centres[:, None]) / support
        triangle = triangle.clip(min=0)
        return triangle / triangle.sum(axis=1, keepdims=True)

    rows = np.tensordot(weights(500, HEIGHT), crop.astype(np.float64), axes=(1, 0))  # [384,90,3]
    expected = np.tensordot(weights(90, WIDTH), rows, axes=(1, 1)).swapaxes(0, 1)
    got = resize(crop)
    assert got.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(got - expected).max() <= 1


@pytest.mark.parametrize("values", [(0, 256), (250, 256), (0, 2)])
def test_a_crop_of_market_1501s_size_is_resized_as_pillow_does_it_to_the_bit(values):
    generator = np.random.default_rng(0)
    for _ in range(20):  # nearly every pair of neighbouring values
        crop = generator.integers(*values, (128, 64, 3), dtype=np.uint8)
        for pixels in (crop, crop[::-1, ::-1]):
            picture = Image.fromarray(np.ascontiguousarray(pixels))
            expected = np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
            assert np.array_equal(resize(pixels), expected)
