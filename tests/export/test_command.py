"""`python -m export` on a run that was trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from export.__main__ import main
from export.variants import read_config
from qafm.weighting import load_weighting, save_weighting
from qafm.weighting.constant import Constant
from synthetic import Recipe, make_dataset
from synthetic.degradation import EVERY_KIND
from tests.support.short_run import QUIET, SETTINGS
from train.pipeline import train
from train.quality.teaching import load_diagnosis

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("dataset")
    recipe = Recipe(train_identities=6, test_identities=2, images_per_identity=7, distractors=0, junk=0, degraded=0)
    make_dataset(recipe, root)
    return root


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("run")
    train(SETTINGS, dataset, run, console=QUIET)
    return run


def export(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def manifest_of(repository: Path) -> dict:
    return json.loads(read_config(repository / "qafm/config.pbtxt").parameters["manifest"].string_value)


def quality_of(repository: Path) -> dict:
    return manifest_of(repository)["quality"]


def test_what_quality_tells_is_measured_on_held_out_people(finished, tmp_path):
    done = export(finished, "--repository", tmp_path / "models")
    assert done.exit_code == 0 and "What quality tells" in done.output
    quality = quality_of(tmp_path / "models")
    counts = {kind: about["n"] for kind, about in quality.items() if kind != "discard"}
    assert set(counts) == set(EVERY_KIND)
    assert set(quality["blur"]["spearman"]) == {"identifiability", "scatter", "utility"}
    assert manifest_of(tmp_path / "models")["diagnosis"] == load_diagnosis(finished).content()
    served = read_config(tmp_path / "models/qafm/config.pbtxt")
    assert "UTILITY" in [output.name for output in served.output]
    held_out = json.loads((finished / "data.json").read_text())["held_out_crops"]
    assert sum(counts.values()) == 3 * held_out


def test_an_alpha_that_was_fitted_is_served(finished, tmp_path):
    save_weighting(finished / "weighting.npz", Constant(np.array(0.3)))
    try:
        assert export(finished, "--repository", tmp_path / "models").exit_code == 0
    finally:
        (finished / "weighting.npz").unlink()
    served = load_weighting(tmp_path / "models/alpha/1/alpha.npz")
    assert isinstance(served, Constant) and served.value == np.float32(0.3)
    manifest = json.loads(read_config(tmp_path / "models/qafm/config.pbtxt").parameters["manifest"].string_value)
    assert manifest["weighting"] == {"kind": "constant", "alpha": pytest.approx(0.3)}


def test_without_the_data_or_a_utility_the_export_goes_on_and_says_so(dataset, finished, tmp_path):
    moved = dataset.rename(dataset.with_name("moved"))
    (finished / "utility.npz").unlink()
    try:
        done = export(finished, "--repository", tmp_path / "models")
        assert done.exit_code == 0 and "what quality tells is not checked" in done.output
        assert quality_of(tmp_path / "models") is None
        for name in ("alpha", "qafm"):
            assert "UTILITY" not in (tmp_path / "models" / name / "config.pbtxt").read_text()
        # Named, it must be there.
        assert export(finished, "--repository", tmp_path / "models", "--data", dataset).exit_code == 2
    finally:
        moved.rename(dataset)
