"""The pictures that people have: whatever their form, what is sent decodes to the same pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from client import crops_of
from client.images import read_image, subject_of
from qafm.errors import InvalidImage
from qafm.images import decode
from tests.support.bad_images import ACCEPTED

FRAME = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(4, 40), st.integers(4, 40), st.just(3))))
def test_pixels_are_sent_as_they_are(pixels):
    np.testing.assert_array_equal(decode(read_image(pixels)), pixels)


def test_pixels_that_are_a_view_and_many(tmp_path):
    np.testing.assert_array_equal(decode(read_image(FRAME[5:30:2, ::-1])), FRAME[5:30:2, ::-1])
    many = np.zeros((1024, 1000, 3), np.uint8)
    assert read_image(many).startswith(b"BM")
    many = np.zeros((3000, 1000, 3), np.uint8)
    assert read_image(many).startswith(b"\x89PNG") and decode(read_image(many)).shape == (1024, 341, 3)


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_picture_of_pillows_is_what_its_file_is_and_stays_as_it_was(name, tmp_path):
    data = ACCEPTED[name].data
    with PIL.Image.open(io.BytesIO(data)) as picture:
        before = picture.mode, picture.size, picture.tobytes()
        sent = read_image(picture)
        assert (picture.mode, picture.size, picture.tobytes()) == before
    np.testing.assert_array_equal(decode(sent), decode(data))


def test_a_path_is_a_string_or_a_path_and_bytes_are_of_any_kind(tmp_path):
    path = tmp_path / "crop.jpg"
    path.write_bytes(b"content")
    assert read_image(path) == read_image(str(path)) == b"content"
    assert read_image(bytearray(b"content")) == read_image(memoryview(b"content")) == b"content"
    assert subject_of(path) == subject_of(str(path)) == str(path)
    assert subject_of(b"content") is subject_of(FRAME) is None


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (FRAME.astype(np.float32), r"uint8 \[H,W,3\], RGB; got float32 \[40, 60, 3\]"),
        (FRAME[..., 0], r"got uint8 \[40, 60\]"),
        (FRAME.transpose(2, 0, 1), r"got uint8 \[3, 40, 60\]"),
        (FRAME[:3], "60x3 pixels; a person needs at least 4"),
        (FRAME[:0], "60x0 pixels"),
        ("no-such.jpg", "no-such.jpg: the file cannot be read: No such file"),
        ("a\0b", "the file cannot be read: embedded null"),
        (bytes(9 * 2**20), "9,437,184 bytes; at most 8,388,608"),
    ],
)
def test_what_cannot_be_sent_says_why(image, says):
    with pytest.raises(InvalidImage, match=says):
        read_image(image)


def test_a_picture_of_pillows_that_is_cut_off():
    data = io.BytesIO()
    PIL.Image.fromarray(FRAME).save(data, "JPEG")
    with PIL.Image.open(io.BytesIO(data.getvalue()[:-200])) as picture, pytest.raises(InvalidImage, match="truncated"):
        read_image(picture)


@pytest.mark.parametrize("image", [None, 3, [1, 2], Path])
def test_what_is_no_image_at_all(image):
    with pytest.raises(TypeError, match="an image is a path, bytes, an array"):
        read_image(image)


# --- frames and boxes


def test_crops_are_what_a_box_touches_within_the_frame():
    crops = crops_of(FRAME, [[10, 5, 20, 30], [9.6, 4.2, 19.5, 29.1], [-10, -10, 10, 10], [50, 30, 900, 900]])
    np.testing.assert_array_equal(crops[0], FRAME[5:30, 10:20])
    np.testing.assert_array_equal(crops[1], FRAME[4:30, 9:20])
    np.testing.assert_array_equal(crops[2], FRAME[:10, :10])
    np.testing.assert_array_equal(crops[3], FRAME[30:, 50:])


@given(arrays.arrays(np.float64, (3, 4), elements=st.floats(-100, 200)))
def test_any_box_gives_one_crop(boxes):
    crops = crops_of(FRAME, boxes)
    assert len(crops) == 3
    for (x1, y1, x2, y2), crop in zip(boxes, crops, strict=True):
        inside = [
            (y, x)
            for y in range(40)
            for x in range(60)
            if np.floor(x1) <= x < np.ceil(x2) and np.floor(y1) <= y < np.ceil(y2)
        ]
        assert crop.shape[0] * crop.shape[1] == len(inside)


@pytest.mark.parametrize("boxes", [[], np.zeros((0, 4)), np.zeros((0, 6))])
def test_no_boxes_no_crops(boxes):
    assert crops_of(FRAME, boxes) == []


@pytest.mark.parametrize(
    "boxes", [[1, 2, 3, 4], [[1, 2, 3]], [[1, 2, 3, np.nan]], [[1, 2, 3, np.inf]], np.zeros((2, 5))]
)
def test_boxes_of_another_shape_or_without_end(boxes):
    with pytest.raises(ValueError, match=r"boxes are finite numbers \[N,4\]"):
        crops_of(FRAME, boxes)


def test_a_frame_that_is_none():
    with pytest.raises(InvalidImage, match="uint8"):
        crops_of(FRAME[..., 0], [[1, 2, 3, 4]])
