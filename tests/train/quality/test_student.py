"""What the quality network is to say, and that it learns to say it; what its teacher keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image

from qafm.datasets.crops import Crop
from qafm.images import resize
from qafm.perturbations import PERTURBATIONS, views
from qafm.quality import Quality, measure
from qafm.weighting.constant import Constant
from tests.support.seeded_repository import seeded_utility
from tests.support.short_run import QUIET, SETTINGS
from train.checkpoint import load_checkpoint
from train.networks import IQA, Pixels, QualityNetwork, build_trunk
from train.networks.quality import _Statistics, statistics
from train.presets import load_preset
from train.quality import student, teacher
from train.quality.spoilt import Stranger
from train.quality.student import mirrored_places, said_of, train_network
from train.quality.teacher import Answers, draw_pictures
from train.settings import QualitySettings

OWN = SETTINGS.model_copy(update={"quality": QualitySettings(pictures=12, epochs=2)})
FABRIC = Fabric(accelerator="cpu", devices=1)


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> list[Crop]:
    folder, generator, found = tmp_path_factory.mktemp("crops"), np.random.default_rng(0), []
    for pid in range(1, 6):
        blocks = generator.integers(0, 256, (8, 4, 3)).repeat(16, axis=0).repeat(16, axis=1).astype(np.uint8)
        path = folder / f"{pid:04d}_c1s1_000000_00.png"
        Image.fromarray(blocks).save(path)
        found.append(Crop(path, pid, 1))
    return found


def answers_of(qualities) -> Answers:
    return Answers(
        np.array([quality.identifiability for quality in qualities], np.float32),
        np.stack([quality.scatter for quality in qualities]),
        np.stack([quality.original for quality in qualities]).astype(np.float16),
    )


def some_qualities(count: int) -> list[Quality]:
    generator = np.random.default_rng(0)
    return [
        Quality(float(generator.uniform(1, 9)), generator.uniform(0, 1, 34).astype(np.float32), generator.random(2048))
        for _ in range(count)
    ]


def test_a_larger_number_of_pictures_begins_with_the_smaller_one(crops):
    settings = QualitySettings(pictures=200)
    pictures = draw_pictures(crops, settings, seed=1)
    assert draw_pictures(crops, QualitySettings(pictures=50), seed=1) == pictures[:50]
    assert draw_pictures(crops, settings, seed=2) != pictures
    shown = np.unique([picture.crop.pid for picture in pictures], return_counts=True)[1]
    assert (shown == 40).all(), "crops come by turns"
    kinds = {picture.degradation.kind for picture in pictures}
    assert kinds == {"none", "blur", "low_resolution", "noise", "darkness", "occlusion", "compression"}
    whole = sum(picture.degradation.kind == "none" for picture in pictures)
    strangers = sum(isinstance(picture, Stranger) for picture in pictures)
    assert 20 <= whole <= 60 and 75 <= strangers <= 125
    only = draw_pictures(crops, QualitySettings(pictures=50, kinds=("blur",)), seed=1)
    assert {picture.degradation.kind for picture in only} == {"none", "blur"}


def test_the_numbers_by_a_loop():
    qualities, utility = some_qualities(3), seeded_utility()
    numbers = said_of(answers_of(qualities).qualities, Constant(np.float32(0.75)), utility)
    for row, quality in enumerate(answers_of(qualities).qualities):
        for place in range(34):
            assert numbers[row, place] == pytest.approx(np.log(qualities[row].scatter[place] + 1e-3), rel=1e-5)
        assert numbers[row, 34] == pytest.approx(np.log(qualities[row].identifiability + 1e-3), rel=1e-5)
        assert 1 / (1 + np.exp(-numbers[row, 35])) == pytest.approx(utility.of(quality), rel=1e-6)
        assert numbers[row, 36] == pytest.approx(np.log(3))
    certain = said_of(answers_of(qualities).qualities, Constant(np.float32(1)), utility)
    assert np.isfinite(certain).all()
    assert (torch.sigmoid(torch.from_numpy(certain[:, 36]).float()) == 1).all()


def test_a_mirror_image_swaps_the_bars_at_its_sides():
    """The views of the mirror image are the mirrored views in that order; noise is drawn anew, so it is left out."""
    crop = np.random.default_rng(0).integers(0, 256, (128, 64, 3)).astype(np.uint8)
    seen, mirrored = views(crop)[1:], views(crop[:, ::-1].copy())[1:, :, ::-1]
    places = mirrored_places()
    assert sorted(places) == list(range(37)) and places[34:] == [34, 35, 36]
    for view in PERTURBATIONS:
        if view.family != "noise":
            place = view.index - 1
            # Resizing rounds the same sums in another order.
            assert np.abs(seen[places[place]].astype(int) - mirrored[place]).max() <= 1, view.name


def test_what_is_the_same_for_every_picture_is_said_exactly():
    torch.manual_seed(0)
    network = QualityNetwork(build_trunk(SETTINGS.network))
    numbers = torch.randn(20, 37)
    numbers[:, 36] = torch.logit(torch.tensor(0.65))
    network.expect(numbers)
    q, alpha, scatter, utility = network.eval()(torch.randn(2, 3, 384, 128))
    assert (alpha - 0.65).abs().max() < 1e-6
    assert (q.shape, scatter.shape, utility.shape) == ((2, 1), (2, 34), (2, 1))
    assert (q >= 0).all() and (scatter >= 0).all() and (scatter <= 2).all() and ((utility > 0) & (utility < 1)).all()
    assert utility.std() > 0


def test_a_fresh_network_says_the_mean():
    network = QualityNetwork(build_trunk(SETTINGS.network))
    numbers = torch.rand(20, 37)
    network.expect(numbers)
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    q, _, scatter, _ = network.eval()(torch.randn(1, 3, 384, 128))
    expected = numbers.mean(dim=0).exp() - 1e-3
    torch.testing.assert_close(q[0, 0], expected[34])
    torch.testing.assert_close(scatter[0], expected[:34].clamp(max=2))


def test_the_teacher_goes_on_where_it_was(crops, tmp_path, monkeypatch):
    torch.manual_seed(0)
    iqa = IQA(build_trunk(SETTINGS.network))
    pictures = draw_pictures(crops, OWN.quality, seed=0)
    options = {"settings": OWN, "fabric": FABRIC, "console": QUIET}
    whole = teacher.ask(iqa, pictures, tmp_path / "..", **options)
    monkeypatch.setattr(teacher, "_SAVE_EVERY", 4)
    teacher.ask(iqa, pictures[:6], tmp_path, **options)
    asked = []
    monkeypatch.setattr(teacher, "measure", lambda features: asked.append(1) or measure(features))
    found = teacher.ask(iqa, pictures, tmp_path, **options)
    assert len(asked) == 6
    for name, values in vars(found).items():
        np.testing.assert_allclose(values, getattr(whole, name), rtol=1e-3, atol=1e-4, err_msg=name)
    # Other pictures are not taken for these.
    teacher.ask(iqa, [replace(pictures[0], seed=5), *pictures[1:3]], tmp_path, **options)
    assert len(asked) == 6 + 3


def test_the_statistics_of_features_are_those_of_the_loop_and_learn_as_autograd_has_it():
    torch.manual_seed(0)
    features = torch.randn(2, 3, 4, 5) + 2
    features[0, 0] = 0.3  # no deviation: raised to the least
    mean, deviation = statistics(features)
    for picture in range(2):
        for channel in range(3):
            values = features[picture, channel].double()
            assert mean[picture, channel].item() == pytest.approx(values.mean().item(), abs=1e-5)
            expected = max(values.std(correction=0).item(), 1e-3)
            assert deviation[picture, channel].item() == pytest.approx(expected, abs=1e-4)
    ours, plain = (features.clone().requires_grad_() for _ in range(2))
    asked = torch.randn(2, 3), torch.randn(2, 3)
    torch.autograd.backward(_Statistics.apply(ours), asked)
    torch.autograd.backward(statistics(plain), asked)
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.training
def test_it_learns_what_can_be_seen(crops, tmp_path):
    """Each number is how bright the picture is."""
    settings = SETTINGS.model_copy(update={"quality": QualitySettings(pictures=96, epochs=10)})
    pictures = draw_pictures(crops, settings.quality, seed=0)
    brightness = np.array([picture.picture().mean() for picture in pictures])
    numbers = np.repeat(brightness[:, None] / 60, 37, axis=1)
    options = {"fabric": FABRIC, "console": QUIET}
    network = QualityNetwork(build_trunk(settings.network))
    train_network(network, pictures, numbers, tmp_path, settings=settings, resume=False, **options)
    checkpoint = load_checkpoint(tmp_path, "quality")
    assert checkpoint.complete and checkpoint.epoch == 10
    checkpoint.restore({"quality": network})
    seen = torch.from_numpy(np.stack([resize(picture.picture()) for picture in pictures]))
    with torch.no_grad():
        q = network.eval()(Pixels()(seen))[0][:, 0]
    assert np.corrcoef(q.log().numpy(), brightness)[0, 1] > 0.9


@pytest.mark.training
def test_killed_and_resumed_it_ends_as_if_nothing_had_happened(crops, tmp_path, monkeypatch):
    settings = OWN.model_copy(update={"quality": QualitySettings(pictures=70, epochs=2)})
    pictures = draw_pictures(crops, settings.quality, seed=0)
    numbers = np.random.default_rng(0).normal(size=(70, 37))
    options = {"settings": settings, "fabric": FABRIC, "console": QUIET}

    def train(run, *, resume):
        run.mkdir(exist_ok=True)
        torch.manual_seed(0)
        network = QualityNetwork(build_trunk(SETTINGS.network))
        train_network(network, pictures, numbers, run, resume=resume, **options)
        return load_checkpoint(run, "quality")

    whole = train(tmp_path / "whole", resume=False)
    kept = student.save_checkpoint

    def killed(run, checkpoint, **how):
        if checkpoint.epoch == 2:
            raise KeyboardInterrupt
        kept(run, checkpoint, **how)

    monkeypatch.setattr(student, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", resume=False)
    assert not load_checkpoint(tmp_path / "killed", "quality").complete
    monkeypatch.undo()
    resumed = train(tmp_path / "killed", resume=True)
    for key, values in whole.networks["quality"].items():
        torch.testing.assert_close(resumed.networks["quality"][key], values, msg=key)


def test_presets_but_the_papers_have_one():
    assert load_preset("market1501").quality.pictures == 0
    for name in ("demo", "study", "synthetic", "market1501-strong"):
        assert load_preset(name).quality.pictures > 0, name
