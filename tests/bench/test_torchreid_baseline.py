"""torchreid's training as a baseline: what needs no torchreid; and, where a checkout is named, a training of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from bench.torchreid_baseline.__main__ import main
from bench.torchreid_baseline.engine import Baseline, Counted, Study
from bench.torchreid_baseline.scoring import with_direction
from bench.torchreid_checkout import import_from, import_torchreid
from qafm.errors import InvalidSettings
from qafm.retrieval.descriptors import Descriptors, read_descriptors
from synthetic import Recipe, make_dataset

CHECKOUT = os.environ.get("TORCHREID")


def invoke(*arguments):
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_it_says_how_it_is_used():
    done = invoke("--help")
    assert done.exit_code == 0 and "--checkout" in done.output


def test_a_folder_without_torchreid_is_refused(tmp_path):
    before = list(sys.path)
    with pytest.raises(typer.BadParameter, match="expected a checkout of torchreid"):
        import_from(tmp_path, (".",), "torchreid")
    with pytest.raises(typer.BadParameter, match="expected a checkout of torchreid"):
        import_torchreid(tmp_path)
    assert sys.path == before
    done = invoke("--checkout", tmp_path, "--data", tmp_path, "--out", tmp_path / "out", "--images", 1)
    assert done.exit_code == 2 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give one"),
        ({"images": 1, "seconds": 1.0}, "give one"),
        ({"images": 0}, "images: expected a number above 0, got 0"),
        ({"seconds": float("nan")}, "seconds: expected a number above 0, got nan"),
        ({"images": 1, "loss": "center"}, "loss: expected one of triplet, softmax, got center"),
        ({"images": 1, "lr": -1.0}, "lr: expected a number above 0"),
        ({"images": 1, "batch": 66}, "batch: expected a multiple of 4"),
        ({"images": 1, "batch": 4}, "batch: expected a multiple of 4"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(InvalidSettings, match=message):
        Baseline(**settings)


def test_the_number_of_epochs_by_hand():
    """100 images and 10 seconds an epoch, two epochs done."""
    asked = {Baseline(images=n).epochs(2, 200, 20.0) for n in (501, 600)}
    assert asked == {6}  # at least so many images
    assert Baseline(images=150).epochs(2, 200, 20.0) == 2
    assert [Baseline(seconds=s).epochs(2, 200, 20.0) for s in (5, 54, 56)] == [2, 5, 6]  # to the nearest


def test_the_cosine_ends_where_the_training_does():
    """The rate of each epoch is that of torch's schedule over the number of epochs that it turned out to be."""

    def schedule(epochs):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, float(epochs))

    optimizer, expected = schedule(4)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        expected.step()

    engine = Counted()
    engine.baseline = Baseline(images=400)
    engine.optimizer, engine.scheduler = schedule(1)
    engine.epoch, found = 0, []
    while engine.epoch < engine.max_epoch:
        found.append(engine.optimizer.param_groups[0]["lr"])
        engine.started, engine.images = time.perf_counter(), engine.images + 100
        engine.update_lr()
        engine.epoch += 1
    assert found == pytest.approx(rates)


def test_the_study_trunk_takes_the_crops_as_they_are_fed():
    model = Study(5)
    sizes = []
    model.trunk.stem.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape)))
    crops = torch.zeros(2, 3, Baseline.height, Baseline.width)
    logits, features = model(crops)
    assert logits.shape == (2, 5) and features.shape == (2, 2048)
    assert model.eval()(crops).shape == (2, 2048)
    assert sizes == 2 * [(2, 3, 96, 32)]


def test_descriptors_of_zeros_get_a_direction_of_their_own_by_hand():
    def side(*rows):
        return Descriptors(np.array(rows, np.float32), np.arange(1, len(rows) + 1), np.ones(len(rows), np.int64))

    (query, gallery), zeros = with_direction(side([3, 4], [0, 0]), side([0, 0], [0, 2]))
    assert zeros == 2
    assert query.descriptors.tolist() == [[3, 4, 0, 0], [0, 0, 1, 0]]
    assert gallery.descriptors.tolist() == [[0, 0, 0, 1], [0, 2, 0, 0]]
    (same,), none = with_direction(side([3, 4], [0, 2]))
    assert none == 0 and same.descriptors.tolist() == [[3, 4], [0, 2]]


@pytest.mark.slow
@pytest.mark.skipif(CHECKOUT is None, reason="the variable TORCHREID names no checkout of torchreid")
def test_a_training_goes_on_as_if_it_had_not_been_interrupted(tmp_path):
    make_dataset(Recipe(train_identities=40, images_per_identity=5, test_identities=10), tmp_path / "data")
    arguments = ["--checkout", CHECKOUT, "--data", tmp_path / "data", "--images", "300", "--batch", "32"]

    def start(out, images="300"):
        # A checkpoint each epoch.
        code = "import typer, bench.torchreid_baseline.__main__ as b; b.SAVE_EVERY_S = 0; typer.run(b.main)"
        command = [sys.executable, "-c", code, *map(str, arguments), "--out", str(tmp_path / out), "--images", images]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finish(process):
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors

    def losses(out):
        lines = [json.loads(line) for line in (tmp_path / out / "progress.jsonl").read_text().splitlines()]
        return [[line[name] for name in ("epoch", "images", "lr", "loss_t", "loss_x")] for line in lines]

    finish(start("whole"))
    interrupted = start("parts")
    while not (tmp_path / "parts/checkpoint.pt").exists():
        assert interrupted.poll() is None, interrupted.communicate()
        time.sleep(0.05)
    interrupted.kill()
    interrupted.communicate()
    assert not (tmp_path / "parts/result.json").exists()
    finish(start("parts"))
    assert losses("parts") == losses("whole") and len(losses("whole")) > 1
    whole, parts = (json.loads((tmp_path / out / "result.json").read_text()) for out in ("whole", "parts"))
    assert whole["ours"] == parts["ours"]
    for name, value in whole["torchreid"].items():
        assert value == pytest.approx(whole["ours"][name], abs=1e-3)
    assert len(read_descriptors(tmp_path / "whole/query.npz")) == whole["ours"]["queries"]

    refused = start("whole", images="301")
    _, errors = refused.communicate(timeout=600)
    assert refused.returncode == 2 and "images" in errors
