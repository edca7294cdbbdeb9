from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qafm.datasets.crops import without_junk
from qafm.datasets.dataset import shortfall
from qafm.datasets.market1501 import PUBLISHED_COUNTS, Market1501, list_split, parse_name
from qafm.errors import InvalidDataset


def make_folder(root: Path, *names: str, folder: str = "bounding_box_test") -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / folder / name).touch()
    return root


@given(st.integers(-1, 1501), st.integers(1, 6), st.integers(1, 6), st.integers(0, 999999), st.integers(0, 99))
def test_a_name_says_identity_and_camera(pid, camid, sequence, frame, box):
    name = f"{pid:04d}" if pid >= 0 else "-1"
    crop = parse_name(Path(f"{name}_c{camid}s{sequence}_{frame:06d}_{box:02d}.jpg"))
    assert (crop.pid, crop.camid) == (pid, camid)


@pytest.mark.parametrize(
    "name",
    ["person.jpg", "0002_c1s1_000451.jpg", "0002_c0s1_000451_03.jpg", "-2_c1s1_000451_03.jpg", "2_c1s1_1_03.jpg",
     "0002_c1s1_000451_03.jpg.jpg"],
)  # fmt: skip
def test_a_misnamed_file_is_named(tmp_path, name):
    make_folder(tmp_path, "0001_c1s1_000001_00.jpg", name)
    with pytest.raises(InvalidDataset, match=name):
        list_split(tmp_path, "gallery")


def test_junk_and_distractors_are_listed_and_the_order_is_by_name(tmp_path):
    names = [
        "0002_c3s1_000001_00.jpg",
        "-1_c1s1_000001_00.jpg",
        "0000_c6s2_000001_00.jpg",
        "0002_c1s1_000001_00.jpg",
    ]
    make_folder(tmp_path, *names, "Thumbs.db")
    crops = list_split(tmp_path, "gallery")
    assert [crop.path.name for crop in crops] == sorted(names)
    assert [crop.pid for crop in crops] == [-1, 0, 2, 2]
    assert [crop.pid for crop in without_junk(crops)] == [0, 2, 2]


def test_each_split_has_its_folder(tmp_path):
    for folder, split in (
        ("bounding_box_train", "train"),
        ("query", "query"),
        ("bounding_box_test", "gallery"),
    ):
        make_folder(tmp_path, "0007_c2s1_000001_00.jpg", folder=folder)
        assert [crop.pid for crop in list_split(tmp_path, split)] == [7]


def test_a_nearly_complete_copy_is_noticed_and_another_dataset_is_not(tmp_path):
    published = PUBLISHED_COUNTS["query"]
    assert "3,367 images, Market-1501 as published has 3,368" in (
        shortfall("Market-1501", "query", 3367, published) or ""
    )
    for images in (3368, 3031, 3705, 100):
        assert shortfall("Market-1501", "query", images, published) is None
    assert shortfall("CSV", "query", 3367, None) is None
    names = [f"0001_c1s1_{frame:06d}_00.jpg" for frame in range(3367)]
    for folder in ("query", "bounding_box_test"):
        make_folder(tmp_path, *names, folder=folder)
    (warning,) = Market1501(tmp_path).warnings("query", "gallery")
    assert "the query split has 3,367 images" in warning


def test_a_missing_split_and_an_empty_one_are_named(tmp_path):
    make_folder(tmp_path, "notes.txt", folder="query")
    with pytest.raises(InvalidDataset, match="bounding_box_train"):
        list_split(tmp_path, "train")
    with pytest.raises(InvalidDataset, match="no .jpg images in the query split"):
        list_split(tmp_path, "query")
