"""What a killed evaluation leaves, and that the next one goes on from it."""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client import ReidClient
from client.description import Description
from client.evaluation.dataset import read_dataset
from client.evaluation.evaluate import describe_dataset
from client.evaluation.journal import Journal
from qafm.contract import ATTRIBUTE_SIZE, DESCRIPTOR_SIZE, VECTOR_SIZE
from qafm.errors import InvalidSettings, RequestFailed, ServerUnreachable

IMAGES = [("query/a.jpg", 10), ("gallery/b.jpg", 20), ("gallery/c.jpg", 30)]
MANIFEST = {"sha256": "abc"}


def description(seed):
    numbers = np.random.default_rng(seed).random(DESCRIPTOR_SIZE + 2 * VECTOR_SIZE + ATTRIBUTE_SIZE, np.float32)
    descriptor, visual, semantic, attributes = np.split(numbers, np.cumsum([DESCRIPTOR_SIZE, VECTOR_SIZE, VECTOR_SIZE]))
    return Description(
        descriptor=descriptor,
        alpha=float(np.float32(0.1) * seed),
        identifiability=float(seed),
        visual=visual,
        semantic=semantic,
        attribute_probabilities=attributes,
    )


def journal(folder, images=IMAGES, manifest=MANIFEST):
    return Journal(folder / "journal", images, manifest)


def rows(kept):
    return kept.records()["row"].tolist()


@pytest.fixture
def written(tmp_path):
    with journal(tmp_path) as kept:
        for row in (2, 0):
            kept.add(row, description(row))
    return tmp_path / "journal"


