"""Which datasets can be trained on."""

from __future__ import annotations

import pytest

from qafm.errors import InvalidDataset
from tests.support.datasets import make_files
from train.data import load_training_data


def test_market_1501_without_its_attribute_file_is_refused(tmp_path):
    make_files(tmp_path, [f"bounding_box_train/{pid:04d}_c1s1_000001_00.jpg" for pid in range(1, 6)])
    with pytest.raises(InvalidDataset, match=r"market_attribute\.mat: no such file"):
        load_training_data(tmp_path, seed=0)


def test_a_layout_that_has_no_attributes_is_refused(tmp_path):
    make_files(tmp_path, [f"bounding_box_train/{pid:04d}_c1_f0000001.jpg" for pid in range(1, 6)])
    with pytest.raises(InvalidDataset, match="the layout of DukeMTMC-reID have no attributes, which training needs"):
        load_training_data(tmp_path, seed=0)
