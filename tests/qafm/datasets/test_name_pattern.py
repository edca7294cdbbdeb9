from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qafm.datasets.layouts import open_dataset
from qafm.datasets.name_pattern import list_images
from qafm.errors import InvalidDataset
from tests.support.datasets import by_name, make_files

FOLDERS = ["query/anna_2.jpg", "gallery/anna_1.JPG", "gallery/sub/bob_10.png", "gallery/-1_1.webp", "gallery/0_1.bmp"]
IN_FOLDERS = r".*?(?P<pid>[^/]+)_(?P<camid>\d+)\.\w+"


def test_two_folders_say_query_and_gallery_and_share_one_numbering(tmp_path):
    dataset = open_dataset(make_files(tmp_path, FOLDERS), IN_FOLDERS)
    assert by_name(tmp_path, dataset.split("query")) == {"query/anna_2.jpg": (2, 2)}
    assert by_name(tmp_path, dataset.split("gallery")) == {
        "gallery/-1_1.webp": (-1, 1),
        "gallery/0_1.bmp": (1, 1),
        "gallery/anna_1.JPG": (2, 1),
        "gallery/sub/bob_10.png": (3, 10),
    }
    assert (dataset.identities("gallery"), dataset.cameras("gallery")) == ([1, 2, 3], [1, 10])
    assert dataset.warnings("query", "gallery") == ()


def test_a_group_says_the_split_wherever_the_file_is(tmp_path):
    make_files(tmp_path, ["a/7-query-door.jpg", "a/7-gallery-stairs.jpg", "7-train-door.jpg", "query/7-val-door.jpg"])
    dataset = open_dataset(tmp_path, r"(?:.*/)?(?P<pid>\d+)-(?P<split>\w+)-(?P<camid>\w+)\.jpg")
    for split, name, camid in (
        ("query", "a/7-query-door.jpg", 1),
        ("gallery", "a/7-gallery-stairs.jpg", 2),
        ("train", "7-train-door.jpg", 1),
    ):
        assert by_name(tmp_path, dataset.split(split)) == {name: (1, camid)}
    (warning,) = dataset.warnings("query", "gallery")
    assert "1 images of the split val are left out; read are train, query, gallery" in warning


def test_without_a_camera_each_picture_is_its_own(tmp_path):
    dataset = open_dataset(make_files(tmp_path, FOLDERS), r"\w+/(?:sub/)?(?P<pid>[^_]+)_.*")
    crops = [*dataset.split("query"), *dataset.split("gallery")]
    assert len({crop.camid for crop in crops}) == len(crops) == len(FOLDERS)


def test_files_that_do_not_match_are_counted_and_one_is_named(tmp_path):
    names = [*FOLDERS, "gallery/_1.jpg", "gallery/z.jpg", "notes.txt", "top_1.jpg"]
    dataset = open_dataset(make_files(tmp_path, names), IN_FOLDERS)
    unmatched, elsewhere = dataset.warnings("query", "gallery")
    assert "2 of its 8 images do not match the name pattern" in unmatched and "such as gallery/_1.jpg" in unmatched
    assert "1 images of the split (none) are left out" in elsewhere


def test_a_group_that_matches_nothing_is_no_match(tmp_path):
    make_files(tmp_path, ["query/7.jpg", "query/7_1.jpg"])
    images = list_images(tmp_path, r"query/(?P<pid>\d+)(?:_(?P<camid>\d+))?\.jpg")
    assert by_name(tmp_path, images.crops) == {"query/7_1.jpg": (1, 1)}
    assert images.warning is not None and "such as query/7.jpg" in images.warning


def test_the_whole_path_has_to_match_and_a_name_is_shown_where_none_does(tmp_path):
    make_files(tmp_path, FOLDERS)
    with pytest.raises(
        InvalidDataset, match=r"none of its 5 images matches the name pattern .*camid.*, such as gallery/"
    ):
        open_dataset(tmp_path, r".*/(?P<pid>[^/]+)_(?P<camid>\d+)")


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(?P<pid>", r"name pattern \(\?P<pid> is not a regular expression: .*unterminated"),
        ("(?P<pid>a{99999999999999999999})", "is not a regular expression"),
        ("", r"does not say which part is the identity; mark it as \(\?P<pid>\.\.\.\)"),
        (r"(\d+)_(?P<camid>\d)", "does not say which part is the identity"),
        (r"(?P<pid>\d+)_(?P<cam>\d)", "has a group cam; the groups with names are pid, camid, split"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(tmp_path, pattern, says):
    with pytest.raises(InvalidDataset, match=says):
        open_dataset(make_files(tmp_path, FOLDERS), pattern)


def test_a_missing_split_and_a_folder_without_images_say_what_to_do(tmp_path):
    make_files(tmp_path, ["all/a_1.jpg"])
    with pytest.raises(InvalidDataset, match=r"no image belongs to the query split.*\(\?P<split>"):
        open_dataset(tmp_path, IN_FOLDERS).split("query")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "gone"):
        with pytest.raises(InvalidDataset, match=f"{name}: no images in it"):
            open_dataset(tmp_path / name, IN_FOLDERS)


def test_for_a_search_images_need_no_split_and_their_identity_can_be_named(tmp_path):
    images = list_images(make_files(tmp_path, ["b_2.jpg", "a_1.jpg", "sub/-1_3.jpg"]), IN_FOLDERS)
    assert by_name(tmp_path, images.crops) == {"a_1.jpg": (1, 1), "b_2.jpg": (2, 2), "sub/-1_3.jpg": (-1, 3)}
    assert [images.pid_texts[crop.pid] for crop in images.crops] == ["a", "b", "-1"]
    assert images.warning is None


NAME = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=4)


@given(st.sets(st.tuples(st.sampled_from(["query", "gallery"]), NAME, NAME), min_size=1, max_size=6))
def test_any_name_that_the_pattern_matches_is_one_crop(names):
    """Two images have the same pid where their names have the same text, and only there."""
    wanted = {f"{split}/{pid}_{camid}.jpg": (pid, camid) for split, pid, camid in names}
    with tempfile.TemporaryDirectory() as folder:
        root = make_files(Path(folder), wanted)
        images = list_images(root, r"\w+/(?P<pid>.+)_(?P<camid>.+)\.jpg")
        crops = dict(zip(by_name(root, images.crops), images.crops, strict=True))
    assert list(crops) == sorted(wanted)
    for name, (pid, _) in wanted.items():
        assert images.pid_texts[crops[name].pid] == pid
        for other, (other_pid, _) in wanted.items():
            assert (crops[name].pid == crops[other].pid) == (pid == other_pid)
