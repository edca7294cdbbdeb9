from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qafm.encoded import MAX_CHUNKS, MAX_PADDING, MAX_SCANS, MAX_SEGMENTS, check_structure
from qafm.errors import InvalidImage
from tests.support.bad_images import ACCEPTED, GOOD, encoded, picture
from tests.support.hostile_images import (
    REFUSED_BY_STRUCTURE,
    bmp_run_lengths,
    jpeg_refined,
    jpeg_with,
    png,
    png_chunk,
)


# The size of a picture is checked where it is opened.
@pytest.mark.parametrize("name", [name for name, (_, why) in REFUSED_BY_STRUCTURE.items() if why != "pixels"])
def test_a_file_that_is_made_to_cost_is_refused_before_it_does(name):
    make, why = REFUSED_BY_STRUCTURE[name]
    data = make()
    begun = time.process_time()
    with pytest.raises(InvalidImage, match=why):
        check_structure(data)
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("name", ACCEPTED)
def test_pictures_pass(name):
    check_structure(ACCEPTED[name].data)


@pytest.mark.parametrize(
    ("within", "beyond", "why"),
    [
        # A progressive colour JPEG of Pillow has ten scans.
        (lambda: jpeg_refined(MAX_SCANS - 10), lambda: jpeg_refined(MAX_SCANS - 9), "32 scans"),
        (
            lambda: jpeg_with(b"\xff\xfe\x00\x02", MAX_SEGMENTS - _segments()),
            lambda: jpeg_with(b"\xff\xfe\x00\x02", MAX_SEGMENTS - _segments() + 1),
            "1,000 segments",
        ),
        (lambda: jpeg_with(b"\xff", MAX_PADDING), lambda: jpeg_with(b"\xff", MAX_PADDING + 1), "65,536 bytes"),
        (lambda: _chunked(MAX_CHUNKS - 3), lambda: _chunked(MAX_CHUNKS - 2), "10,000 chunks"),
    ],
    ids=["scans", "segments", "padding", "chunks"],
)
def test_the_limits_themselves_are_accepted(within, beyond, why):
    check_structure(within())
    with pytest.raises(InvalidImage, match=why):
        check_structure(beyond())


def test_what_looks_like_a_scan_within_a_segment_is_none():
    thumbnail = b"\xff\xda\x00\x02" * 1000
    check_structure(jpeg_with(b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail, 1))


def test_nothing_after_the_end_counts():
    check_structure(GOOD + b"\xff\xfe\x00\x02" * 5000)
    check_structure(_chunked(0) + png_chunk(b"teXt", b"") * 20_000)


def test_a_bmp_without_compression_or_of_the_oldest_kind_passes():
    check_structure(encoded(picture(), "BMP"))
    old = bytearray(bmp_run_lengths(1, 8, 8))
    old[14:18] = (12).to_bytes(4, "little")
    check_structure(bytes(old))


@given(st.sampled_from([b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"BM"]), st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_end_in_a_pass_or_a_refusal(start, rest):
    try:
        check_structure(start + rest)
    except InvalidImage as error:
        assert "\n" not in str(error)


def _segments() -> int:
    """How many a good JPEG has, scans aside: application data, tables, the frame and the end."""
    return sum(GOOD.count(bytes([0xFF, kind])) for kind in (0xE0, 0xDB, 0xC0, 0xC4, 0xD9))


def _chunked(times: int) -> bytes:
    return png(8, 8, bytes(25 * 8), between=png_chunk(b"teXt", b"") * times)
