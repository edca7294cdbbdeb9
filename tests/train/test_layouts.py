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
