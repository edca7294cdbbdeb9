"""Crops made worse: the same each time, as they are where nothing is wrong, and as a camera would have kept them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qafm.datasets.crops import Crop
from qafm.datasets.degradations import Degradation
from synthetic.degradation import EVERY_KIND, NONE, degrade
from train.quality.spoilt import Spoilt, Stranger


@pytest.fixture
def crop(tmp_path) -> Crop:
    return crop_of(np.full((128, 64, 3), 127, np.uint8), tmp_path)


def crop_of(picture: np.ndarray, folder: Path) -> Crop:
    Image.fromarray(picture).save(folder / "0001_c1s1_000001_00.png")
    return Crop(folder / "0001_c1s1_000001_00.png", 1, 1)


def test_what_is_not_made_worse_is_the_crop_itself(tmp_path):
    picture = np.random.default_rng(0).integers(256, size=(128, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Spoilt(crop_of(picture, tmp_path), NONE, 3).picture(), picture)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_same_each_time(crop, kind):
    spoilt = Spoilt(crop, Degradation(kind, 0.8), 3)
    picture = spoilt.picture()
    assert picture.shape == (128, 64, 3) and picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, spoilt.picture())


def test_noise_has_been_through_a_file(crop):
    """A JPEG file keeps colours at half the resolution: what differs there from pixel to pixel is lost."""
    noise = Degradation("noise", 0.8)
    raw = np.asarray(degrade(Image.fromarray(np.full((128, 64, 3), 127, np.uint8)), noise, np.random.default_rng(3)))

    def colour_grain(picture: np.ndarray) -> float:
        colour = picture[..., 0].astype(float) - picture[..., 2]
        return float(np.abs(np.diff(colour, axis=1)).mean())

    assert colour_grain(Spoilt(crop, noise, 3).picture()) < 0.6 * colour_grain(raw)


def test_a_stranger_has_the_upper_part_of_one_and_the_lower_part_of_another(tmp_path):
    colours = {"one": (240, 120, 0), "other": (0, 120, 240)}
    crops = []
    for name, colour in colours.items():
        (tmp_path / name).mkdir()
        size = (128, 64) if name == "one" else (200, 90)
        crops.append(crop_of(np.full((*size, 3), colour, np.uint8), tmp_path / name))
    pictures = [Stranger(crops[0], NONE, seed, crops[1]).picture() for seed in range(20)]
    waists, orders = [], set()
    for picture in pictures:
        assert picture.shape == (128, 64, 3)
        top, bottom = picture[4, 4].astype(int), picture[-4, 4].astype(int)
        order = tuple(np.argsort(top))
        assert np.abs(np.sort(top) - (0, 120, 240)).max() < 8, "the channels of the one, in some order"
        # The same order of channels: the other has 240 where the one has 0.
        assert np.abs(bottom[list(order)] - (240, 120, 0)).max() < 8
        orders.add(order)
        waists.append(int((np.abs(picture[:, 4].astype(int) - top).sum(axis=1) < 60).sum()))
    assert len(orders) > 3
    assert 0.3 * 128 - 8 <= min(waists) < max(waists) <= 0.7 * 128 + 8
    worse = Stranger(crops[0], Degradation("darkness", 0.8), 3, crops[1])
    assert worse.picture().mean() < 0.5 * pictures[3].mean()
    np.testing.assert_array_equal(worse.picture(), worse.picture())
