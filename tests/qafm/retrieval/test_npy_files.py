"""Descriptors of other programs: an .npy beside a CSV, read whole or refused with the line that is wrong."""

from __future__ import annotations

import contextlib
import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qafm.errors import InvalidDescriptors
from qafm.retrieval.descriptors import read_descriptors

TABLE = 'path,pid,camid\na.jpg,1,2\n"b,\u00fc.jpg",-1,3\n'


def write(folder, array, table=TABLE):
    path = folder / "x.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=True)
    if table is not None:
        path.with_suffix(".csv").write_text(table, encoding="utf-8")
    return path


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_of_each_size_become_float32(tmp_path, dtype, order):
    numbers = np.array([[0.5, -2, 3], [1, 0, 0.25]])
    descriptors = read_descriptors(write(tmp_path, np.asarray(numbers, dtype, order=order)))
    assert descriptors.descriptors.dtype == np.float32
    np.testing.assert_array_equal(descriptors.descriptors, numbers)
    assert (descriptors.pids.tolist(), descriptors.camids.tolist()) == ([1, -1], [2, 3])
    assert descriptors.paths.tolist() == ["a.jpg", "b,\u00fc.jpg"] and descriptors.model is None


def test_columns_in_another_order_with_more_of_them_and_a_byte_order_mark(tmp_path):
    table = "\ufeffcamid,split,path,pid\r\n\r\n2,query,a.jpg,1\r\n 3 ,query,b.jpg,+4\r\n"
    descriptors = read_descriptors(write(tmp_path, np.eye(2, dtype=np.float32), table))
    assert (descriptors.pids.tolist(), descriptors.camids.tolist()) == ([1, 4], [2, 3])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1, None], [2, 3]], object), "x.npy: cannot be read .*Nothing pickled is loaded"),
        (np.ones((2, 3), np.int64), r"is int64 \[2, 3\]; expected float16, float32 or float64 \[N, D\]"),
        (np.ones((2, 3), np.longdouble), "expected float16, float32 or float64"),
        (np.ones((2, 3), complex), "expected float16, float32 or float64"),
        (np.ones(2), r"is float64 \[2\]; expected"),
        (np.array([[1.0, 2], [3, np.nan]]), "x.npy: descriptors has a value that is not finite, first in row 1"),
        (np.array([[1e300, 2], [3, 4]]), "not finite, first in row 0"),
        (np.ones((3, 2)), "x.csv: lists 2 images, but x.npy has 3 rows"),
    ],
)
def test_an_array_that_does_not_hold(tmp_path, array, message):
    with pytest.raises(InvalidDescriptors, match=message):
        read_descriptors(write(tmp_path, array))


def test_a_pickle_by_the_name_of_an_array(tmp_path):
    path = write(tmp_path, np.eye(2))
    path.write_bytes(b"\x80\x04cposix\nsystem\n.")
    with pytest.raises(InvalidDescriptors, match="Nothing pickled is loaded"):
        read_descriptors(path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "x.csv: no such file; expected it beside x.npy, with path,pid,camid in its first line"),
        ("", r"x.csv, line 1: lacks the column\(s\) path, pid, camid"),
        ("a.jpg,1,2\nb.jpg,1,3\n", r"line 1: lacks the column\(s\) path, pid, camid; .*got 'a.jpg,1,2'"),
        ("path,pid\na,1\nb,2\n", r"line 1: lacks the column\(s\) camid"),
        ("path,pid,camid\na,1,1\nb,two,1\n", "x.csv, line 3: pid is 'two'; expected a whole number"),
        ("path,pid,camid\n\na,1,1.5\nb,2,1\n", "line 3: camid is '1.5'"),
        ("path,pid,camid\na,1_0,1\nb,2,1\n", "line 2: pid is '1_0'"),
        ("path,pid,camid\na,9999999999999999999,1\nb,2,1\n", "line 2: pid is '9999999999999999999'"),
        ("path,pid,camid\na,1,1\nb,1\n", "line 3: has 2 values; expected 3"),
        ("path,pid,camid\na,1,1\nb,1,1,1\n", "line 3: has 4 values; expected 3"),
        ('path,pid,camid\na,1,1\n"b,1,1\n', "line 3: unexpected end of data"),
        ("path,pid,camid\na,1,1\n", "lists 1 images, but x.npy has 2 rows"),
    ],
)
def test_a_table_that_does_not_hold_names_the_line(tmp_path, table, message):
    with pytest.raises(InvalidDescriptors, match=message):
        read_descriptors(write(tmp_path, np.eye(2, dtype=np.float32), table))


def test_a_table_in_another_encoding(tmp_path):
    path = write(tmp_path, np.eye(2))
    path.with_suffix(".csv").write_bytes("path,pid,camid\n\u00fc,1,1\nb,1,1\n".encode("latin-1"))
    with pytest.raises(InvalidDescriptors, match="x.csv: cannot be read as UTF-8"):
        read_descriptors(path)


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
numbers = st.integers(-(10**18) + 1, 10**18 - 1)


@given(st.lists(st.tuples(names, numbers, numbers), min_size=1))
@settings(max_examples=60, deadline=None)
def test_what_csv_writes_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "x.npy"
    np.save(path, np.zeros((len(rows), 2), np.float16))
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "pid", "camid"), *rows])
    descriptors = read_descriptors(path)
    assert list(zip(descriptors.paths.tolist(), descriptors.pids, descriptors.camids, strict=True)) == rows


@given(st.integers(0, 160), st.binary(max_size=40), st.integers(0, len(TABLE)), st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_a_damaged_pair_is_read_or_refused(tmp_path_factory, kept, array, kept_text, text):
    path = write(tmp_path_factory.mktemp("damaged"), np.eye(2))
    path.write_bytes(path.read_bytes()[:kept] + array)
    path.with_suffix(".csv").write_bytes(TABLE.encode()[:kept_text] + text)
    with contextlib.suppress(InvalidDescriptors):
        assert len(read_descriptors(path)) == 2
