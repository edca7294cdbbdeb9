"""`attributes.csv`: what is read, and what is refused with line and column."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qafm.attributes import MISSING, SCHEMA
from qafm.datasets.attribute_table import read_attribute_table
from qafm.datasets.layouts import open_dataset
from qafm.errors import InvalidDataset
from tests.support.datasets import make_files

PEOPLE = {"anna": 1, "ben": 2, "cem": 3}
TABLE = "pid, gender ,bag,age\nanna,female,yes,teen\n\nben,,no,\nstranger,male,no,old\n"


def read(folder: Path, text: str, encoding: str = "utf-8"):
    path = folder / "attributes.csv"
    path.write_text(text, encoding=encoding)
    return read_attribute_table(path, PEOPLE.get)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_words_become_values_and_what_is_not_said_is_unknown(tmp_path, encoding):
    found = read(tmp_path, TABLE, encoding)
    assert found.keys() == {1, 2}
    names = [attribute.name for attribute in SCHEMA]
    anna = dict(zip(names, found[1].tolist(), strict=True))
    assert {name: value for name, value in anna.items() if value != MISSING} == {"gender": 1, "bag": 1, "age": 1}
    assert [name for name, value in zip(names, found[2], strict=True) if value != MISSING] == ["bag"]
    assert found[1].dtype == np.int8 and found[1].shape == (12,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gender\nmale\n", "line 1: expected the column pid once, got 'gender'"),
        ("pid,gendre\nanna,male\n", "line 1: no attribute is called 'gendre'; did you mean 'gender'"),
        ("pid,shoes\nanna,red\n", "line 1: no attribute is called 'shoes'; expected some of gender, hair"),
        ("pid,bag,bag\nanna,yes,no\n", "line 1: the column bag is there twice"),
        ("pid,bag\nanna,maybe\n", "line 2, column bag: expected no, yes or nothing, got 'maybe'"),
        ("pid,bag\nanna,yes,no\n", "line 2: expected 2 columns as in line 1, got 3"),
        ("pid,bag\nanna,yes\nben,no\nanna,no\n", "line 4: identity anna stands in line 2 already"),
        ("pid,bag\nstranger,yes\n", "none of its lines is of an identity here"),
        ('pid,bag\n"anna,yes\n', "not a CSV file"),
        ("", "line 1: expected the column pid once"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, message):
    with pytest.raises(InvalidDataset, match=message):
        read(tmp_path, text)


def test_another_encoding_is_named(tmp_path):
    (tmp_path / "attributes.csv").write_bytes(b"pid,bag\nan\xffna,yes\n")
    with pytest.raises(InvalidDataset, match="not UTF-8"):
        read_attribute_table(tmp_path / "attributes.csv", PEOPLE.get)


@given(
    st.dictionaries(
        st.sampled_from(sorted(PEOPLE)),
        st.tuples(*(st.integers(MISSING, len(attribute.values) - 1) for attribute in SCHEMA)),
        min_size=1,
    )
)
def test_what_is_written_is_read(tmp_path_factory, people):
    path = tmp_path_factory.mktemp("table") / "attributes.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pid", *(attribute.name for attribute in SCHEMA)])
        for name, row in people.items():
            words = ("" if value == MISSING else each.values[value] for each, value in zip(SCHEMA, row, strict=True))
            writer.writerow([name, *words])
    found = read_attribute_table(path, PEOPLE.get)
    assert {pid: tuple(row.tolist()) for pid, row in found.items()} == {
        PEOPLE[name]: row for name, row in people.items()
    }


def test_msmt17_has_none_for_a_number_there_is_two_people(tmp_path):
    make_files(tmp_path, ["list_train.txt"])
    (tmp_path / "attributes.csv").write_text("pid,hat\n1,yes\n")
    with pytest.raises(InvalidDataset, match="one number names two people in MSMT17"):
        open_dataset(tmp_path).attributes("train")


def test_any_layout_may_have_one_and_its_own_names_of_people(tmp_path):
    make_files(tmp_path / "market", ["bounding_box_train/0007_c1s1_000001_00.jpg"])
    (tmp_path / "market" / "attributes.csv").write_text("pid,hat\n0007,yes\n")
    assert open_dataset(tmp_path / "market").attributes("train")[7].tolist().count(1) == 1

    make_files(tmp_path / "own", ["a.jpg", "b.jpg"])
    (tmp_path / "own" / "dataset.csv").write_text("path,pid,camid,split\na.jpg,zoe,1,train\nb.jpg,anna,1,train\n")
    (tmp_path / "own" / "attributes.csv").write_text("pid,hat\nzoe,yes\n")
    dataset = open_dataset(tmp_path / "own")
    (pid,) = dataset.attributes("train")
    assert dataset.split("train")[0].pid == pid

    make_files(tmp_path / "named", ["train/zoe_1.jpg", "train/anna_1.jpg"])
    (tmp_path / "named" / "attributes.csv").write_text("pid,hat\nanna,no\n")
    named = open_dataset(tmp_path / "named", r"(?P<split>train)/(?P<pid>[^_]+)_1\.jpg")
    hats = named.attributes_of([crop.pid for crop in named.split("train")], "train")[:, 5]
    by_name = {crop.path.name: hat for crop, hat in zip(named.split("train"), hats.tolist(), strict=True)}
    assert by_name == {"zoe_1.jpg": MISSING, "anna_1.jpg": 0}


@pytest.mark.parametrize("name", ["-1", "0", "x", "9" * 5000, "²", ""])
def test_what_names_nobody_is_passed_over(tmp_path, name):
    make_files(tmp_path, ["bounding_box_train/0007_c1s1_000001_00.jpg"])
    (tmp_path / "attributes.csv").write_text(f"pid,hat\n{name},yes\n7,no\n")
    assert open_dataset(tmp_path).attributes("train").keys() == {7}
