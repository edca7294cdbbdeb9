"""What an export says of its models: the same from every folder, and nothing of folders."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from google.protobuf.message import Message

from export.identity import manifest_of
from export.parity import TOLERANCES
from export.repository import TEMPLATE
from export.run import origin_of
from export.variants import read_config
from qafm.contract import GRAPHS, QAFM, QAFM_FAST, QAFM_FIXED_ALPHA
from qafm.manifest import Manifest
from qafm.weighting import load_utility, load_weighting
from tests.support.served import ENSEMBLES
from train.presets import load_preset, save_settings

ROOT = Path(__file__).resolve().parents[2]
exports = pytest.mark.export
FOLDER = re.compile(r"""(^|[\s"'=(:,])(/|~/|[A-Za-z]:\\)[\w.-]""")
"""A path from a root, anywhere in a text."""


def texts(value: Any) -> Iterator[str]:
    """Every string in a message of protobuf, or in what JSON holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        return
    elif isinstance(value, Message):
        for _, part in value.ListFields():
            yield from texts(part)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from (*texts(key), *texts(part))
    elif hasattr(value, "__len__"):
        for part in value:
            yield from texts(part)


def folders_in(value: Any) -> list[str]:
    known = (str(ROOT), str(Path.home()), sys.prefix)
    return [text for text in texts(value) if FOLDER.search(text) or any(folder in text for folder in known)]


def manifests(repository: Path) -> dict[str, Manifest]:
    """By ensemble, as a client reads it."""
    configs = {name: read_config(repository / name / "config.pbtxt") for name in ENSEMBLES}
    return {name: Manifest.parse(config.parameters["manifest"].string_value) for name, config in configs.items()}


@exports
def test_the_manifest_travels_in_every_ensemble_and_the_template_stays_as_it_was(exported_repository):
    read = manifests(exported_repository)
    manifest = read[QAFM]
    assert read[QAFM_FIXED_ALPHA] == read[QAFM_FAST] == manifest
    assert not any("manifest" in (TEMPLATE / name / "config.pbtxt").read_text() for name in ENSEMBLES)
    assert manifest.fingerprints.keys() == set(ENSEMBLES)
    content = manifest.content
    assert content["graphs"].keys() == set(GRAPHS)
    for name in GRAPHS:
        served = (exported_repository / name / "1" / "model.onnx").read_bytes()
        assert content["digests"][name] == content["graphs"][name]["sha256"] == hashlib.sha256(served).hexdigest()
    assert content["versions"].keys() >= {"pillow", "onnxruntime", "torch"}
    assert content["weighting"] == {"kind": "paper", "mu": 2.0, "sigma": 1.0}
    assert content["differences"].keys() == TOLERANCES.keys()
    for name, difference in content["differences"].items():
        assert 0 <= difference["measured"] <= difference["allowed"] == TOLERANCES[name].limit


@exports
def test_another_weighting_is_another_model_where_alpha_is_not_given(exported_repository):
    path = exported_repository / "alpha" / "1" / "alpha.npz"
    weighting, utility = load_weighting(path), load_utility(path)
    precisions = dict.fromkeys(GRAPHS, "fp32")

    def fingerprints(*chosen):
        return manifest_of(exported_repository, *chosen, precisions, origin={}, gates={}).fingerprints

    same = fingerprints(weighting, utility)
    assert same == manifests(exported_repository)[QAFM].fingerprints
    for others in (
        (replace(weighting, b2=weighting.b2 + 1), utility),
        (weighting, replace(utility, offset=utility.offset + 1)),
        (weighting, None),
    ):
        other = fingerprints(*others)
        assert other[QAFM] != same[QAFM]
        assert all(other[name] == same[name] for name in (QAFM_FAST, QAFM_FIXED_ALPHA)), "these do not ask it"


@exports
def test_another_graph_for_tensorrt_is_another_model(exported_repository, tmp_path):
    """`--config-name tensorrt` serves that one."""
    repository = tmp_path / "models"
    shutil.copytree(exported_repository, repository)
    weighting = load_weighting(repository / "alpha" / "1" / "alpha.npz")
    precisions = dict.fromkeys(GRAPHS, "fp32")
    names = []
    for content in (None, b"one dialect", b"another"):
        if content:
            (repository / "iqa" / "1" / "tensorrt.onnx").write_bytes(content)
        names.append(manifest_of(repository, weighting, None, precisions, origin={}, gates={}).model(QAFM))
    assert len(set(names)) == 3


@exports
def test_nothing_that_is_served_says_where_it_was_made(exported_repository):
    for path in exported_repository.rglob("*.onnx"):
        assert folders_in(onnx.load(path)) == [], path
    for path in exported_repository.rglob("*.pbtxt"):
        assert folders_in(read_config(path)) == [], path
    assert folders_in(dict(manifests(exported_repository)[QAFM].content)) == []


@exports
def test_the_walk_finds_folders(exported_repository):
    model = onnx.load(exported_repository / "fusion" / "1" / "model.onnx")
    model.graph.node[0].metadata_props.add(key="trace", value='File "/somewhere/else.py", line 1')
    assert len(folders_in(model)) == 1
    assert folders_in({"a": [{"b": f"x{ROOT}"}]}) and folders_in({"~/x": 1}) and not folders_in({"a/b": "1 / 2"})


@exports
def test_the_same_networks_exported_from_two_folders_are_the_same_model(exported_repository, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for name in ("qafm", "synthetic", "train", "export", "model_repository", "tests"):
        shutil.copytree(ROOT / name, elsewhere / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import export.graphs, pathlib; assert export.graphs.__file__.startswith(str(pathlib.Path.cwd()));"
        "from tests.support.seeded_repository import make_seeded_repository;"
        "make_seeded_repository(pathlib.Path('models'))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=elsewhere, check=True, capture_output=True)
    for name in GRAPHS:
        graphs = [folder / name / "1" / "model.onnx" for folder in (exported_repository, elsewhere / "models")]
        assert graphs[0].read_bytes() == graphs[1].read_bytes(), name
    here, there = manifests(exported_repository)[QAFM], manifests(elsewhere / "models")[QAFM]
    assert here.fingerprints == there.fingerprints and here.content["digests"] == there.content["digests"]


@pytest.fixture
def run(tmp_path) -> Path:
    """As much of a run as its origin is read from."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("iqa.pt", "joint.pt"):
        torch.save({}, folder / name)
    (folder / "data.json").write_text(json.dumps({"name": "drawn", "folder": str(tmp_path / "drawn"), "crops": 8}))
    return folder


def origin(run: Path, weights: str) -> dict[str, Any]:
    save_settings(load_preset("market1501", weights=weights), run / "settings.yaml")
    return origin_of(run)


def test_weights_of_ones_own_are_said_by_their_content(run, tmp_path):
    weights = tmp_path / "secret" / "resnet.pth"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    said = origin(run, str(weights))
    assert said["settings"]["weights"] == f"file:{hashlib.sha256(b'weights').hexdigest()}"
    weights.unlink()
    gone = origin(run, str(weights))
    assert gone["settings"]["weights"] == "resnet.pth"
    assert folders_in(said) == folders_in(gone) == []


@pytest.mark.parametrize("weights", ["imagenet", "none"])
def test_weights_that_are_a_word_stay_one(run, weights):
    assert origin(run, weights)["settings"]["weights"] == weights
