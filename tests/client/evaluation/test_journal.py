"""What a killed evaluation leaves, and that the next one goes on from it."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client import ReidClient
from client.description import Description
from client.evaluation.dataset import read_dataset
from client.evaluation.describing import describe_dataset
from client.evaluation.identity import DatasetIdentity
from client.evaluation.journal import Journal, key_of, other_journals
from qafm.errors import InvalidSettings, RequestFailed, ServerUnreachable
from qafm.record import RECORD
from tests.support.pictures import PICTURES

DATASET = DatasetIdentity("f0", "1a")
OUTPUTS = [field.tensor.name for field in RECORD]
KEYS = [bytes([row]) * 16 for row in range(8)]


def description(seed):
    generator = np.random.default_rng(seed)

    def value(field):
        numbers = generator.random(field.shape or (1,), np.float32)
        return numbers if field.shape else float(numbers[0])

    return Description(**{field.name: value(field) for field in RECORD})


def journal(folder, model="aaaa-bbbb/qafm", dataset=DATASET, outputs=OUTPUTS):
    return Journal(folder, model, dataset, outputs)


def add(kept, *rows):
    kept.add([(KEYS[row], description(row)) for row in rows])


def rows(kept):
    return kept.records(KEYS).rows.tolist()


@pytest.fixture
def written(tmp_path):
    with journal(tmp_path) as kept:
        add(kept, 2, 0)
    return kept.path


def test_what_was_added_is_read_back_bitwise(written, tmp_path):
    with journal(tmp_path) as kept:
        add(kept, 1)
        records = kept.records(KEYS)
    assert records.rows.tolist() == [0, 1, 2] and records.places.tolist() == [1, 2, 0]
    for row, place in zip(records.rows, records.places, strict=True):
        expected = description(int(row))
        for field in RECORD:
            assert np.array_equal(records.kept[field.name][place], getattr(expected, field.name)), field.name


def test_images_are_found_by_their_keys_whatever_the_others_are(written, tmp_path):
    """`--limit 100`, and then without it; or one picture that has changed."""
    with journal(tmp_path) as kept:
        assert kept.records(KEYS[2:4]).rows.tolist() == [0]
        assert kept.records([b"another one.... ", KEYS[0]]).rows.tolist() == [1]
        assert kept.records([]).rows.tolist() == []


def test_only_what_the_server_gives_is_kept(tmp_path):
    some = [name for name in OUTPUTS if name not in ("SCATTER", "UTILITY")]
    with journal(tmp_path, outputs=some) as kept:
        add(kept, 0)
        names = kept.records(KEYS).kept.dtype.names
    assert "descriptor" in names and not {"scatter", "utility"} & set(names)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_wherever_it_was_cut_off_the_whole_records_before_stay(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    with journal(folder) as kept:
        head = kept.path.stat().st_size
        add(kept, 2, 0, 1)
    whole = kept.path.read_bytes()
    size = (len(whole) - head) // 3
    cut = data.draw(st.integers(0, len(whole)))
    kept.path.write_bytes(whole[:cut])
    with journal(folder) as kept:
        assert rows(kept) == sorted([2, 0, 1][: max(0, cut - head) // size])
        add(kept, 7)
    with journal(folder) as kept:
        assert rows(kept)[-1] == 7


@pytest.mark.parametrize("place", [400, -1, -5])
def test_a_record_that_was_changed_is_dropped_with_all_after_it(written, tmp_path, place):
    content = bytearray(written.read_bytes())
    content[place] ^= 1
    written.write_bytes(content)
    with journal(tmp_path) as kept:
        assert rows(kept) == ([] if place > 0 else [2])


def test_each_model_has_a_journal_of_its_own(written, tmp_path):
    with journal(tmp_path, model="zzzz-zzzz/qafm") as other:
        assert rows(other) == []
        add(other, 5)
        assert other_journals(tmp_path, other) == [written]
    with journal(tmp_path) as kept:
        assert rows(kept) == [0, 2]


@pytest.mark.parametrize(
    ("dataset", "refused"),
    [
        (DatasetIdentity("f1", "1b"), True),
        (DatasetIdentity("f0", "1b"), False),  # a picture was added
        (DatasetIdentity("f1", "1a"), False),  # the folder was moved
    ],
)
def test_the_journal_of_another_dataset_is_refused_and_stays(written, tmp_path, dataset, refused):
    before = written.read_bytes()
    with pytest.raises(InvalidSettings, match="of another dataset") if refused else nullcontext():  # noqa: SIM117
        with journal(tmp_path, dataset=dataset) as kept:
            assert rows(kept) == [0, 2]
    assert written.read_bytes() == before


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"something else\nand more\n", "got one that begins with b'something else"),
        (b"QAFM descriptions 2\n[]\n", "does not say what it is of"),
        (b"QAFM descriptions 2\n{}\n", "does not say what it is of"),
    ],
)
def test_a_file_that_is_none_is_refused_and_stays(written, tmp_path, head, message):
    written.write_bytes(head)
    with pytest.raises(InvalidSettings, match=message), journal(tmp_path):
        pass
    assert written.read_bytes() == head


def test_what_a_newer_version_adds_to_the_head_is_passed_over(written, tmp_path):
    magic, line, records = written.read_bytes().split(b"\n", 2)
    head = json.loads(line)
    head |= {"more": 1, "dataset": head["dataset"] | {"more": 2}}
    written.write_bytes(b"\n".join((magic, json.dumps(head).encode(), records)))
    with journal(tmp_path) as kept:
        assert rows(kept) == [0, 2]


def test_a_journal_of_a_newer_format_is_refused_and_stays(written, tmp_path):
    before = b"QAFM descriptions 3\n" + written.read_bytes().split(b"\n", 1)[1]
    written.write_bytes(before)
    with (
        pytest.raises(InvalidSettings, match="expected a journal of format 2, got .*descriptions 3"),
        journal(tmp_path),
    ):
        pass
    assert written.read_bytes() == before


def test_a_journal_of_format_1_is_not_read_and_stays(tmp_path):
    """It says of which model and images it is by one hash over all of them."""
    first = tmp_path / "descriptions.journal"
    before = b"QAFM descriptions 1 " + b"0" * 64 + b"\n" + bytes(12324)
    first.write_bytes(before)
    with journal(tmp_path) as kept:
        assert rows(kept) == [] and other_journals(tmp_path, kept) == [first]
    assert first.read_bytes() == before


def test_a_key_is_of_the_name_and_the_version_of_an_image(tmp_path):
    image = tmp_path / "a.jpg"
    image.write_bytes(b"1")
    keys = {key_of("query/a.jpg", image), key_of("gallery/a.jpg", image), key_of("query/a.jpg", tmp_path / "absent")}
    os.utime(image, (1, 1))
    keys.add(key_of("query/a.jpg", image))
    image.write_bytes(b"12")
    os.utime(image, (1, 1))
    assert len({*keys, key_of("query/a.jpg", image)}) == 5 and {len(key) for key in keys} == {16}


def describe(peer, dataset, folder, on_error="skip", warnings=None, limit=None):
    warnings = [] if warnings is None else warnings

    async def run():
        async with ReidClient(peer.url, retry_s=0.5) as client:
            return await describe_dataset(
                client,
                read_dataset(dataset, limit),
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


def test_only_a_changed_image_is_described_anew(peer, dataset, tmp_path):
    describe(peer, dataset, tmp_path)
    (dataset / "query/0002_c1s1_000001_00.jpg").write_bytes(b"3 query")
    warnings = []
    again = describe(peer, dataset, tmp_path, warnings=warnings)
    assert (again.described, warnings) == (1, [])
    assert again.query.descriptors.argmax(axis=1).tolist() == [1, 3]


def test_fewer_queries_first_and_then_all_of_them(peer, dataset, tmp_path):
    assert describe(peer, dataset, tmp_path, limit=1).described == 4
    whole = describe(peer, dataset, tmp_path)
    assert (whole.described, len(whole.query)) == (1, 2)
    assert describe(peer, dataset, tmp_path, limit=1).described == 0


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
