"""Q of training crops, as a run keeps it."""

from __future__ import annotations

from pathlib import Path

from qafm.datasets.crops import Crop
from train.quality.scores import _names


def crops(*paths: str) -> list[Crop]:
    return [Crop(Path("/data", path), 1, 1) for path in paths]


def test_a_picture_is_told_by_its_file_and_where_two_share_a_name_by_its_path():
    assert _names(crops("train/0001_c1.jpg", "train/0002_c1.jpg")) == ["0001_c1.jpg", "0002_c1.jpg"]
    assert _names(crops("a/x/0.jpg", "b/x/0.jpg", "b/x/1.jpg")) == ["a/x/0.jpg", "b/x/0.jpg", "b/x/1.jpg"]
    assert _names([]) == []
