"""The exporter on untrained networks of demo size: contract, parity gate, installation."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import export.repository
from export.graphs import graph_modules, write_graph
from export.model_card import MODEL_CARD
from export.parity import check_parity, sample_crops
from export.pipelines import OnnxPipeline, Pipeline, TorchPipeline
from export.repository import TEMPLATE, install
from qafm.contract import GRAPHS, MODELS
from qafm.errors import ExportRefused, InvalidSettings
from qafm.quality import measure
from server.plans import build_plan
from tests.support.seeded_repository import seeded_networks
from train.presets import load_preset
from train.settings import NetworkSettings

pytestmark = pytest.mark.export

ONNX_TYPES = {"UINT8": onnx.TensorProto.UINT8, "FP32": onnx.TensorProto.FLOAT}


@pytest.fixture(scope="module")
def networks():
    return seeded_networks()


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_have_the_contracts_tensors(exported_repository, name):
    graph = onnx.load(exported_repository / name / "1" / "model.onnx").graph
    for specs, values in ((MODELS[name].inputs, graph.input), (MODELS[name].outputs, graph.output)):
        assert [value.name for value in values] == [spec.name for spec in specs]
        for spec, value in zip(specs, values, strict=True):
            assert value.type.tensor_type.elem_type == ONNX_TYPES[spec.dtype]
            batch, *dims = value.type.tensor_type.shape.dim
            assert batch.dim_param and not batch.dim_value
            assert tuple(dim.dim_value for dim in dims) == spec.dims


@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "fusion"])
def test_pixels_meet_a_cast_first(exported_repository, name):
    """TensorRT reshapes and transposes no uint8."""
    graph = onnx.load(exported_repository / name / "1" / "model.onnx").graph
    pixels = graph.input[0].name
    assert [node.op_type for node in graph.node if pixels in node.input] == ["Cast"]


def test_the_template_alone_is_copied(exported_repository):
    assert sorted(path.name for path in exported_repository.iterdir()) == sorted([*MODELS, MODEL_CARD])
    assert not [path for path in exported_repository.rglob("__*")]


def test_the_choices_of_strong_recipes_export_and_tensorrt_builds_them(tmp_path):
    """IBN-a, GeM, BoT's neck and a lower trunk, through the parity gate of the installation."""
    demo = load_preset("demo").network.model_dump()
    choices = {"instance_norm": True, "pooling": "gem", "neck": "bnneck", "height": 192}
    install(seeded_networks(network=NetworkSettings.model_validate(demo | choices)), tmp_path, {"run": "strong"})
    tensorrt = pytest.importorskip("tensorrt_rtx")
    for name in ("apn", "iqa", "fusion"):
        assert len(build_plan(tensorrt, tmp_path / name / "1" / "model.onnx", name, "8.9")) > 0


def test_a_graph_with_flip_sees_a_picture_and_its_mirror_image_alike(tmp_path, networks, exported_repository):
    """Through the parity gate; the quality branch sees the picture alone."""
    install(networks, tmp_path, {"flip": True}, flip=True)
    crop = sample_crops(1)[0]
    crops = [crop, np.ascontiguousarray(crop[:, ::-1])]
    plain, flipped = (OnnxPipeline(folder).describe(crops) for folder in (exported_repository, tmp_path))
    for name in ("VISUAL", "SEMANTIC"):
        assert np.abs(plain[name][0] - plain[name][1]).max() > 1e-4
        assert flipped[name][0] == pytest.approx(plain[name].mean(axis=0), abs=1e-5)
    for name in ("VISUAL", "SEMANTIC", "ATTRIBUTES"):
        assert flipped[name][0] == pytest.approx(flipped[name][1], abs=1e-5)
    assert np.array_equal(plain["FEATURES"], flipped["FEATURES"])
    tensorrt = pytest.importorskip("tensorrt_rtx")
    for name in ("apn", "apan"):
        assert len(build_plan(tensorrt, tmp_path / name / "1" / "model.onnx", name, "8.9")) > 0


