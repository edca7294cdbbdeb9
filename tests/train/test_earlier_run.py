"""Runs that build on an earlier one: its networks fine-tuned on other people, its branches trained again on all."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from export.run import origin_of
from export.samples import load_samples
from qafm.errors import InvalidCheckpoint, InvalidSettings
from qafm.weighting import save_weighting
from qafm.weighting.constant import Constant
from synthetic import Recipe, make_dataset
from tests.support.short_run import QUIET, SETTINGS
from train.checkpoint import checkpoint_path, load_checkpoint, load_networks
from train.data import load_training_data
from train.pipeline import train
from train.presets import without_attributes

pytestmark = pytest.mark.training

STILL = 1e-50
"""A learning rate that moves no weight in float32."""


def draw(root: Path, identities: int, seed: int) -> Path:
    recipe = Recipe(
        train_identities=identities, test_identities=2, images_per_identity=3, distractors=0, junk=0, seed=seed
    )
    make_dataset(recipe, root)
    return root


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return draw(tmp_path_factory.mktemp("dataset"), 6, 0)


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Path:
    return draw(tmp_path_factory.mktemp("others"), 8, 1)


@pytest.fixture(scope="module")
def earlier(dataset, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("earlier")
    train(SETTINGS, dataset, run, console=QUIET)
    save_weighting(run / "weighting.npz", Constant(np.array(0.3)))
    return run


@pytest.fixture(scope="module")
def refit(dataset, earlier, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("refit")
    train(refitting(earlier), dataset, run, console=QUIET)
    return run


def refitting(earlier: Path):
    return SETTINGS.model_copy(update={"refits": str(earlier)})


def fine_tuning(earlier: Path, **changes):
    return SETTINGS.model_copy(update={"fine_tunes": str(earlier), **changes})


def same(one: torch.nn.Module, other: torch.nn.Module, *, buffers: bool = True) -> bool:
    """Whether two networks have the same weights."""
    ours, theirs = (network.state_dict() if buffers else dict(network.named_parameters()) for network in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_refit_keeps_what_quality_rests_on_and_trains_the_branches_again(earlier, refit):
    before, after = load_networks(earlier), load_networks(refit)
    assert same(before.iqa, after.iqa) and same(before.weighting, after.weighting)
    for name in ("utility.npz", "weighting.npz", "diagnosis.json"):
        assert (earlier / name).read_bytes() == (refit / name).read_bytes()
    assert not same(before.apn, after.apn, buffers=False)
    assert not same(before.apan, after.apan, buffers=False)
    assert not same(before.fusion, after.fusion, buffers=False)


def test_a_refit_trains_on_everybody_and_says_so(dataset, earlier, refit):
    """Six people, two of whom the earlier run held out."""
    for run, people in ((earlier, 4), (refit, 6)):
        joint = load_checkpoint(run, "joint")
        assert len(joint.pids) == people == len(joint.networks["classifiers"]["whole.weight"])
    before, after = (json.loads((run / "data.json").read_text()) for run in (earlier, refit))
    assert after["held_out_trained_on"] is True and "held_out_trained_on" not in before
    assert after["crops"] == before["crops"] + before["held_out_crops"]
    origin = origin_of(refit)
    assert origin["data"]["held_out_trained_on"] is True
    assert origin["settings"]["refits"] == earlier.name
    # The gates run over the same crops, and nothing is validated on people who are trained on.
    ours, theirs = (load_samples(run, dataset).held_out for run in (refit, earlier))
    assert ours == theirs
    assert "mAP" in (earlier / "metrics.jsonl").read_text()
    assert "mAP" not in (refit / "metrics.jsonl").read_text()


def test_a_refit_knows_every_q_wherever_its_data_was_named_from(dataset, earlier, tmp_path, monkeypatch):
    class Begun(Exception):
        pass

    def begun(*_, q, held_out_q, **__):
        raise Begun(np.isnan(q).sum(), np.isnan(held_out_q).sum(), len(q))

    monkeypatch.setattr("train.pipeline.JointStage", begun)
    monkeypatch.chdir(dataset.parent)
    with np.load(earlier / "identifiability.npz") as scores:
        known = len(scores["names"])
    for place in (dataset, Path(dataset.name)):
        with pytest.raises(Begun) as found:
            train(refitting(earlier), place, tmp_path / place.name / str(place.is_absolute()), console=QUIET)
        unknown, held_out_unknown, count = found.value.args
        assert unknown == count - known and held_out_unknown < count - len(load_training_data(dataset, 0).crops)


def test_an_interrupted_refit_goes_on(dataset, earlier, refit, tmp_path):
    shutil.copytree(refit, tmp_path, dirs_exist_ok=True)
    checkpoint_path(tmp_path, "joint").unlink()
    train(refitting(earlier), dataset, tmp_path, resume=True, console=QUIET)
    expected, got = load_networks(refit), load_networks(tmp_path)
    assert all(same(*both) for both in zip(expected.all(), got.all(), strict=True))


def test_what_cannot_be_refitted_is_refused_and_no_run_is_left(dataset, others, earlier, refit, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(InvalidCheckpoint, match="trained on other data; a refit needs the same"):
        train(refitting(earlier), others, run, console=QUIET)
    with pytest.raises(InvalidCheckpoint, match=f"refits {earlier} itself; name that run"):
        train(refitting(refit), dataset, run, console=QUIET)
    with pytest.raises(InvalidSettings, match="a refit keeps the iqa stage"):
        train(refitting(earlier), dataset, run, stage="iqa", console=QUIET)
    unfinished = tmp_path / "unfinished"
    shutil.copytree(earlier, unfinished)
    checkpoint_path(unfinished, "joint").unlink()
    with pytest.raises(InvalidCheckpoint, match=r"joint\.pt: no such checkpoint"):
        train(refitting(unfinished), dataset, run, console=QUIET)
    assert not run.exists()


def test_fine_tuning_starts_every_network_where_the_earlier_run_ended(others, earlier, tmp_path):
    """With a rate that moves nothing, all ends as it started; the classifiers are of the new people."""
    train(fine_tuning(earlier, learning_rate=STILL), others, tmp_path, console=QUIET)
    before, after = load_networks(earlier), load_networks(tmp_path)
    assert all(same(*both, buffers=False) for both in zip(before.all(), after.all(), strict=True))
    assert not torch.equal(before.weighting.mu, after.weighting.mu)
    assert len(load_checkpoint(tmp_path, "joint").networks["classifiers"]["whole.weight"]) == 6


def test_fine_tuning_learns_and_can_be_refitted(others, earlier, tmp_path):
    joint = SETTINGS.joint.model_copy(update={"frozen_epochs": 0})
    tuned = fine_tuning(earlier, joint=joint)
    train(tuned, others, tmp_path / "tuned", console=QUIET)
    before, after = load_networks(earlier), load_networks(tmp_path / "tuned")
    for name in ("iqa", "apn", "apan", "fusion", "weighting"):
        assert not same(getattr(before, name), getattr(after, name), buffers=False), name
    for branch in (load_checkpoint(tmp_path / "tuned", "iqa").networks["iqa"], before.iqa.state_dict()):
        assert not torch.equal(branch["trunk.stem.0.weight"], after.apn.trunk.stem[0].weight)
    assert origin_of(tmp_path / "tuned")["settings"]["fine_tunes"] == earlier.name

    train(tuned.model_copy(update={"refits": str(tmp_path / "tuned")}), others, tmp_path / "refit", console=QUIET)
    refitted = load_networks(tmp_path / "refit")
    assert same(refitted.weighting, after.weighting) and not same(refitted.apn, after.apn, buffers=False)


def test_trunks_that_will_not_move_are_warned_of(others, earlier, tmp_path):
    console = Console(width=300, file=io.StringIO())
    train(fine_tuning(earlier), others, tmp_path, stage="iqa", console=console)
    assert "joint.frozen_epochs (10) leaves none of the joint stage's 2 epochs" in console.file.getvalue()


def test_a_refit_has_no_best_epoch(refit, tmp_path):
    command = [sys.executable, "-m", "export", refit, "--best", "--repository", tmp_path / "models"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "nothing is validated in a refit" in done.stderr.replace("\n", " ")


def test_other_networks_cannot_be_fine_tuned(others, earlier, tmp_path):
    wider = SETTINGS.network.model_copy(update={"channels": SETTINGS.network.channels * 2})
    with pytest.raises(InvalidSettings, match="network of the preset differs from that of"):
        train(fine_tuning(earlier, network=wider), others, tmp_path / "run", console=QUIET)
    constant = SETTINGS.joint.model_copy(update={"weighting": "constant"})
    with pytest.raises(InvalidSettings, match=r"joint\.weighting of the preset differs"):
        train(fine_tuning(earlier, joint=constant), others, tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected --preset, --from or --refit"),
        (["--refit", "RUN", "--preset", "demo"], "give --refit without --preset"),
        (["--refit", "RUN", "--seed", "1"], "give --refit without --preset"),
        (["--from", "RUN", "--weights", "none"], "give it without --weights"),
        (["--from", "nowhere"], "nowhere: not a training run"),
        (["--refit", "nowhere"], "nowhere: not a training run"),
    ],
)
def test_options_that_do_not_go_together_are_refused(earlier, others, tmp_path, options, message):
    options = [str(earlier) if option == "RUN" else option for option in options]
    done = subprocess.run(
        [sys.executable, "-m", "train", "--data", others, "--out", tmp_path / "run", *options],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_the_command_goes_on_by_the_settings_of_the_run(others, earlier, tmp_path):
    command = [sys.executable, "-m", "train", "--from", earlier, "--data", others, "--out", tmp_path / "run"]
    done = subprocess.run([*command, "--stage", "iqa"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(tmp_path / "run", "iqa").complete


def test_people_without_attributes_start_from_a_run_that_has_them(dataset, earlier, tmp_path):
    """Its APN and its IQA network; not the other way round."""
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(dataset, data)
    (data / "market_attribute.mat").unlink()
    train(without_attributes(fine_tuning(earlier, learning_rate=STILL)), data, run, console=QUIET)
    before, after = load_networks(earlier), load_networks(run)
    assert same(before.iqa, after.iqa, buffers=False) and same(before.apn, after.apn, buffers=False)
    assert after.apan is None and after.fusion.compress.in_features == 1024

    with pytest.raises(InvalidSettings, match="attributes of the preset differs from that of"):
        train(fine_tuning(run), dataset, tmp_path / "other", console=QUIET)
