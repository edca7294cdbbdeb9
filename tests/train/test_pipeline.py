"""The three stages on a handful of drawn people: through, interrupted, and from bad data."""

from __future__ import annotations

import hashlib
import itertools
import json
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from qafm.datasets.attribute_file import read_attributes, write_attributes
from qafm.errors import InvalidCheckpoint, InvalidDataset, InvalidSettings, TrainingFailed
from qafm.images import resize
from synthetic import Recipe, make_dataset
from tests.support.short_run import EPOCHS, QUIET, SETTINGS
from train.batches import Batches, identity_batches
from train.checkpoint import checkpoint_path, load_checkpoint, load_networks
from train.data import load_training_data, read_crop
from train.networks import Pixels
from train.networks.trunk import lowered
from train.networks.weighting import TrainableConstant
from train.pipeline import train
from train.presets import load_preset, save_settings, without_attributes
from train.quality.teaching import load_diagnosis, load_fitted_weighting, load_utility, unfitted
from train.settings import LessonSettings, QualitySettings, Settings
from train.stages.iqa import IQAStage
from train.stages.joint import JointStage
from train.stages.stage import rate_factor

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("dataset")
    make_dataset(Recipe(train_identities=6, test_identities=2, images_per_identity=3, distractors=0, junk=0), root)
    return root


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("run")
    train(SETTINGS, dataset, run, console=QUIET)
    return run


def weights_of(run: Path, stage) -> dict[str, torch.Tensor]:
    networks = load_checkpoint(run, stage).networks
    return {f"{network}.{name}": values for network, state in networks.items() for name, values in state.items()}


def test_a_run_can_be_read_back(finished):
    networks = load_networks(finished)
    assert networks.weighting.sigma > 0 and networks.weighting.mu > 0
    assert not any(module.training for network in networks.all() for module in network.modules())
    joint = weights_of(finished, "joint")
    assert torch.equal(networks.apn.embed.weight, joint["apn.embed.weight"])


def test_a_run_with_a_constant_weighting_can_be_read_back(dataset, finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    settings = load_preset(
        "demo", **SETTINGS.model_dump() | {"joint": EPOCHS | {"q_crops": 6, "weighting": "constant"}}
    )
    save_settings(settings, tmp_path / "settings.yaml")
    train(settings, dataset, tmp_path, stage="joint", console=QUIET)
    served = load_networks(tmp_path).weighting.served()
    assert served.kind == "constant" and 0 < served.value < 1 and served.value != 0.5
    assert torch.logit(torch.tensor(float(served.value))) == pytest.approx(
        float(weights_of(tmp_path, "joint")["weighting.logit"]), rel=1e-3
    )
    with pytest.raises(InvalidCheckpoint, match="other settings"):
        train(SETTINGS, dataset, tmp_path, stage="joint", console=QUIET)


def test_the_iqa_network_stays_as_its_stage_left_it(finished):
    trained = weights_of(finished, "iqa")
    assert torch.equal(load_networks(finished).iqa.trunk.stem[0].weight, trained["iqa.trunk.stem.0.weight"])
    assert not torch.equal(trained["iqa.trunk.stem.0.weight"], weights_of(finished, "joint")["apn.trunk.stem.0.weight"])


class Killed(Exception):
    pass


@pytest.mark.parametrize("stage", [IQAStage, JointStage], ids=lambda stage: stage.name)
def test_killed_and_resumed_ends_as_if_nothing_had_happened(dataset, finished, tmp_path, monkeypatch, stage):
    """Killed in the second epoch: the first one's checkpoint is what resuming starts from."""
    whole = stage.step

    def killed(self, batch, epoch):
        if epoch == 1:
            raise Killed
        return whole(self, batch, epoch)

    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    checkpoint_path(tmp_path, stage.name).unlink()
    monkeypatch.setattr(stage, "step", killed)
    with pytest.raises(Killed):
        train(SETTINGS, dataset, tmp_path, stage=stage.name, console=QUIET)
    assert not load_checkpoint(tmp_path, stage.name).complete
    with pytest.raises(InvalidCheckpoint, match="stopped after 1 epochs"):
        load_networks(tmp_path)
    monkeypatch.setattr(stage, "step", whole)
    train(SETTINGS, dataset, tmp_path, stage=stage.name, resume=True, console=QUIET)

    expected, got = weights_of(finished, stage.name), weights_of(tmp_path, stage.name)
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)


