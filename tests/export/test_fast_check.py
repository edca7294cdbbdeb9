"""The gate of one look: what it measures by hand, and that what does not pass is not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.fast_check import BOUNDS, check_fast, measure_fast
from export.quality_check import Looked, spoil
from export.repository import install
from qafm.contract import ALPHA, DESCRIPTOR, IDENTIFIABILITY, SCATTER, UTILITY
from qafm.datasets.crops import Crop
from qafm.datasets.degradations import Degradation
from qafm.retrieval.descriptors import Descriptors
from tests.support.seeded_repository import seeded_networks, seeded_utility
from train.quality.spoilt import Spoilt

COUNT = 40


def looked(*, cameras: int = 2) -> Looked:
    """Twenty people; the pictures of the first ten are found, and have the higher utility."""
    generator = np.random.default_rng(0)
    pids, camids = np.arange(COUNT) // 2, np.arange(COUNT) % cameras
    people = np.eye(1000)[:20][pids]
    blurred = np.where(pids[:, None] < 10, people, np.eye(1000)[20 + np.arange(COUNT)])
    outputs = {
        IDENTIFIABILITY.name: generator.random((COUNT, 1)).astype(np.float32),
        UTILITY.name: (1 - pids[:, None] / 20 + generator.random((COUNT, 1)) / 100).astype(np.float32),
        SCATTER.name: generator.random((COUNT, 34)).astype(np.float32),
        ALPHA.name: np.full((COUNT, 1), 0.5, np.float32),
        DESCRIPTOR.name: blurred.astype(np.float32),
    }
    crops = [Crop(Path(f"{row}.jpg"), int(pids[row]), int(camids[row])) for row in range(COUNT)]
    pictures = [Spoilt(crop, Degradation("blur", 0.5), 0) for crop in crops]
    gallery = Descriptors(people.astype(np.float32), pids.astype(np.int64), camids.astype(np.int64))
    return Looked(pictures, outputs, {name: values.copy() for name, values in outputs.items()}, gallery)


def test_what_says_the_same_may_be_served():
    found = check_fast(looked())
    assert found["installed"] and found["pictures"] == COUNT
    assert {name: found[name]["measured"] for name in BOUNDS} == {
        "identifiability_spearman": pytest.approx(1),
        "utility_spearman": pytest.approx(1),
        "alpha_difference": 0,
        "mAP_difference": 0,
        "discard_loss": 0,
    }


@pytest.mark.parametrize(
    ("name", "change", "measure", "expected"),
    [
        (IDENTIFIABILITY.name, lambda values: -values, "identifiability_spearman", -1),
        (UTILITY.name, lambda values: 1 - values, "utility_spearman", -1),
        (ALPHA.name, lambda values: values + np.float32(0.25), "alpha_difference", 0.25),
        # Those that were found are not any more.
        (DESCRIPTOR.name, lambda values: np.eye(1000, dtype=np.float32)[60:100], "mAP_difference", None),
        (UTILITY.name, lambda values: values[::-1], "discard_loss", None),
    ],
)
def test_each_difference_is_measured_and_refused(name, change, measure, expected):
    judged = looked()
    judged.fast[name] = change(judged.fast[name])
    found = check_fast(judged)
    assert not found["installed"]
    value = found[measure]["measured"]
    assert not BOUNDS[measure].holds(value)
    assert expected is None or value == pytest.approx(expected)
    if measure == "discard_loss":
        # Leaving out those who are found costs, where leaving out the others gained.
        assert value > 0.1


def test_without_another_camera_nothing_is_known_and_nothing_served():
    measured = measure_fast(looked(cameras=1))
    assert np.isnan(measured["mAP_difference"]) and np.isnan(measured["discard_loss"])
    assert not check_fast(looked(cameras=1))["installed"]


@pytest.mark.export
def test_what_does_not_pass_is_left_out_and_the_rest_is_served(tmp_path):
    """An untrained one."""
    crops = []
    for pid in range(1, 8):
        for camid in (1, 2):
            path = tmp_path / f"{pid:04d}_c{camid}s1_000000_00.png"
            Image.new("RGB", (64, 128), (10 * pid, 150, 140)).save(path)
            crops.append(Crop(path, pid, camid))
    repository = tmp_path / "models"
    utility, spoilt = seeded_utility(), spoil(crops, seed=0)
    manifest = install(seeded_networks(), repository, {"run": "untrained"}, utility=utility, spoilt=spoilt)
    assert not manifest.content["fast"]["installed"] and manifest.content["fast"]["pictures"] == len(spoilt)
    assert not (repository / "quality").exists() and not (repository / "qafm_fast").exists()
    assert manifest.fingerprints.keys() == {"qafm", "qafm_fixed_alpha"}
    assert "quality" not in manifest.content["graphs"]


@pytest.mark.export
def test_without_a_utility_there_is_no_network_that_says_one(tmp_path):
    manifest = install(seeded_networks(), tmp_path / "models", {"run": "untrained"})
    assert manifest.content["fast"] is None and "qafm_fast" not in manifest.fingerprints
    assert "UTILITY" not in (tmp_path / "models" / "qafm" / "config.pbtxt").read_text()
