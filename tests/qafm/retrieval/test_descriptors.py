from __future__ import annotations

import dataclasses
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qafm.errors import InvalidDescriptors
from qafm.retrieval.descriptors import (
    RANKED_FIELDS,
    Descriptors,
    read_descriptors,
    require_one_model,
    write_descriptors,
)


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
        scatter=numbers(count, 34),
        utility=numbers(count),
        visual=numbers(count, 1024),
        semantic=numbers(count, 1024),
        attributes=numbers(count, 30),
        model="kudu-4f/qafm",
    )


def ranked(count: int = 3) -> dict[str, np.ndarray]:
    return {name: array for name, array in full(count).arrays().items() if name in RANKED_FIELDS}


@pytest.mark.parametrize("count", [0, 3])
def test_what_is_written_is_read(tmp_path, count):
    path = tmp_path / "query.npz"
    write_descriptors(path, full(count))
    found = read_descriptors(path).arrays()
    expected = full(count).arrays()
    assert found.keys() == expected.keys() == {field.name for field in dataclasses.fields(Descriptors)} - {"model"}
    assert read_descriptors(path).model == "kudu-4f/qafm"
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


def test_a_file_of_format_1_is_read(tmp_path):
    """As the first version wrote it: neither `format` nor `model`, `scatter` or `utility`."""
    path = tmp_path / "query.npz"
    written = {name: array for name, array in full().arrays().items() if name not in ("scatter", "utility")}
    with path.open("wb") as file:
        np.savez(file, **written)
    descriptors = read_descriptors(path)
    assert descriptors.model is None
    assert descriptors.arrays().keys() == written.keys()
    for name, array in written.items():
        np.testing.assert_array_equal(descriptors.arrays()[name], array)


def test_what_is_written_says_its_format(tmp_path):
    write_descriptors(tmp_path / "query.npz", full())
    with np.load(tmp_path / "query.npz", allow_pickle=False) as file:
        assert file["format"].shape == () and file["format"] == 2
        assert file["model"].shape == () and str(file["model"]) == "kudu-4f/qafm"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
@settings(max_examples=60, deadline=None)
def test_a_model_may_have_any_name(tmp_path_factory, name):
    path = tmp_path_factory.mktemp("named") / "query.npz"
    write_descriptors(path, Descriptors(**ranked(), model=name))
    assert read_descriptors(path, RANKED_FIELDS).model == name


@pytest.mark.parametrize(("query", "gallery"), [("a", "a"), (None, "a"), ("a", None), (None, None)])
def test_one_model_or_none_that_is_known(query, gallery):
    require_one_model(query, gallery)


def test_two_models_are_named():
    with pytest.raises(InvalidDescriptors, match="model kudu/qafm, the gallery by heron/qafm.*with one model"):
        require_one_model("kudu/qafm", "heron/qafm")


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
        ({"scatter": np.zeros((3, 35), np.float32)}, r"scatter is float32 \[3, 35\]; expected float32 \[N, 34\]"),
        ({"model": np.array(["a", "b", "c"])}, r"model is str\d+ \[3\]; expected one unicode text"),
        ({"model": np.array(b"a")}, r"model is bytes8 \[\]; expected one unicode text"),
        ({"model": np.array(None)}, "model cannot be read: Object arrays"),
        ({"format": np.array(3)}, "is of format 3, and this version reads formats 1 to 2: .* Update this one"),
        ({"format": np.array(0)}, r"format is array\(0\); expected a whole number from 1 to 2"),
        ({"format": np.array("2")}, "format is array.*; expected a whole number"),
        ({"format": np.array([2])}, "format is array.*; expected a whole number"),
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
    text, array, absent = tmp_path / "text.npz", tmp_path / "array.npz", tmp_path / "absent.npz"
    text.write_text("descriptors")
    with array.open("wb") as file:
        np.save(file, np.zeros(3))
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


def test_a_file_that_unpacks_to_far_more_than_itself_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("descriptors.npy", "w") as file:
        for _ in range(100):
            file.write(bytes(2**20))
    with pytest.raises(InvalidDescriptors, match=r"unpacks to 104,857,600 bytes, from .*; at most 67,108,864 are read"):
        read_descriptors(path)


def test_descriptors_that_are_packed_are_read(tmp_path):
    sparse = np.zeros((1000, 1000), np.float32)  # as far as numbers can be packed
    sparse[:, 0] = 1
    numbers = np.arange(1000)
    np.savez_compressed(tmp_path / "packed.npz", descriptors=sparse, pids=numbers, camids=numbers)
    assert len(read_descriptors(tmp_path / "packed.npz")) == 1000