STRONG = Settings.model_validate(
    SETTINGS.model_dump()
    | {
        "network": SETTINGS.network.model_dump() | {"neck": "bnneck", "pooling": "gem", "instance_norm": True},
        "losses": {"identity": "circle", "triplet": "weighted"},
        "augmentation": {"auto": 0.5},
        "average": 0.5,
        "check_every": 2,
        "iqa": EPOCHS | {"epochs": 5, "cosine_from": 1},
    }
)


def test_an_fc_that_is_computed_is_of_the_weights_that_are_kept(dataset, finished, tmp_path):
    """Here those of an average. Computed from fewer crops than it has rows, it has the space of all of them."""
    settings = Settings.model_validate(
        SETTINGS.model_dump() | {"average": 0.5, "joint": EPOCHS | {"fc": "principal", "weighting": "retrieval"}}
    )
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    save_settings(settings, tmp_path / "settings.yaml")
    train(settings, dataset, tmp_path, stage="joint", console=QUIET)
    checkpoint, networks = load_checkpoint(tmp_path, "joint"), load_networks(tmp_path)
    assert not torch.equal(
        checkpoint.networks["fusion"]["compress.weight"], checkpoint.trained["fusion"]["compress.weight"]
    )
    assert not {"classifier", "judge_visual"} & checkpoint.networks.keys()
    crops = load_training_data(dataset, settings.seed).crops
    seen = Pixels()(torch.from_numpy(np.stack([resize(read_crop(crop)) for crop in crops])))
    with torch.inference_mode():
        # The epochs are small ones, and so is what the FC was computed from.
        small = lowered(seen, settings.network.height // 2)
        visual, semantic = networks.apn(small), networks.apan(small)[0]
        half = torch.full((len(crops),), 0.5)
        mixed = networks.fusion.concatenate(*networks.fusion.projections(visual, semantic), half)
        assert torch.allclose(networks.fusion.compress(mixed).norm(dim=1), mixed.norm(dim=1), rtol=1e-3)


def test_the_strong_settings_train_and_resume_with_their_averages(dataset, tmp_path, monkeypatch):
    """Checked after epochs 2, 4 and 5; killed in the fourth, it goes on from the second."""
    train(STRONG, dataset, tmp_path / "whole", console=QUIET)
    networks = load_networks(tmp_path / "whole")
    assert networks.fusion.after_neck and not networks.fusion.neck.bias.any() and not networks.apn.neck.bias.any()

    whole = IQAStage.step

    def killed(self, batch, epoch):
        if epoch == 3:
            raise Killed
        return whole(self, batch, epoch)

    monkeypatch.setattr(IQAStage, "step", killed)
    with pytest.raises(Killed):
        train(STRONG, dataset, tmp_path / "killed", stage="iqa", console=QUIET)
    checkpoint = load_checkpoint(tmp_path / "killed", "iqa")
    assert checkpoint.epoch == 2
    average, trained = checkpoint.networks["neck"]["classify.weight"], checkpoint.trained["neck"]["classify.weight"]
    assert not torch.equal(average, trained)
    monkeypatch.setattr(IQAStage, "step", whole)
    train(STRONG, dataset, tmp_path / "killed", stage="iqa", resume=True, console=QUIET)
    expected, got = weights_of(tmp_path / "whole", "iqa"), weights_of(tmp_path / "killed", "iqa")
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_a_small_epoch_is_validated_at_its_own_resolution(dataset, tmp_path, monkeypatch):
    heights = []
    whole = IQAStage.describe

    def describe(self, crops, rows):
        heights.append(crops.shape[2])
        return whole(self, crops, rows)

    monkeypatch.setattr(IQAStage, "describe", describe)
    settings = Settings.model_validate(SETTINGS.model_dump() | {"iqa": EPOCHS | {"small_epochs": 1}})
    train(settings, dataset, tmp_path, stage="iqa", console=QUIET)
    assert heights == [settings.network.height // 2, settings.network.height]


def test_attribute_batches_are_drawn_uniformly_over_pictures(dataset):
    data = load_training_data(dataset, 0)
    batches = Batches(data, SETTINGS, "apan")
    drawn = [row for batch in batches.rows(0) for row, _ in batch]
    assert len(batches.rows(0)) == len(batches) and len(set(drawn)) == len(drawn)
    assert [row for batch in batches.rows(1) for row, _ in batch] != drawn
    by_identity = Settings.model_validate(SETTINGS.model_dump() | {"apan": {"sampling": "identities"}})
    for batch in Batches(data, by_identity, "apan").rows(0):
        assert len({data.pids[data.labels[row]] for row, _ in batch}) == 2


def test_each_branch_sees_the_crops_worse_that_it_is_to(dataset):
    data = load_training_data(dataset, 0)
    degraded = {"augmentation": {"degraded": {"apn": 0.3, "apan": 0.5}}}
    settings = Settings.model_validate(SETTINGS.model_dump() | degraded)
    for stage, most in (("apan", 0.5), ("joint", 0.5)):
        batches = list(Batches(data, settings, stage).epoch(0))
        again = list(Batches(data, settings, stage).epoch(0))
        assert all(torch.equal(one.worse, other.worse) for one, other in zip(batches, again, strict=True))
        names = ("crops", "worse", "chance")
        crops, worse, chance = (torch.cat([getattr(batch, name) for batch in batches]) for name in names)
        differ = (crops != worse).flatten(1).any(dim=1)
        assert torch.equal(differ, chance < most), "as it is where no branch sees it worse"
        assert 0 < differ.float().mean() < 1
        first = batches[0]
        for probability in (0.3, 0.5):
            seen = first.seen(probability)
            for row in range(len(seen)):
                assert torch.equal(seen[row], (first.worse if first.chance[row] < probability else first.crops)[row])
        assert torch.equal(first.seen(0), first.crops)
    assert next(Batches(data, settings, "iqa").epoch(0)).worse is None
    assert next(Batches(data, SETTINGS, "joint").epoch(0)).worse is None


def test_a_loss_that_is_no_number_stops_with_the_checkpoint_intact(dataset, tmp_path, monkeypatch):
    whole = IQAStage.step

    def diverging(self, batch, epoch):
        losses = whole(self, batch, epoch)
        return losses if epoch == 0 else losses | {"identity": losses["identity"] * torch.nan}

    monkeypatch.setattr(IQAStage, "step", diverging)
    with pytest.raises(TrainingFailed, match="identity is not finite in epoch 2"):
        train(SETTINGS, dataset, tmp_path, stage="iqa", console=QUIET)
    assert load_checkpoint(tmp_path, "iqa").epoch == 1


def test_a_full_disk_stops_with_the_checkpoint_intact(dataset, tmp_path, monkeypatch):
    """A limit on the size of files, from the second epoch on: to the program the same as a disk without room."""
    whole, limit = IQAStage.step, resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(self, batch, epoch):
        if epoch == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limit[1]))
        return whole(self, batch, epoch)

    monkeypatch.setattr(IQAStage, "step", filling)
    try:
        with pytest.raises(TrainingFailed, match=r"iqa.*\.pt: cannot be written .* make room, and go on with --resume"):
            train(SETTINGS, dataset, tmp_path, stage="iqa", console=QUIET)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert load_checkpoint(tmp_path, "iqa").epoch == 1
    assert not list(tmp_path.glob("*.partial"))
    monkeypatch.setattr(IQAStage, "step", whole)
    train(SETTINGS, dataset, tmp_path, stage="iqa", resume=True, console=QUIET)
    assert load_checkpoint(tmp_path, "iqa").complete


