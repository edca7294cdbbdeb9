from __future__ import annotations

import pytest
import yaml

from qafm.errors import InvalidSettings
from train.checkpoint import load_run_settings
from train.presets import PRESETS, load_preset, load_settings, preset_names, save_settings, without_attributes
from train.settings import Settings


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_loads_and_survives_saving(tmp_path, name):
    settings = load_preset(name)
    save_settings(settings, tmp_path / "settings.yaml")
    assert load_settings(tmp_path / "settings.yaml") == settings


def test_the_presets_are_the_contracts_and_market1501_is_the_papers():
    assert preset_names() == ["demo", "market1501", "market1501-strong", "study", "synthetic"]
    paper = load_preset("market1501")
    assert (paper.learning_rate, paper.weights) == (3.5e-4, "imagenet")
    assert (paper.joint.epochs, paper.joint.warmup_epochs) == (120, 10)
    assert (paper.joint.frozen_epochs, paper.joint.branch_rate) == (10, 0.1)
    # What the preset names beside that is what the paper is silent about: it changes no default.
    ours = {"identities_per_batch", "images_per_identity", "weight_decay", "workers", "check_every"}
    given = yaml.safe_load((PRESETS / "market1501.yaml").read_text()).keys()
    assert given == ours | {"weights"}
    for name in ("market1501", "market1501-strong", "synthetic"):
        assert load_preset(name).network.blocks == (3, 4, 6, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("joint: {epohcs: 3}", r"settings\.yaml: unknown setting 'joint\.epohcs'; did you mean 'epochs'\?"),
        ("qqq: 1", "unknown setting 'qqq'; known are network, "),
        ("seed: -1", "seed = -1: .* greater than or equal to 0"),
        ("learning_rate: fast", "learning_rate = 'fast': .* valid number"),
        ("network: {blocks: [1, 1]}", "network.blocks"),
        ("precision: int8", "precision = 'int8': .*'bfloat16'"),
        (
            "joint: {epochs: 8, frozen: branches}",
            r"settings\.yaml: joint\.frozen_epochs \(10\), .* and joint\.settling_epochs \(0\) must together be below "
            r"joint\.epochs \(8\)",
        ),
        (
            "joint: {epochs: 14, settling_epochs: 4, frozen: branches}",
            r"\(10\), .* joint\.settling_epochs \(4\) must .* \(14\)",
        ),
        ("weights: some.pth\njoint: {epochs: 8, frozen: branches}", r"joint\.frozen_epochs \(10\)"),
        (
            "weights: none\njoint: {epochs: 8, settling_epochs: 8}",
            r"settings\.yaml: joint\.settling_epochs \(8\) must .* joint\.epochs \(8\)",
        ),
        (
            "joint: {fc: principal}",
            r"settings\.yaml: weighting \(paper\) learns beside the FC.*choose weighting: retrieval",
        ),
        (
            "joint: {fc: principal, weighting: retrieval, settling_epochs: 2}",
            r"settling_epochs \(2\) are for the FC to learn in.*expected 0",
        ),
        ("- a list", "expected a mapping"),
        ("a: [", "cannot be read as settings"),
    ],
)
def test_a_wrong_setting_names_the_file_the_key_and_what_was_expected(tmp_path, text, message):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSettings, match=message):
        load_settings(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"joint": {"epochs": 11}},
        {"joint": {"epochs": 15, "settling_epochs": 4}},
        {"weights": "none", "joint": {"epochs": 8, "settling_epochs": 7}},
    ],
)
def test_one_epoch_in_which_the_branches_learn_is_enough(settings):
    assert Settings.model_validate(settings).joint.epochs == settings["joint"]["epochs"]


def test_an_unknown_preset_lists_the_known():
    with pytest.raises(InvalidSettings, match="demo, market1501, market1501-strong, study, synthetic"):
        load_preset("dmo")


def test_a_preset_of_ones_own_is_a_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 7")
    assert load_preset(str(path), workers=0) == Settings(seed=7, workers=0)


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings().seed = 3


def test_a_run_of_an_earlier_version_is_still_read(tmp_path):
    """Its branches never learnt, but what it has can be exported as before."""
    (tmp_path / "settings.yaml").write_text("weights: some.pth\njoint: {epochs: 8, frozen: branches}")
    assert load_run_settings(tmp_path).joint.epochs == 8
    with pytest.raises(InvalidSettings):
        load_settings(tmp_path / "settings.yaml")


def test_a_run_of_an_earlier_version_is_read_by_todays_names(tmp_path):
    path = tmp_path / "settings.yaml"
    for before, today in ((True, "start"), (False, "none")):
        path.write_text(f"apan: {{prior_biases: {str(before).lower()}}}\n")
        assert load_settings(path, of_a_run=True).apan.priors == today
    with pytest.raises(InvalidSettings, match=r"unknown setting 'apan\.prior_biases'"):
        load_settings(path)
    path.write_text("utility: {crops: 7}\n")
    assert load_settings(path, of_a_run=True).lessons.crops == 7


def test_without_attributes_there_is_one_branch_and_nothing_to_weigh():
    settings = without_attributes(load_preset("market1501"))
    assert (settings.attributes, settings.joint.fc, settings.joint.weighting) == (False, "principal", "visual")
    with pytest.raises(
        InvalidSettings, match=r"joint.fc \(trained\) and joint.weighting \(paper\) are for two branches"
    ):
        load_preset("market1501", attributes=False)
