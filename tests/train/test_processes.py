"""Training in several processes: two on the CPU here, as `torchrun` starts them on several GPUs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from qafm.errors import InvalidSettings
from synthetic import Recipe, make_dataset
from tests.support.one_step import SETTINGS, gradients
from train.batches import Batches
from train.checkpoint import load_finished_checkpoint, load_networks
from train.data import load_training_data
from train.launch import launch
from train.networks import IQA, build_trunk
from train.presets import save_settings
from train.settings import Settings

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("dataset")
    make_dataset(Recipe(train_identities=6, test_identities=2, images_per_identity=8, distractors=0, junk=0), root)
    return root


def torchrun(*arguments) -> str:
    """Standard output of two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        # its workers too
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, errors
    return output


def test_two_processes_share_each_batch(dataset):
    data = load_training_data(dataset, seed=0)
    (whole, *_), *shares = (
        list(Batches(data, SETTINGS, "iqa", rank=rank, processes=processes).epoch(0))
        for rank, processes in ((0, 1), (0, 2), (1, 2))
    )
    assert torch.equal(torch.cat([share[0].rows for share in shares]), whole.rows)
    assert torch.equal(torch.cat([share[0].crops for share in shares]), whole.crops)
    labels = [set(share[0].labels.tolist()) for share in shares]
    assert labels[0].isdisjoint(labels[1]) and len(labels[0]) == len(labels[1]) == 2


@pytest.mark.parametrize("processes", [3, 4])
def test_a_batch_that_cannot_be_shared_is_refused(dataset, processes):
    with pytest.raises(InvalidSettings, match=f"4 identities a batch over {processes} processes: expected a multiple"):
        Batches(load_training_data(dataset, 0), SETTINGS, "iqa", processes=processes)


def test_two_processes_step_as_one_does_with_the_whole_batch(dataset, tmp_path):
    """Triplets too: each process compares its share with everybody's. Only in pass 4, whose given classifier normalises
    by the batch, is it the mean of what each would have stepped with alone."""
    torchrun("-m", "tests.support.one_step", dataset, tmp_path / "gradients.pt")
    together = torch.load(tmp_path / "gradients.pt")
    whole = gradients(launch(), dataset, 0, 1)
    alone = [gradients(launch(), dataset, rank, 2) for rank in (0, 1)]
    mean = {name: (alone[0][name] + alone[1][name]) / 2 for name in together}
    assert together.keys() == whole.keys()
    # Behind a normalisation, some gradients are 0 but for rounding.
    noise = 1e-6 * max(float(values.norm()) for values in together.values())
    for name, got in together.items():
        expected = (mean if name.startswith(("weighting.", "fusion.projections.")) else whole)[name]
        # Another number of threads adds up in another order, and a ReLU near 0 then falls on its other side.
        assert (got - expected).norm() <= 0.05 * expected.norm() + noise, name
    # A gradient that stayed that of one process, or triplets among its own share only, would be far off.
    for name in ("apn.embed.weight", "fusion.compress.weight"):
        assert (alone[0][name] - together[name]).norm() > 0.3 * together[name].norm()
        assert (mean[name] - together[name]).norm() > 0.06 * together[name].norm()


def test_pretrained_trunks_stand_still_in_two_processes(dataset, tmp_path):
    """While the rest of the branches learns."""
    trunk = build_trunk(SETTINGS.network)
    weights = tmp_path / "iqa.pt"
    torch.save({"complete": True, "networks": {"iqa": IQA(trunk).state_dict()}}, weights)
    epochs = {"epochs": 2, "warmup_epochs": 0, "small_epochs": 2}
    settings = SETTINGS.model_dump() | {"learning_rate": 1e-3, "weights": str(weights)}
    settings |= {"iqa": epochs, "apan": epochs, "joint": epochs | {"q_crops": 6, "frozen": "pretrained"}}
    preset, run = tmp_path / "preset.yaml", tmp_path / "run"
    save_settings(Settings.model_validate(settings), preset)
    torchrun("-m", "train", "--preset", preset, "--data", dataset, "--out", run)
    iqa, apan, joint = (load_finished_checkpoint(run, stage).networks for stage in ("iqa", "apan", "joint"))
    trained = {name: values for name, values in iqa["iqa"].items() if name.startswith("trunk.")}
    assert not torch.equal(trained["trunk.stem.0.weight"], trunk.state_dict()["stem.0.weight"])
    assert trained and all(torch.equal(values, joint["apn"][name]) for name, values in trained.items())
    before, after = apan["apan"], joint["apan"]
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("trunk."))
    assert not torch.equal(before["embed.0.weight"], after["embed.0.weight"])


def test_a_run_in_two_processes(dataset, tmp_path):
    """Half precision, and most crops without a Q: a batch's share may have none, the other's some. One of them alone
    teaches the quality network."""
    epochs = {"epochs": 2, "warmup_epochs": 0, "small_epochs": 2}
    settings = SETTINGS.model_dump() | {"learning_rate": 1e-3, "precision": "bfloat16"}
    settings |= {"iqa": epochs, "apan": epochs, "joint": epochs | {"q_crops": 6}}
    settings |= {"quality": {"pictures": 4, "epochs": 1}}
    preset, run = tmp_path / "preset.yaml", tmp_path / "run"
    save_settings(Settings.model_validate(settings), preset)
    output = torchrun("-m", "train", "--preset", preset, "--data", dataset, "--out", run)
    assert "in 2 processes" in output and output.count("joint epoch 2/2") == 1 and output.count("done") == 1
    assert load_finished_checkpoint(run, "joint").epoch == 2
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = 2 * len(Batches(load_training_data(dataset, 0), SETTINGS, "iqa"))
    logged = [line["stage"] for line in lines if "loss" in line]
    assert logged == [*["iqa"] * steps, *["apan"] * steps, *["joint"] * steps, "quality"] and steps >= 6
    assert load_networks(run, quality=True).quality is not None
    # Each process scored its share of the crops, and nothing is left of that.
    with np.load(run / "identifiability.npz") as scores:
        assert len(set(scores["names"].tolist())) == 6 and (scores["scores"] > 0).all()
    assert not list(run.glob("*identifiability-*"))
