"""Which datasets can be trained on."""

from __future__ import annotations

import pytest

from qafm.attributes import MISSING
from qafm.errors import InvalidDataset
from tests.support.datasets import make_files
from train.data import load_training_data

LAYOUTS = {"Market-1501": "{:04d}_c1s1_000001_00.jpg", "DukeMTMC-reID": "{:04d}_c1_f0000001.jpg"}


@pytest.mark.parametrize("name", LAYOUTS.values(), ids=LAYOUTS)
def test_without_attributes_there_is_a_way_on(tmp_path, name):
    make_files(tmp_path, [f"bounding_box_train/{name.format(pid)}" for pid in range(1, 6)])
    data = load_training_data(tmp_path, seed=0)
    assert data.attributes.shape == (3, 12) and (data.attributes == MISSING).all()
    with pytest.raises(InvalidDataset, match=r"no attributes of .* attributes\.csv there, .*--without-attributes"):
        data.require_attributes()


def test_a_table_of_some_attributes_of_some_people_is_enough(tmp_path):
    make_files(tmp_path, [f"bounding_box_train/{LAYOUTS['DukeMTMC-reID'].format(pid)}" for pid in range(1, 6)])
    before = load_training_data(tmp_path, seed=0)
    known = before.pids[0]
    (tmp_path / "attributes.csv").write_text(f"pid,gender\n{known},female\n")
    data = load_training_data(tmp_path, seed=0)
    data.require_attributes()
    assert data.attributes[:, 0].tolist() == [1 if crop.pid == known else MISSING for crop in data.crops]
    assert data.fingerprint() != before.fingerprint()
    # What one does not know is said, and so is what one does.
    assert data.taught == ["gender"] == data.description()["attributes"]
    assert data.warning == f"{tmp_path / 'attributes.csv'} says nothing of 2 of the 3 people who are trained on"


def test_attributes_that_are_not_asked_for_are_not_read(tmp_path):
    """They may be damaged, or come later for an evaluation."""
    make_files(tmp_path, [f"bounding_box_train/{LAYOUTS['Market-1501'].format(pid)}" for pid in range(1, 6)])
    before = load_training_data(tmp_path, seed=0, attributes=False)
    (tmp_path / "attributes.csv").write_text("no table")
    after = load_training_data(tmp_path, seed=0, attributes=False)
    assert after.fingerprint() == before.fingerprint() and after.taught == [] and after.warning is None


def test_a_list_says_where_what_is_recorded_of_its_images_lies(tmp_path):
    make_files(tmp_path, [f"{pid}.jpg" for pid in range(5)])
    rows = "".join(f"{pid}.jpg,{pid},1,train\n" for pid in range(5))
    (tmp_path / "dataset.csv").write_text(f"path,pid,camid,split\n{rows}")
    data = load_training_data(tmp_path / "dataset.csv", seed=0)
    assert (data.folder, data.root) == (tmp_path / "dataset.csv", tmp_path)


def test_a_table_that_a_layout_cannot_have_is_in_nobodys_way_where_it_is_not_asked_for(tmp_path):
    images = [f"{pid:04d}/{pid:04d}_000_01_0303morning_0015_0.jpg" for pid in range(5)]
    make_files(tmp_path, [f"mask_train_v2/{image}" for image in images])
    (tmp_path / "list_train.txt").write_text("".join(f"{image} {pid}\n" for pid, image in enumerate(images)))
    (tmp_path / "list_val.txt").write_text("")
    (tmp_path / "attributes.csv").write_text("pid,hat\n1,yes\n")
    assert load_training_data(tmp_path, seed=0, attributes=False).taught == []
    with pytest.raises(InvalidDataset, match="one number names two people in MSMT17"):
        load_training_data(tmp_path, seed=0)
