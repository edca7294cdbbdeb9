"""What an evaluation reads before any image is described."""

from __future__ import annotations

import json

import pytest

from client.evaluation.dataset import read_dataset
from qafm.datasets.degradations import Degradation, write_degradations
from qafm.errors import InvalidDataset
from tests.support.datasets import by_name, make_files

NAMES = [
    "query/0001_c1s1_000001_00.jpg",
    "query/0002_c1s1_000001_00.jpg",
    "bounding_box_test/-1_c1s1_000001_00.jpg",
    "bounding_box_test/0000_c3s1_000001_00.jpg",
    "bounding_box_test/0001_c2s1_000001_00.jpg",
]
DESCRIBED = [*NAMES[:2], *NAMES[3:]]


@pytest.fixture
def data(tmp_path):
    return make_files(tmp_path, NAMES)


def test_query_and_gallery_without_junk(data):
    dataset = read_dataset(data)
    assert list(by_name(data, dataset.query)) == NAMES[:2]
    assert by_name(data, dataset.gallery) == {NAMES[3]: (0, 3), NAMES[4]: (1, 2)}
    assert dataset.attributes == {} and dataset.warnings == () and dataset.root == data


def test_a_limit_takes_the_first_queries_and_the_whole_gallery(data):
    dataset = read_dataset(data, limit=1)
    assert list(by_name(data, dataset.query)) == NAMES[:1]
    assert len(dataset.gallery) == 2


def test_a_list_and_a_name_pattern(data):
    (data / "mine.csv").write_text(f"path,pid,camid,split\n{NAMES[0]},ann,1,query\n{NAMES[4]},ann,2,gallery\n")
    listed = read_dataset(data / "mine.csv")
    assert listed.root == data
    assert by_name(data, listed.query + listed.gallery) == {NAMES[0]: (1, 1), NAMES[4]: (1, 2)}
    (data / "bounding_box_test").rename(data / "gallery")
    make_files(data, ["gallery/readme.png"])
    named = read_dataset(data, name_pattern=r"\w+/(?P<pid>-1|\d+)_c(?P<camid>\d)s1_0+1_00\.jpg")
    assert by_name(data, named.gallery) == {"gallery/" + NAMES[3][18:]: (1, 3), "gallery/" + NAMES[4][18:]: (2, 2)}
    (warning,) = named.warnings
    assert "1 of its 6 images do not match" in warning


def test_degradations_are_checked_before_anything_is_described(data):
    """They are needed when all images are described, and were read only then."""
    file = data / "degradations.json"
    recorded = dict.fromkeys(DESCRIBED, Degradation("none", 0.0))
    write_degradations(file, recorded)
    read_dataset(data).degradations()

    file.write_text(json.dumps({"images": {name: {"kind": "blur", "strength": 1.2} for name in DESCRIBED}}))
    with pytest.raises(InvalidDataset, match=rf"degradations\.json: image {NAMES[0]}: expected"):
        read_dataset(data).degradations()

    del recorded[NAMES[1]]
    write_degradations(file, recorded)
    with pytest.raises(InvalidDataset, match=f"says nothing of 1 of the images; the first is {NAMES[1]}"):
        read_dataset(data).degradations()
    # Junk is not described, nor are the queries after the limit.
    read_dataset(data, limit=1).degradations()
    file.unlink()
    read_dataset(data).degradations()


def test_the_same_check_holds_for_a_list_and_names_its_paths(data):
    (data / "mine.csv").write_text(f"path,pid,camid,split\n{NAMES[0]},ann,1,query\n./{NAMES[4]},ann,2,gallery\n")
    write_degradations(data / "degradations.json", dict.fromkeys([NAMES[0], NAMES[4]], Degradation("none", 0.0)))
    read_dataset(data / "mine.csv").degradations()
    write_degradations(data / "degradations.json", {NAMES[0]: Degradation("none", 0.0)})
    with pytest.raises(InvalidDataset, match=f"the first is {NAMES[4]}"):
        read_dataset(data / "mine.csv").degradations()


def test_two_lists_in_one_folder_are_two_datasets_and_a_limit_is_no_other(data):
    (data / "a.csv").write_text(f"path,pid,camid,split\n{NAMES[0]},ann,1,query\n{NAMES[4]},ann,2,gallery\n")
    (data / "b.csv").write_text(f"path,pid,camid,split\n{NAMES[1]},bob,1,query\n{NAMES[4]},bob,2,gallery\n")
    first, second = read_dataset(data / "a.csv").identity, read_dataset(data / "b.csv").identity
    assert not first.same(second) and first.same(first)
    assert read_dataset(data, limit=1).identity == read_dataset(data).identity
