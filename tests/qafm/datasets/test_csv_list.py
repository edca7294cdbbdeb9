from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qafm.datasets.csv_list import CsvList
from qafm.datasets.layouts import open_dataset
from qafm.errors import InvalidDataset
from tests.support.datasets import by_name, make_files

TABLE = """path,pid,camid,split
images/b.JPG,bob,door,query
images/a.png,anna,stairs,gallery
images/c.webp,-1,door,gallery
images/d.bmp,10,door,gallery
images/e.jpeg,2,stairs,train
"""
NAMES = ("images/a.png", "images/b.JPG", "images/c.webp", "images/d.bmp", "images/e.jpeg")


def write(root: Path, table: str | bytes, name: str = "dataset.csv") -> Path:
    make_files(root, NAMES)
    (root / name).write_bytes(table if isinstance(table, bytes) else table.encode())
    return root


def test_each_split_in_the_order_of_the_lines_with_one_numbering(tmp_path):
    dataset = open_dataset(write(tmp_path, TABLE))
    assert isinstance(dataset, CsvList)
    assert by_name(tmp_path, dataset.split("query")) == {"images/b.JPG": (4, 1)}
    assert by_name(tmp_path, dataset.split("gallery")) == {
        "images/a.png": (3, 2),
        "images/c.webp": (-1, 1),
        "images/d.bmp": (1, 1),
    }
    assert by_name(tmp_path, dataset.split("train")) == {"images/e.jpeg": (2, 2)}
    assert (dataset.identities("gallery"), dataset.cameras("gallery")) == ([1, 3], [1, 2])
    assert dataset.attributes("gallery") == {} and dataset.published_counts == {}
    assert dataset.warnings("query", "gallery", "train") == ()


def test_the_file_itself_may_be_named_and_have_any_name(tmp_path):
    dataset = open_dataset(write(tmp_path, TABLE, "Evening.CSV") / "Evening.CSV")
    assert dataset.root == tmp_path
    assert len(dataset.split("gallery")) == 3


def test_other_columns_another_order_spaces_a_mark_of_order_and_empty_lines_do_no_harm(tmp_path):
    table = "\ufeffpath, split ,note,camid,pid\r\n images/a.png , query ,x, 1 , 7 \r\n\r\nimages/b.JPG,gallery,,2,7\r\n"
    dataset = open_dataset(write(tmp_path, table))
    assert by_name(tmp_path, dataset.split("query")) == {"images/a.png": (1, 1)}
    assert by_name(tmp_path, dataset.split("gallery")) == {"images/b.JPG": (1, 2)}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "line 1: expected each of the columns path,pid,camid,split once; not so: path, pid, camid, split"),
        ("path,pid,split\n", "line 1: .* not so: camid"),
        ("path,pid,camid,split,pid\n", "line 1: .* not so: pid"),
        ("path;pid;camid;split\n", "line 1: .* not so: path, pid, camid, split"),
        ("path,pid,camid,split\nimages/a.png,1,1\n", "line 2: expected 4 columns as in line 1, got 3"),
        ("path,pid,camid,split\n\nimages/x.png,1,1,query\n", r"line 3, column path: images/x\.png: no such file"),
        ("path,pid,camid,split\nimages,1,1,query\n", "line 2, column path: images: not the name of an image; .*[.]jpg"),
        ("path,pid,camid,split\n/etc/a.jpg,1,1,query\n", "line 2, column path: /etc/a.jpg: expected a path below"),
        ("path,pid,camid,split\n../a.jpg,1,1,query\n", r"line 2, column path: \.\./a.jpg: expected a path below"),
        ("path,pid,camid,split\n,1,1,query\n", "line 2, column path: is empty"),
        ("path,pid,camid,split\nimages/a.png, ,1,query\n", "line 2, column pid: is empty"),
        ("path,pid,camid,split\nimages/a.png,1,,query\n", "line 2, column camid: is empty"),
        (
            "path,pid,camid,split\nimages/a.png,1,1,val\n",
            "line 2, column split: expected train, query, gallery, got",
        ),
        (TABLE + "./images//a.png,1,1,query\n", "line 7, column path: ./images//a.png is already listed in line 3"),
        ('path,pid,camid,split\n"images/a.png,1,1,query\n', "line 2: not a CSV file: unexpected end of data"),
        ("path,pid,camid,split\nimages/a.png,1,1,query\0\n", "line 2"),
        (TABLE.encode("utf-16"), "not UTF-8"),
        ("path,pid,camid,split\nimages/ä.png,1,1,query\n".encode("latin-1"), "not UTF-8"),
        ("path,pid,camid,split\n" + "a/" * 3000 + "a.jpg,1,1,query\n", "line 2, column path: .*no such file"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_column(tmp_path, table, says):
    with pytest.raises(InvalidDataset, match=rf"dataset\.csv.*{says}"):
        open_dataset(write(tmp_path, table))


def test_a_file_that_is_not_there_and_a_split_without_lines_are_named(tmp_path):
    with pytest.raises(InvalidDataset, match=r"gone\.csv: cannot be read \(No such file"):
        open_dataset(tmp_path / "gone.csv")
    dataset = open_dataset(write(tmp_path, "path,pid,camid,split\nimages/a.png,1,1,query\n"))
    with pytest.raises(InvalidDataset, match=r"dataset\.csv: no line has gallery in the column split"):
        dataset.split("gallery")


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=4).filter(
    lambda text: text == text.strip()
)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=len(NAMES)))
def test_any_text_is_an_identity_or_a_camera(rows):
    """Commas, quotes and line breaks too: two images have the same number where they have the same text."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["path", "pid", "camid", "split"])
    writer.writerows([name, *row, "gallery"] for name, row in zip(NAMES, rows, strict=False))
    with tempfile.TemporaryDirectory() as folder:
        root = write(Path(folder), text.getvalue())
        crops = open_dataset(root).split("gallery")
        assert list(by_name(root, crops)) == list(NAMES[: len(rows)])
    for crop, (pid, camid) in zip(crops, rows, strict=True):
        assert (crop.pid == -1) == (pid == "-1")
        for other, (other_pid, other_camid) in zip(crops, rows, strict=True):
            assert (crop.pid == other.pid) == (pid == other_pid)
            if not (camid.isdecimal() and other_camid.isdecimal()):
                assert (crop.camid == other.camid) == (camid == other_camid)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        try:
            open_dataset(write(Path(folder), content))
        except InvalidDataset as error:
            assert "dataset.csv" in str(error)
