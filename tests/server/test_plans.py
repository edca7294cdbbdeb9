"""TensorRT plans, built by the real builder for a GPU that need not be there. Running them needs one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from qafm.contract import GRAPHS, MODELS, graph_path
from qafm.errors import ServerFailed
from server.plans import ensure_plans

pytestmark = pytest.mark.export

CAPABILITY = "8.9"


@pytest.fixture(scope="module")
def tensorrt():
    return pytest.importorskip("tensorrt_rtx")


@pytest.fixture
def repository(exported_repository, tmp_path):
    return Path(shutil.copytree(exported_repository, tmp_path / "repository"))


def plan(repository, model="fusion"):
    return repository / model / "1" / "model.plan"


def sidecar(repository, model="fusion"):
    return repository / model / "1" / "model.plan.json"


def build(repository, tensorrt, models=("fusion",), capability=CAPABILITY):
    """What was reported: a line for each plan that was built."""
    reported = []
    ensure_plans(repository, models, tensorrt=tensorrt, compute_capability=capability, report=reported.append)
    return reported


def test_every_graph_builds_and_is_built_once(repository, tensorrt):
    assert len(build(repository, tensorrt, GRAPHS)) == len(GRAPHS)
    before = {model: plan(repository, model).stat().st_mtime_ns for model in GRAPHS}
    assert build(repository, tensorrt, GRAPHS) == []
    assert {model: plan(repository, model).stat().st_mtime_ns for model in GRAPHS} == before
    origin = json.loads(sidecar(repository, "iqa").read_text())
    assert origin["compute_capability"] == CAPABILITY and origin["tensorrt"] == tensorrt.__version__


def another_graph(repository):
    path = graph_path(repository, "fusion")
    graph = onnx.load(path)
    graph.doc_string = "another"
    onnx.save(graph, path)


CHANGES = {
    "graph_sha256": another_graph,
    "no plan": lambda repository: plan(repository).unlink(),
    "no sidecar": lambda repository: sidecar(repository).unlink(),
    "half a sidecar": lambda repository: sidecar(repository).write_text('{"tensorrt":'),
    "another sidecar": lambda repository: sidecar(repository).write_text("{}"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_plan_that_may_not_belong_to_its_graph_is_built_again(repository, tensorrt, change):
    build(repository, tensorrt)
    CHANGES[change](repository)
    (reported,) = build(repository, tensorrt)
    assert "'fusion'" in reported and (change if "_" in change else "there is none") in reported
    assert build(repository, tensorrt) == []


def test_the_plan_is_built_from_tensorrts_own_graph_where_there_is_one(repository, tensorrt):
    path = graph_path(repository, "fusion")
    own = path.with_name("tensorrt.onnx")
    path.rename(own)
    path.write_bytes(b"not for TensorRT")
    build(repository, tensorrt)
    origin = json.loads(sidecar(repository).read_text())
    assert origin["graph_sha256"] == hashlib.sha256(own.read_bytes()).hexdigest()


def test_a_plan_for_another_gpu_is_built_again(repository, tensorrt):
    build(repository, tensorrt)
    (reported,) = build(repository, tensorrt, capability="8.6")
    assert "compute_capability 8.9, here is 8.6" in reported


class OneInput(CalibrationDataReader):
    def __init__(self):
        one = {tensor.name: np.full((1, *tensor.dims), 0.5, np.float32) for tensor in MODELS["fusion"].inputs}
        self.inputs = iter([one])

    def get_next(self):
        return next(self.inputs, None)


def test_a_graph_that_tensorrt_does_not_take_is_refused_with_its_reason(repository, tensorrt):
    """uint8 with a zero point: what ONNX Runtime wants on a CPU."""
    path = graph_path(repository, "fusion")
    shutil.copy(path, source := repository / "source.onnx")
    quantize_static(source, path, OneInput(), activation_type=QuantType.QUInt8)
    with pytest.raises(ServerFailed, match="'fusion'.*cannot parse.*--tensorrt"):
        build(repository, tensorrt)
    assert not plan(repository).exists()


def test_a_repository_that_cannot_be_written_says_so(repository, tensorrt, monkeypatch):
    # The file system's refusal itself cannot be had as root, for whom nothing is read-only.
    def refuse(*_args, **_kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("server.plans.whole_file", refuse)
    reported = []
    with pytest.raises(ServerFailed, match=r"model\.plan.*Read-only.*writable"):
        ensure_plans(repository, ["fusion"], tensorrt=tensorrt, compute_capability=CAPABILITY, report=reported.append)
    assert not reported, "it is found out before minutes of building"


def test_without_a_gpu_the_reason_is_said(repository, tensorrt, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerFailed, match="needs a GPU"):
        ensure_plans(repository, ["fusion"], tensorrt=tensorrt)
