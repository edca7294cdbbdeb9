"""What networks make of the views of pictures, in several processes or one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from threadpoolctl import threadpool_info

from qafm.datasets.crops import Crop
from qafm.errors import InvalidDataset
from qafm.perturbations import views
from synthetic.degradation import NONE
from tests.support.short_run import SETTINGS
from train.networks import IQA, Pixels, build_trunk
from train.quality.spoilt import Spoilt
from train.quality.views import Branch, seen_in_views

CPU = torch.device("cpu")


@pytest.fixture
def pictures(tmp_path) -> list[Spoilt]:
    generator, found = np.random.default_rng(0), []
    for pid in range(1, 4):
        path = tmp_path / f"{pid:04d}_c1s1_000000_00.png"
        Image.fromarray(generator.integers(0, 256, (128, 64, 3), dtype=np.uint8)).save(path)
        found.append(Spoilt(Crop(path, pid, 1), NONE, 0))
    return found


@pytest.fixture
def iqa() -> IQA:
    torch.manual_seed(0)
    return IQA(build_trunk(SETTINGS.network)).eval()


def seen(iqa: IQA, pictures: list[Spoilt], *branches: Branch, workers: int) -> list[list[np.ndarray]]:
    settings = SETTINGS.model_copy(update={"workers": workers, "precision": "float32"})
    return list(seen_in_views(iqa, pictures, *branches, settings=settings, device=CPU))


@pytest.mark.parametrize("workers", [0, 2])
def test_every_view_of_every_picture_is_seen_in_order_whatever_the_processes(iqa, pictures, workers):
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 384 * 128, 2)).eval()
    found = seen(iqa, pictures, other, workers=workers)
    assert len(found) == len(pictures)
    for picture, (features, vector) in zip(pictures, found, strict=True):
        crops = Pixels()(torch.from_numpy(views(picture.picture())))
        with torch.no_grad():
            each = torch.cat([iqa(crop[None]) for crop in crops])
            expected = other(crops[:1])
        np.testing.assert_allclose(features, each, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(vector, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_cannot_be_read_is_named(iqa, pictures, workers):
    pictures[1].crop.path.write_bytes(b"")
    with pytest.raises(InvalidDataset, match=pictures[1].crop.path.name):
        seen(iqa, pictures, workers=workers)


def test_numpy_has_its_threads_back_afterwards(iqa, pictures):
    before = threadpool_info()
    while_seen = [
        pool["num_threads"]
        for _ in seen_in_views(iqa, pictures, settings=SETTINGS, device=CPU)
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    assert set(while_seen) == {1}
    assert threadpool_info() == before
