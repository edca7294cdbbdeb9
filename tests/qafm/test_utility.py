"""The utility: what it reads, by hand and by an oracle, and its arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qafm.errors import InvalidCheckpoint
from qafm.perturbations import PERTURBATIONS
from qafm.quality import Quality, measure
from qafm.utility import NUMBERS, Utility, direction, numbers
from qafm.weighting import load_utility, load_weighting, save_weighting
from qafm.weighting.constant import Constant
from tests.support.seeded_repository import seeded_utility

rng = np.random.default_rng(0)


def some_quality() -> Quality:
    return measure(rng.normal(size=(35, 2048)).astype(np.float32))


def test_the_numbers_by_hand():
    """Every distance is e - 0.001, but for those of the bars on the left, which are hidden: e² - 0.001."""
    scatter = np.full(34, np.e - 1e-3)
    for perturbation in PERTURBATIONS:
        if perturbation.name.startswith("occlusion_left") or "left" in perturbation.name:
            scatter[perturbation.index - 1] = np.e**2 - 1e-3
    assert (scatter > 3).sum() == 4
    original = np.zeros(2048)
    original[:2] = 3, 4
    found = numbers(Quality(1 - 1e-3, scatter, original))
    assert found.shape == (NUMBERS,) == (40,)
    np.testing.assert_allclose(found[:34], np.where(scatter > 3, 2, 1), rtol=1e-6)
    np.testing.assert_allclose(found[34:], [0, np.log(5.001), 1, 1, 1, 2], atol=1e-6)


def test_the_direction_has_length_1_and_zeros_have_none():
    quality = some_quality()
    np.testing.assert_allclose(direction(quality) * np.linalg.norm(quality.original), quality.original, rtol=1e-5)
    assert not direction(replace(quality, original=np.zeros(2048))).any()


def test_the_rule_by_a_loop():
    utility, quality = seeded_utility(), some_quality()
    read, features = numbers(quality), direction(quality)
    score = float(utility.offset)
    for place in range(NUMBERS):
        standard = (read[place] - utility.centre[place]) / utility.spread[place]
        score += utility.linear[place] * standard + utility.square[place] * standard**2
    for place in range(2048):
        score += utility.features[place] * features[place]
    assert utility.of(quality) == pytest.approx(1 / (1 + np.exp(-score)))
    many = utility.score(np.stack([read, read]), np.stack([features, features]))
    np.testing.assert_allclose(many, [score, score], rtol=1e-5)


def test_any_picture_has_a_utility():
    """The zeros of a warm-up, and what is far from anything seen."""
    utility = seeded_utility()
    for quality in (
        measure(np.zeros((35, 2048), np.float32)),
        measure(1e6 * rng.normal(size=(35, 2048)).astype(np.float32)),
    ):
        assert 0 <= utility.of(quality) <= 1


def test_it_travels_beside_the_weighting(tmp_path):
    path, utility, weighting = tmp_path / "alpha.npz", seeded_utility(), Constant(np.array(0.5))
    save_weighting(path, weighting)
    assert load_utility(path) is None
    save_weighting(path, weighting, utility)
    quality = some_quality()
    assert load_utility(path).of(quality) == utility.of(quality)
    assert load_weighting(path).alpha(quality) == 0.5


def test_arrays_that_are_missing_or_malformed_are_named(tmp_path):
    arrays = seeded_utility().arrays()
    assert Utility.from_arrays({"alpha": np.array(0.5)}) is None
    with pytest.raises(InvalidCheckpoint, match="no array utility_square"):
        Utility.from_arrays({name: values for name, values in arrays.items() if name != "utility_square"})
    for name, values, message in (
        ("utility_linear", np.zeros(39), r"utility's linear must be finite numbers of shape \[40\]"),
        ("utility_features", np.full(2048, np.nan), "utility's features must be finite"),
        ("utility_spread", np.zeros(40), "spread must be above 0"),
    ):
        with pytest.raises(InvalidCheckpoint, match=message):
            Utility.from_arrays(arrays | {name: values})
        path = tmp_path / "alpha.npz"
        np.savez(path, kind=np.array("constant"), alpha=np.array(0.5), **arrays | {name: values})
        with pytest.raises(InvalidCheckpoint, match=f"alpha.npz: .*{message}"):
            load_utility(path)