@pytest.mark.parametrize(("found", "best"), [([0.5, 0.4], 1), ([0.4, 0.5], 2), ([0.5, 0.5], 2)])
def test_the_best_epoch_is_kept_beside_the_last(dataset, finished, tmp_path, monkeypatch, found, best):
    """By what validation found; of equals the later one."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    left = list(found)
    monkeypatch.setattr("train.stages.loop.validate", lambda *_, **__: {"mAP": left.pop(0)})
    train(SETTINGS, dataset, tmp_path, stage="joint", console=QUIET)
    last, kept = load_checkpoint(tmp_path, "joint"), load_checkpoint(tmp_path, "joint", best=True)
    assert (last.epoch, kept.epoch) == (2, best)
    assert last.best_mAP == kept.best_mAP == max(found)
    for checkpoint, networks in ((last, load_networks(tmp_path)), (kept, load_networks(tmp_path, best=True))):
        assert torch.equal(networks.fusion.compress.weight, checkpoint.networks["fusion"]["compress.weight"])
    assert torch.equal(load_networks(tmp_path).fusion.compress.weight, networks.fusion.compress.weight) == (best == 2)


def test_weights_that_are_no_numbers_stop_with_the_checkpoint_intact(dataset, tmp_path, monkeypatch):
    """The last update of an epoch, after which no loss is taken any more."""
    whole, steps = IQAStage.step, itertools.count(1)
    last = 2 * len(Batches(load_training_data(dataset, 0), SETTINGS, "iqa"))

    def poisoned(self, batch, epoch):
        losses = whole(self, batch, epoch)
        if next(steps) == last:
            with torch.no_grad():
                self.neck.classify.weight[0, 0] = torch.nan
        return losses

    monkeypatch.setattr(IQAStage, "step", poisoned)
    with pytest.raises(TrainingFailed, match="neck network has weights that are not finite in epoch 2"):
        train(SETTINGS, dataset, tmp_path, stage="iqa", console=QUIET)
    assert load_checkpoint(tmp_path, "iqa").epoch == 1


@pytest.mark.parametrize("which", range(7))
def test_killed_while_a_file_is_put_in_place_and_resumed_ends_the_same(dataset, finished, tmp_path, monkeypatch, which):
    put, files = Path.replace, []

    def killed(self, target):
        files.append(target)
        if len(files) == which + 1:
            raise Killed
        return put(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    try:
        train(SETTINGS, dataset, tmp_path, stage="iqa", console=QUIET)
    except Killed:
        monkeypatch.setattr(Path, "replace", put)
        train(SETTINGS, dataset, tmp_path, stage="iqa", resume=True, console=QUIET)
    else:
        assert len(files) <= which
    expected, got = weights_of(finished, "iqa"), weights_of(tmp_path, "iqa")
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len({(line["step"], "loss" in line) for line in logged}) == len(logged)


def test_what_is_refused_leaves_no_run(dataset, tmp_path):
    weights = {"weights": str(tmp_path / "absent.pth"), "joint": SETTINGS.joint.model_dump() | {"frozen_epochs": 0}}
    settings = Settings.model_validate(SETTINGS.model_dump() | weights)
    with pytest.raises(InvalidCheckpoint, match=r"absent\.pth: cannot be read"):
        train(settings, dataset, tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()


def test_the_curves_are_those_of_the_metrics(dataset, finished, tmp_path, monkeypatch):
    """Also where a killed attempt had logged steps that were then done again."""
    killed_in = JointStage.step
    steps = itertools.count()

    def killed(self, batch, epoch):
        if epoch == 1 and next(steps) == 1:
            raise Killed
        return killed_in(self, batch, epoch)

    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(JointStage, "step", killed)
    with pytest.raises(Killed):
        train(SETTINGS, dataset, tmp_path, stage="joint", console=QUIET)
    monkeypatch.setattr(JointStage, "step", killed_in)
    train(SETTINGS, dataset, tmp_path, stage="joint", resume=True, console=QUIET)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for stage in ("iqa", "joint"):
        curves = EventAccumulator(str(tmp_path / "tensorboard" / stage)).Reload()
        for group, name in (("loss", "triplet"), ("validation", "mAP")):
            logged = {one["step"]: one[group][name] for one in lines if one["stage"] == stage and group in one}
            shown = {point.step: point.value for point in curves.Scalars(f"{group}/{name}")}
            assert shown == pytest.approx(logged, rel=1e-5) and len(shown) > 1


def test_float16_needs_a_gpu_and_leaves_nothing_behind(dataset, tmp_path):
    settings = Settings.model_validate(SETTINGS.model_dump() | {"precision": "float16"})
    with pytest.raises(InvalidSettings, match="float16: expected a GPU, got none"):
        train(settings, dataset, tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(dataset, finished):
    with pytest.raises(InvalidCheckpoint, match="holds a run already"):
        train(SETTINGS, dataset, finished, console=QUIET)
    other = Settings.model_validate(SETTINGS.model_dump() | {"seed": 5})
    with pytest.raises(InvalidCheckpoint, match="other settings"):
        train(other, dataset, finished, resume=True, console=QUIET)


def test_a_run_goes_on_only_with_the_data_it_began_with(finished, tmp_path):
    make_dataset(Recipe(seed=1, train_identities=6, test_identities=2, images_per_identity=3), tmp_path)
    before = (finished / "data.json").read_text()
    with pytest.raises(InvalidCheckpoint, match="other data"):
        train(SETTINGS, tmp_path, finished, resume=True, console=QUIET)
    assert (finished / "data.json").read_text() == before


def corrected(dataset: Path, folder: Path) -> Path:
    """The same pictures, but one person of the training has another gender."""
    attributes = read_attributes(dataset / "market_attribute.mat", "train")
    pid = load_training_data(dataset, SETTINGS.seed).pids[0]
    attributes[pid] = np.array(attributes[pid])
    attributes[pid][0] = 1 - attributes[pid][0]
    folder.mkdir()
    (folder / "bounding_box_train").symlink_to(dataset / "bounding_box_train")
    write_attributes(folder / "market_attribute.mat", attributes, attributes)
    return folder


def test_a_run_goes_on_only_with_the_attributes_it_began_with(dataset, finished, tmp_path):
    other = corrected(dataset, tmp_path / "corrected")
    with pytest.raises(InvalidCheckpoint, match=r"data\.json: .* other data: other pictures, labels or attributes"):
        train(SETTINGS, other, finished, resume=True, console=QUIET)


def test_a_run_of_the_earlier_version_goes_on_and_is_held_to_its_attributes_from_then_on(dataset, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    record = tmp_path / "run" / "data.json"
    files = sorted((path.name, path.stat().st_size) for path in (dataset / "bounding_box_train").glob("*.jpg"))
    # As that version wrote it.
    earlier = {key: value for key, value in json.loads(record.read_text()).items() if key != "format"}
    earlier |= {"sha256": hashlib.sha256(json.dumps(files).encode()).hexdigest()}
    record.write_text(json.dumps(earlier))
    train(SETTINGS, dataset, tmp_path / "run", resume=True, console=QUIET)
    assert json.loads(record.read_text()) == load_training_data(dataset, SETTINGS.seed).description()
    with pytest.raises(InvalidCheckpoint, match="other data"):
        train(SETTINGS, corrected(dataset, tmp_path / "corrected"), tmp_path / "run", resume=True, console=QUIET)

    record.write_text(json.dumps(earlier | {"sha256": "0" * 64}))
    with pytest.raises(InvalidCheckpoint, match="other data"):
        train(SETTINGS, dataset, tmp_path / "run", resume=True, console=QUIET)


def test_a_run_of_a_newer_version_is_refused(dataset, finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    record = json.loads((tmp_path / "data.json").read_text())
    (tmp_path / "data.json").write_text(json.dumps(record | {"format": 3}))
    with pytest.raises(InvalidCheckpoint, match=r"data\.json is of format 3, expected 2 or an earlier one"):
        train(SETTINGS, dataset, tmp_path, resume=True, console=QUIET)


def test_the_fingerprint_is_of_all_that_training_reads_but_the_pixels(dataset):
    data = load_training_data(dataset, SETTINGS.seed)
    attributes = data.attributes.copy()
    attributes[1, 2] = 1 - attributes[1, 2]
    swapped = (data.crops[1], data.crops[0], *data.crops[2:])
    elsewhere = replace(data.crops[0], camid=data.crops[0].camid + 1)
    somebody_else = replace(data.held_out[0], pid=data.held_out[0].pid + 1)
    changed = [
        replace(data, attributes=attributes),
        replace(data, crops=data.crops[1:], attributes=data.attributes[1:]),
        replace(data, crops=(elsewhere, *data.crops[1:])),
        replace(data, held_out=(somebody_else, *data.held_out[1:])),
    ]
    assert len({data.fingerprint(), *(other.fingerprint() for other in changed)}) == 5
    assert not any(other.is_described_by(data.description()) for other in changed)
    same = replace(data, crops=swapped, attributes=data.attributes[[1, 0, *range(2, len(swapped))]], folder=Path("a"))
    assert same.is_described_by(data.description())


def test_training_a_stage_again_forgets_what_was_made_from_it(dataset, finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "teacher.npz").write_bytes(b"")
    train(SETTINGS, dataset, tmp_path, stage="iqa", console=QUIET)
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["iqa.best.pt", "iqa.pt"]
    assert not (tmp_path / "identifiability.npz").exists()
    assert not (tmp_path / "utility.npz").exists() and not (tmp_path / "diagnosis.json").exists()
    assert not (tmp_path / "teacher.npz").exists()


def test_the_utility_is_taught_by_the_finished_networks_and_the_same_at_each_time(dataset, finished, tmp_path):
    taught, diagnosis = load_utility(finished), load_diagnosis(finished)
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "utility.npz").unlink()
    train(SETTINGS, dataset, run, stage="weighting", console=QUIET)
    for name, values in load_utility(run).arrays().items():
        np.testing.assert_allclose(values, taught.arrays()[name], rtol=1e-4, atol=1e-5, err_msg=name)
    for name, defect in load_diagnosis(run).defects.items():
        np.testing.assert_allclose(defect.weights, diagnosis.defects[name].weights, rtol=1e-3, atol=1e-3, err_msg=name)
    (run / "diagnosis.json").write_text("{}")
    with pytest.raises(InvalidCheckpoint, match=r"diagnosis\.json: not a diagnosis.*--stage weighting"):
        load_diagnosis(run)
    (run / "utility.npz").write_bytes(b"PK")
    with pytest.raises(InvalidCheckpoint, match=r"utility\.npz: damaged .*--stage weighting"):
        load_utility(run)
    # Trained without: none is served.
    without = SETTINGS.model_copy(update={"lessons": LessonSettings(crops=0)})
    save_settings(without, run / "settings.yaml")
    train(without, dataset, run, stage="weighting", console=QUIET)
    assert load_utility(run) is None and load_diagnosis(run) is None
    checkpoint_path(run, "joint").unlink()
    with pytest.raises(InvalidCheckpoint, match=r"joint\.pt: no such checkpoint"):
        train(SETTINGS, dataset, run, stage="weighting", console=QUIET)


def test_a_quality_network_is_added_to_a_finished_run(dataset, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    assert load_networks(run, quality=True).quality is None, "its settings ask for none"
    more = SETTINGS.model_copy(update={"quality": QualitySettings(pictures=8, epochs=2)})
    with pytest.raises(InvalidCheckpoint, match=r"other settings \(quality\)"):
        train(more, dataset, run, stage="weighting", console=QUIET)
    train(more, dataset, run, stage="quality", console=QUIET)
    network = load_networks(run, quality=True).quality
    assert network is not None and not network.training
    fitted = load_networks(run).weighting.served()
    with torch.no_grad():
        q, alpha, _, _ = network(torch.zeros(1, 3, 384, 128))
    assert 0 <= float(alpha) <= 1 and float(q) >= 0 and fitted.kind == "paper"
    # What is there already is kept when the run goes on, and what the views said if it is taught anew.
    written, answers = (run / "quality.pt").read_bytes(), (run / "teacher.npz").read_bytes()
    train(more, dataset, run, resume=True, console=QUIET)
    assert (run / "quality.pt").read_bytes() == written
    train(more, dataset, run, stage="weighting", console=QUIET)
    assert not (run / "quality.pt").exists() and (run / "teacher.npz").read_bytes() == answers
    train(more, dataset, run, resume=True, console=QUIET)
    assert (run / "quality.pt").is_file()
    # Without a utility there is nothing to say.
    (run / "utility.npz").unlink()
    train(more, dataset, run, stage="quality", console=QUIET)
    assert not (run / "quality.pt").exists()


def test_alpha_is_fitted_for_retrieval_and_no_q_is_needed(dataset, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    for name in ("identifiability.npz", "utility.npz"):
        (run / name).unlink()
    fitting = SETTINGS.model_copy(update={"joint": SETTINGS.joint.model_copy(update={"weighting": "retrieval"})})
    save_settings(fitting, run / "settings.yaml")
    train(fitting, dataset, run, stage="joint", console=QUIET)
    assert not (run / "identifiability.npz").exists() and load_fitted_weighting(run) is None
    assert "--stage weighting" in unfitted(run) and unfitted(finished, best=True) is None
    train(fitting, dataset, run, stage="weighting", console=QUIET)
    assert unfitted(run) is None and "not to those of the best one" in unfitted(run, best=True)
    fitted = load_fitted_weighting(run)
    assert fitted.kind in ("constant", "retrieval")
    assert isinstance(load_networks(run).weighting, TrainableConstant)
    assert load_utility(run) is not None
    # What is there already is kept when the run goes on.
    (run / "utility.npz").unlink()
    written = (run / "weighting.npz").read_bytes()
    train(fitting, dataset, run, resume=True, console=QUIET)
    assert (run / "weighting.npz").read_bytes() == written and (run / "utility.npz").is_file()
    (run / "weighting.npz").write_bytes(b"PK")
    with pytest.raises(InvalidCheckpoint, match=r"weighting\.npz: .*--stage weighting"):
        load_fitted_weighting(run)
    train(fitting, dataset, run, stage="joint", console=QUIET)
    assert not (run / "weighting.npz").exists()


def test_a_stage_that_another_version_left_unfinished_is_refused_in_words(dataset, finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    path = checkpoint_path(tmp_path, "joint")
    content = torch.load(path, weights_only=True)
    content["optimizers"]["fusion"]["param_groups"] = content["optimizers"]["fusion"]["param_groups"][:1]
    torch.save(content | {"complete": False}, path)
    with pytest.raises(InvalidCheckpoint, match="another version left it amid the stage .* --stage joint"):
        train(SETTINGS, dataset, tmp_path, resume=True, console=QUIET)


def test_metrics_have_one_line_a_step_and_one_a_validation(dataset, finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    train(SETTINGS, dataset, tmp_path, stage="joint", console=QUIET)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    per_epoch = len(Batches(load_training_data(dataset, 0), SETTINGS, "iqa"))
    steps = [(line["stage"], line["step"]) for line in lines if "loss" in line]
    assert len(set(steps)) == len(steps) == 3 * 2 * per_epoch
    validated = [(line["stage"], line["step"]) for line in lines if "validation" in line]
    assert validated == [(stage, epoch * per_epoch - 1) for stage in ("iqa", "apan", "joint") for epoch in (1, 2)]
    assert all(0 < line["validation"]["mAP"] <= 1 for line in lines if "validation" in line)


@pytest.mark.parametrize("stage", ["apan", "joint"])
def test_a_stage_needs_the_one_before_and_leaves_no_run_without_it(dataset, tmp_path, stage):
    with pytest.raises(InvalidCheckpoint, match=r"iqa\.pt: no such checkpoint"):
        train(SETTINGS, dataset, tmp_path / "run", stage=stage, console=QUIET)
    assert not (tmp_path / "run").exists()


def test_a_stage_is_refused_before_what_the_run_has_of_it_is_lost(dataset, finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    checkpoint_path(tmp_path, "apan").unlink()
    left = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(InvalidCheckpoint, match=r"apan\.pt: no such checkpoint"):
        train(SETTINGS, dataset, tmp_path, stage="joint", console=QUIET)
    assert {path.name for path in tmp_path.iterdir()} == left


@pytest.mark.parametrize("damage", ["truncated", "emptied", "replaced"])
def test_a_damaged_checkpoint_is_named(dataset, finished, tmp_path, damage):
    path = checkpoint_path(tmp_path, "iqa")
    content = checkpoint_path(finished, "iqa").read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "emptied": b"", "replaced": b"no checkpoint"}[damage])
    with pytest.raises(InvalidCheckpoint, match=r"iqa\.pt: damaged"):
        load_checkpoint(tmp_path, "iqa")


def test_weights_that_do_not_fit_are_refused(finished):
    networks = {"iqa": load_networks(finished).apn}
    with pytest.raises(InvalidCheckpoint, match="does not fit the iqa network"):
        load_checkpoint(finished, "iqa").restore(networks)


def test_a_tenth_of_the_identities_is_held_out(dataset):
    data = load_training_data(dataset, seed=0)
    held_out = {crop.pid for crop in data.held_out}
    assert len(held_out) == 2 and len(data.pids) == 4
    assert held_out.isdisjoint(data.pids) and {crop.pid for crop in data.crops} == set(data.pids)
    assert [data.pids[label] for label in data.labels] == [crop.pid for crop in data.crops]
    assert {crop.pid for crop in load_training_data(dataset, seed=3).held_out} != held_out


def test_an_attribute_file_that_lacks_an_identity_is_named(dataset, tmp_path):
    attributes = read_attributes(dataset / "market_attribute.mat", "train")
    absent = load_training_data(dataset, seed=0).pids[0]
    (tmp_path / "bounding_box_train").symlink_to(dataset / "bounding_box_train")
    rest = {pid: values for pid, values in attributes.items() if pid != absent}
    write_attributes(tmp_path / "market_attribute.mat", rest, rest)
    with pytest.raises(InvalidDataset, match=rf"market_attribute\.mat: no attributes .* {absent:04d}"):
        load_training_data(tmp_path, seed=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_training_image_is_named_in_one_sentence(dataset, tmp_path, workers):
    (tmp_path / "bounding_box_train").mkdir()
    for path in (dataset / "bounding_box_train").iterdir():
        (tmp_path / "bounding_box_train" / path.name).write_bytes(path.read_bytes()[:400])
    (tmp_path / "market_attribute.mat").symlink_to(dataset / "market_attribute.mat")
    settings = Settings.model_validate(SETTINGS.model_dump() | {"workers": workers})
    with pytest.raises(InvalidDataset, match=r"\.jpg: the image is damaged") as caught:
        train(settings, tmp_path, tmp_path / "run", console=QUIET)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("identities", "images"), [(2, 4), (3, 2), (8, 4)])
def test_batches_are_balanced_over_identities(identities, images):
    labels = np.repeat(np.arange(6), [3, 9, 5, 4, 7, 12])
    batches = list(identity_batches(labels, identities, images, seed=(0,)))
    assert len(batches) == max(1, len(labels) // (identities * images))
    for batch in batches:
        found, counts = np.unique(labels[batch], return_counts=True)
        assert len(found) == min(identities, 6) and (counts == images).all()
        # Only an identity with fewer images than wanted repeats one.
        assert all(len(set(np.array(batch)[labels[batch] == label])) == images for label in found if label)
    assert batches == list(identity_batches(labels, identities, images, seed=(0,)))
    assert batches != list(identity_batches(labels, identities, images, seed=(1,)))


def test_an_epoch_is_the_same_whoever_loads_it(dataset):
    data = load_training_data(dataset, seed=0)
    epochs = [
        list(Batches(data, Settings.model_validate(SETTINGS.model_dump() | {"workers": workers}), "iqa").epoch(1))
        for workers in (0, 2)
    ]
    assert len(epochs[0]) == len(epochs[1]) > 0
    for alone, together in zip(*epochs, strict=True):
        assert torch.equal(alone.crops, together.crops) and torch.equal(alone.rows, together.rows)
    assert alone.crops.shape == (4, 384, 128, 3) and alone.crops.dtype == torch.uint8
    assert alone.attributes.shape == (4, 12)


def test_the_rate_warms_up_and_falls_to_nothing():
    schedule = load_preset("market1501").iqa
    assert rate_factor(0, schedule) == 0
    assert rate_factor(5, schedule) == pytest.approx(0.5)
    assert rate_factor(10, schedule) == pytest.approx(1)
    assert rate_factor(65, schedule) == pytest.approx(0.5)
    assert rate_factor(120, schedule) == pytest.approx(0)


def test_a_dataset_without_attributes_is_trained_by_appearance_alone(dataset, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(dataset, data)
    (data / "market_attribute.mat").unlink()
    with pytest.raises(InvalidDataset, match="no attributes of the people in it are known"):
        train(SETTINGS, data, run, console=QUIET)
    assert not run.exists()

    settings = without_attributes(SETTINGS)
    train(settings, data, run, console=QUIET)
    assert not checkpoint_path(run, "apan").exists()
    networks = load_networks(run)
    assert networks.apan is None and load_utility(run) is not None
    assert float(networks.weighting.served().value) == 1
    joint = load_checkpoint(run, "joint")
    assert joint.networks.keys() == {"apn", "classifiers", "fusion", "weighting"} and joint.optimizers.keys() == {"apn"}
    # The FC was computed of what APN says, and has orthonormal rows.
    rows = joint.networks["fusion"]["compress.weight"]
    assert rows.shape == (1000, 1024) and torch.allclose(rows @ rows.T, torch.eye(1000), atol=1e-4)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validated = [record["validation"] for record in records if "validation" in record and record["stage"] == "joint"]
    assert all("mAP_visual" in found and "mAP_semantic" not in found for found in validated)
    with pytest.raises(InvalidSettings, match="without attributes there is no stage apan"):
        train(settings, data, run, stage="apan", console=QUIET)
    with pytest.raises(InvalidCheckpoint, match=r"other settings \(attributes, joint\)"):
        train(SETTINGS, dataset, run, resume=True, console=QUIET)
