"""The batched augmentation, against one crop at a time done by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qafm.contract import IMAGENET_MEAN
from train.augmentation import COLUMNS, augment, draw, untouched
from train.settings import AugmentationSettings

HEIGHT, WIDTH = 24, 8


def crops(count: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(20, 200, (count, 3, HEIGHT, WIDTH)).astype(np.float32))


def only(**values: float) -> torch.Tensor:
    drawn = untouched(2)
    for name, value in values.items():
        drawn[0, COLUMNS.index(name)] = value
    return drawn


def test_nothing_changes_nothing():
    assert torch.allclose(augment(crops(), untouched(2)), crops(), atol=1e-3)


def test_flip_and_shift_by_hand_and_the_neighbour_stays():
    got = augment(crops(), only(flip=1, down=2 / HEIGHT, right=-1 / WIDTH))
    expected = torch.zeros(3, HEIGHT, WIDTH)
    expected[:, 2:, :-1] = crops()[0].flip(2)[:, :-2, 1:]
    assert torch.allclose(got[0], expected, atol=1e-3)
    assert torch.allclose(got[1], crops()[1], atol=1e-3)


def test_colours_by_the_definition():
    """Brightness, then contrast around the mean grey, then saturation around each pixel's grey."""
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    x = crops()[0] * 0.9
    x = 1.1 * x + (1 - 1.1) * (weights * x).sum(dim=0).mean()
    x = 0.8 * x + (1 - 0.8) * (weights * x).sum(dim=0)
    got = augment(crops(), only(brightness=0.9, contrast=1.1, saturation=0.8))[0]
    assert torch.allclose(got, x.clamp(0, 255), atol=1e-2)


def test_colours_stay_in_range():
    assert augment(crops() * 2, only(brightness=1.2)).amax() <= 255


def test_a_rectangle_is_erased_in_the_mean_colour():
    got = augment(crops(), only(top=0.25, left=0.5, height=0.25, width=0.25))[0]
    mean = 255 * torch.tensor(IMAGENET_MEAN)
    assert torch.allclose(got[:, 6:12, 4:6], mean[:, None, None].expand(3, 6, 2))
    untouched = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    untouched[6:12, 4:6] = False
    assert torch.allclose(got[:, untouched], crops()[0][:, untouched], atol=1e-3)


def test_what_is_drawn_follows_the_seed_and_the_settings():
    settings = AugmentationSettings()
    assert torch.equal(draw(settings, 5), draw(settings, 5)) and not torch.equal(draw(settings, 5), draw(settings, 6))
    drawn = dict(zip(COLUMNS, torch.stack([draw(settings, seed) for seed in range(2000)]).T, strict=True))
    assert drawn["flip"].mean().item() == pytest.approx(0.5, abs=0.04)
    assert (384 * drawn["down"]).abs().max() == 10 and (128 * drawn["right"]).abs().max() == 10
    for factor in ("brightness", "contrast", "saturation"):
        assert 0.8 <= drawn[factor].min() < 0.81 and 1.19 < drawn[factor].max() <= 1.2
    area = drawn["height"] * drawn["width"]
    assert (area > 0).float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert area[area > 0].min() >= 0.0199 and area.max() <= 0.3301
    assert ((drawn["top"] + drawn["height"]) <= 1).all() and ((drawn["left"] + drawn["width"]) <= 1).all()


def test_settings_of_nothing_draw_nothing():
    settings = AugmentationSettings(flip=0.0, padding=0, jitter=0.0, erasing=0.0)
    assert torch.equal(draw(settings, 3), untouched(1)[0])