def test_what_was_added_is_read_back_bitwise_in_order_of_arrival(written, tmp_path):
    with journal(tmp_path) as kept:
        records = kept.records()
        assert rows(kept) == [2, 0]
        for record in records:
            expected = description(int(record["row"]))
            for name in ("descriptor", "visual", "semantic", "attribute_probabilities"):
                assert np.array_equal(record[name], getattr(expected, name))
            assert record["identifiability"] == record["row"]
        kept.add(1, description(1))
        assert rows(kept) == [2, 0, 1]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_wherever_it_was_cut_off_the_whole_records_before_stay(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    with journal(folder) as kept:
        head = (folder / "journal").stat().st_size
        for row in (2, 0, 1):
            kept.add(row, description(row))
    whole = (folder / "journal").read_bytes()
    size = (len(whole) - head) // 3
    cut = data.draw(st.integers(0, len(whole)))
    (folder / "journal").write_bytes(whole[:cut])
    with journal(folder) as kept:
        assert rows(kept) == [2, 0, 1][: max(0, cut - head) // size]
        kept.add(7, description(7))
    with journal(folder) as kept:
        assert rows(kept)[-1] == 7


@pytest.mark.parametrize("place", [100, -1, -5])
def test_a_record_that_was_changed_is_dropped_with_all_after_it(written, tmp_path, place):
    content = bytearray(written.read_bytes())
    content[place] ^= 1
    written.write_bytes(content)
    with journal(tmp_path) as kept:
        assert rows(kept) == ([] if place > 0 else [2])


@pytest.mark.parametrize(
    ("images", "manifest"), [(IMAGES[:2], MANIFEST), ([*IMAGES[:2], ("gallery/c.jpg", 31)], MANIFEST), (IMAGES, {})]
)
def test_other_images_and_other_models_begin_anew(written, tmp_path, images, manifest):
    with journal(tmp_path, images, manifest) as kept:
        assert rows(kept) == []


def test_a_file_that_is_none_is_replaced(tmp_path):
    (tmp_path / "journal").write_text("something else")
    with journal(tmp_path) as kept:
        assert rows(kept) == []


PICTURES = {
    "query/0001_c1s1_000001_00.jpg": b"1 query",
    "query/0002_c1s1_000001_00.jpg": b"2 query",
    "bounding_box_test/0000_c3s1_000001_00.jpg": b"0 other",
    "bounding_box_test/0001_c2s1_000001_00.jpg": b"1 match",
    "bounding_box_test/0002_c2s1_000001_00.jpg": b"2 match",
}


@pytest.fixture
def dataset(tmp_path):
    """Pictures that the peer has descriptors for."""
    for name, picture in PICTURES.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(picture)
    return tmp_path / "data"


def describe(peer, dataset, folder, on_error="skip", warnings=None):
    warnings = [] if warnings is None else warnings

    async def run():
        async with ReidClient(peer.url, retry_s=0.5) as client:
            return await describe_dataset(
                client,
                read_dataset(dataset),
                folder,
                on_error=on_error,
                concurrency=1,
                progress=lambda *_: nullcontext(lambda: None),
                warn=warnings.append,
            )

    return asyncio.run(run())


def same(one, other):
    sides = ((one.query, other.query), (one.gallery, other.gallery))
    return all(
        np.array_equal(mine, theirs)
        for ours, its in sides
        for mine, theirs in zip(ours.arrays().values(), its.arrays().values(), strict=True)
    )


def put(path, picture, like):
    """Write a picture as if it had always been there."""
    path.write_bytes(picture)
    os.utime(path, ns=(like.st_atime_ns, like.st_mtime_ns))


def test_an_interrupted_evaluation_goes_on_where_it_was(peer, dataset, tmp_path):
    (whole := tmp_path / "whole").mkdir()
    (halved := tmp_path / "halved").mkdir()
    undisturbed = describe(peer, dataset, whole)
    assert undisturbed.described == len(PICTURES)
    third = dataset / "bounding_box_test/0000_c3s1_000001_00.jpg"
    before = third.stat()
    put(third, b"broken.", before)
    with pytest.raises(RequestFailed, match="a stub has died"):
        describe(peer, dataset, halved, on_error="fail")
    put(third, b"0 other", before)
    peer.requests.clear()
    resumed = describe(peer, dataset, halved)
    assert len(peer.requests) == resumed.described == len(PICTURES) - 2
    assert same(resumed, undisturbed) and len(undisturbed.gallery) == 3
    assert describe(peer, dataset, halved).described == 0


def test_a_server_that_is_gone_keeps_what_was_done(peer, dataset, tmp_path):
    last = dataset / "bounding_box_test/0002_c2s1_000001_00.jpg"
    before = last.stat()
    put(last, b"broken.", before)
    describe(peer, dataset, tmp_path)
    peer.fail_late = 10**6
    with pytest.raises(ServerUnreachable):
        describe(peer, dataset, tmp_path)
    peer.fail_late = 0
    put(last, b"2 match", before)
    assert describe(peer, dataset, tmp_path).described == 1


def test_a_changed_image_begins_anew_and_says_so(peer, dataset, tmp_path):
    describe(peer, dataset, tmp_path)
    (dataset / "query/0002_c1s1_000001_00.jpg").write_bytes(b"3 query")
    warnings = []
    assert describe(peer, dataset, tmp_path, warnings=warnings).described == len(PICTURES)
    (warning,) = warnings
    assert "other images or another model" in warning


def test_an_image_that_the_server_did_not_answer_for_is_tried_again(peer, dataset, tmp_path):
    first = dataset / "query/0001_c1s1_000001_00.jpg"
    before = first.stat()
    put(first, b"broken.", before)
    found = describe(peer, dataset, tmp_path)
    assert [image.path for image in found.failed_images] == ["query/0001_c1s1_000001_00.jpg"]
    assert "a stub has died" in found.failed_images[0].reason and found.unanswered == 1
    put(first, b"1 query", before)
    again = describe(peer, dataset, tmp_path)
    assert (again.described, again.failed_images, again.unanswered, len(again.query)) == (1, (), 0, 2)


def test_a_damaged_image_will_not_be_answered_for(peer, dataset, tmp_path):
    (dataset / "query/0001_c1s1_000001_00.jpg").write_bytes(b"bad....")
    found = describe(peer, dataset, tmp_path)
    assert found.failed_images[0].reason == "the image is damaged" and found.unanswered == 0


def test_two_evaluations_into_one_folder_are_refused(written, tmp_path):
    with (
        journal(tmp_path),
        pytest.raises(InvalidSettings, match="another evaluation .* another --report"),
        journal(tmp_path),
    ):
        pass
    with journal(tmp_path) as kept:
        assert rows(kept) == [2, 0]