def test_parity_gate_sees_a_graph_that_is_off(networks):
    exact = TorchPipeline(networks)

    class Off(Pipeline):
        weighting = exact.weighting

        def run(self, model, inputs):
            outputs = exact.run(model, inputs)
            return outputs if model != "apn" else {name: 1.01 * values for name, values in outputs.items()}

    with pytest.raises(ExportRefused, match="VISUAL is off by 0.0"):
        check_parity(exact, Off(), sample_crops(1))


def test_parity_gate_sees_not_a_number(networks):
    exact = TorchPipeline(networks)

    class Broken(Pipeline):
        weighting = exact.weighting

        def run(self, model, inputs):
            outputs = exact.run(model, inputs)
            return outputs if model != "apan" else {name: values * np.nan for name, values in outputs.items()}

    with pytest.raises(ExportRefused, match="SEMANTIC is off by nan"):
        check_parity(exact, Broken(), sample_crops(1))


def test_a_failed_gate_installs_nothing_and_keeps_what_was_there(tmp_path, networks, exported_repository, monkeypatch):
    """The real gate over real graphs, of which one belongs to other networks."""
    others = graph_modules(seeded_networks(seed=1))

    def mixed_up(name: str, _module: torch.nn.Module, path: Path) -> None:
        if name == "fusion":
            write_graph(name, others[name], path)
        else:
            shutil.copy(exported_repository / name / "1" / "model.onnx", path)

    monkeypatch.setattr(export.repository, "write_graph", mixed_up)
    repository = tmp_path / "model_repository"
    shutil.copytree(TEMPLATE, repository)
    with pytest.raises(ExportRefused, match="DESCRIPTOR is off by"):
        install(networks, repository, {})
    assert list(tmp_path.iterdir()) == [repository]
    assert not (repository / "fusion" / "1" / "model.onnx").exists()


def test_an_export_into_a_link_replaces_what_the_link_leads_to(tmp_path, networks, exported_repository, monkeypatch):
    served, link = tmp_path / "disk" / "models", tmp_path / "current"
    shutil.copytree(TEMPLATE, served)
    link.symlink_to(served)

    def copied(name: str, _module: torch.nn.Module, path: Path) -> None:
        shutil.copy(exported_repository / name / "1" / "model.onnx", path)

    monkeypatch.setattr(export.repository, "write_graph", copied)
    install(networks, link, {})
    assert link.is_symlink() and link.readlink() == served
    assert (served / "fusion" / "1" / "model.onnx").is_file()
    assert [path.name for path in served.parent.iterdir()] == ["models"]


def test_an_export_that_fails_leaves_the_loggers_as_they_were(tmp_path):
    class Failing(torch.nn.Module):
        def forward(self, crop):
            raise RuntimeError("no such layer")

    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with pytest.raises(Exception, match="no such layer"):
        write_graph("apn", Failing(), tmp_path / "model.onnx")
    assert [logger.level for logger in loggers] == levels


def test_a_folder_that_is_no_repository_is_not_replaced(tmp_path, networks):
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(InvalidSettings, match="no exported model repository"):
        install(networks, tmp_path, {})
    assert (tmp_path / "precious.txt").read_text() == "keep"


def test_the_pipeline_by_its_parts(networks):
    """DESCRIPTOR, quality and α of the pipeline, recomputed from the networks one by one."""
    pipeline = TorchPipeline(networks)
    outputs = pipeline.describe(sample_crops(1))
    quality = measure(outputs["FEATURES"][0])
    assert outputs["IDENTIFIABILITY"][0, 0] == pytest.approx(quality.identifiability)
    assert outputs["SCATTER"][0] == pytest.approx(quality.scatter)
    assert outputs["ALPHA"][0, 0] == pytest.approx(networks.weighting.served().alpha(quality))
    with torch.inference_mode():
        vectors = [torch.from_numpy(outputs[name]) for name in ("VISUAL", "SEMANTIC", "ALPHA")]
        descriptor = networks.fusion(vectors[0], vectors[1], vectors[2][:, 0])
    assert np.abs(descriptor.numpy() - outputs["DESCRIPTOR"]).max() < 1e-6


def test_command_refuses_what_is_no_run(tmp_path):
    command = [sys.executable, "-m", "export", str(tmp_path), "--repository", str(tmp_path / "models")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "not a training run" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "models").exists()
