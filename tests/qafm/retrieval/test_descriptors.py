from __future__ import annotations

import dataclasses
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qafm.errors import InvalidDescriptors
from qafm.retrieval.descriptors import RANKED_FIELDS, Descriptors, read_descriptors, write_descriptors


def full(count: int = 3) -> Descriptors:
    rng = np.random.default_rng(0)

    def numbers(*shape: int) -> np.ndarray:
        return rng.random(shape, dtype=np.float32)

    return Descriptors(
        descriptors=numbers(count, 1000),
        pids=np.arange(count) - 1,
        camids=np.arange(count) + 1,
        paths=np.array([f"query/{row}_ü.jpg" for row in range(count)], dtype=np.str_),
        alpha=numbers(count),
        identifiability=numbers(count),
        visual=numbers(count, 1024),
        semantic=numbers(count, 1024),
        attributes=numbers(count, 30),
    )


def ranked(count: int = 3) -> dict[str, np.ndarray]:
    return {name: array for name, array in full(count).arrays().items() if name in RANKED_FIELDS}


@pytest.mark.parametrize("count", [0, 3])
def test_what_is_written_is_read(tmp_path, count):
    path = tmp_path / "query.npz"
    write_descriptors(path, full(count))
    found = read_descriptors(path).arrays()
    expected = full(count).arrays()
    assert found.keys() == expected.keys() == {field.name for field in dataclasses.fields(Descriptors)}
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    assert [entry.name for entry in tmp_path.iterdir()] == ["query.npz"]


def test_only_what_is_asked_for_is_read(tmp_path):
    path = tmp_path / "query.npz"
    write_descriptors(path, full())
    assert set(read_descriptors(path, RANKED_FIELDS).arrays()) == set(RANKED_FIELDS)


def test_a_foreign_file_with_only_what_ranking_needs_is_read(tmp_path):
    path = tmp_path / "query.npz"
    np.savez_compressed(path, **ranked(), comment=np.array("mine"))
    assert set(read_descriptors(path).arrays()) == set(RANKED_FIELDS)


def with_nan(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[1, 5] = np.nan
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"camids": None}, r"lacks the array\(s\) camids"),
        ({"descriptors": None, "pids": None}, r"lacks the array\(s\) descriptors, pids"),
        (
            {"descriptors": full().descriptors.astype(np.float64)},
            r"descriptors is float64 \[3, 1000\]; expected float32",
        ),
        (
            {"descriptors": np.zeros(3, np.float32)},
            r"descriptors is float32 \[3\]; expected float32 \[N, D\]",
        ),
        ({"pids": np.arange(3, dtype=np.int32)}, r"pids is int32 \[3\]; expected int64 \[N\]"),
        ({"pids": np.int64(3)}, r"pids is int64 \[\]; expected int64 \[N\]"),
        ({"camids": np.arange(4)}, "camids has 4 rows but pids has 3"),
        ({"paths": np.array([b"a", b"b", b"c"])}, r"paths is bytes\d+ \[3\]; expected unicode"),
        ({"paths": np.array(["a", "b", None], dtype=object)}, "paths cannot be read: Object arrays"),
        (
            {"visual": np.zeros((3, 1000), np.float32)},
            r"visual is float32 \[3, 1000\]; expected float32 \[N, 1024\]",
        ),
        (
            {"descriptors": with_nan(full().descriptors)},
            "descriptors has a value that is not finite, first in row 1",
        ),
    ],
)
def test_a_file_that_does_not_hold_says_why(tmp_path, change, message):
    path = tmp_path / "query.npz"
    arrays = {**ranked(), **change}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(InvalidDescriptors, match=message) as error:
        read_descriptors(path)
    assert str(path) in str(error.value)


def test_what_is_not_an_npz_says_so(tmp_path):
    text, array, absent = tmp_path / "text.npz", tmp_path / "array.npy", tmp_path / "absent.npz"
    text.write_text("descriptors")
    np.save(array, np.zeros(3))
    other = tmp_path / "other.npz"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    for path, message in (
        (text, "not an .npz"),
        (array, "not an .npz"),
        (absent, "no such file"),
        (other, "lacks"),
    ):
        with pytest.raises(InvalidDescriptors, match=message):
            read_descriptors(path)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_refused_or_read_whole(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "query.npz"
    np.savez(path, **ranked())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        found = read_descriptors(path)
    except InvalidDescriptors:
        return
    np.testing.assert_array_equal(found.descriptors, ranked()["descriptors"])


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "query.npz"
    write_descriptors(path, full(2))

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qafm.retrieval.descriptors.np.savez", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_descriptors(path, full(3))
    assert len(read_descriptors(path)) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["query.npz"]
