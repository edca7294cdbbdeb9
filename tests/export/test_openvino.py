"""The exported graphs by OpenVINO in another process, and the gates that they have to pass."""

from __future__ import annotations

import pytest

from export.openvino import OpenVinoPipeline
from export.parity import check_parity, sample_crops
from export.pipelines import TorchPipeline
from export.repository import install
from qafm.errors import ExportRefused
from qafm.openvino import ENVIRONMENT_VARIABLE, find_openvino
from tests.support.seeded_repository import seeded_networks, seeded_utility
from tests.support.small_repository import make_small_repository

needs_openvino = pytest.mark.skipif(find_openvino() is None, reason="no OpenVINO here: make openvino")


def fake_openvino(folder, lines):
    """An `onnxruntime` of a few lines."""
    (folder / "onnxruntime").mkdir(parents=True)
    (folder / "onnxruntime" / "__init__.py").write_text(lines)
    return folder


@needs_openvino
@pytest.mark.export
def test_it_computes_what_was_trained(exported_repository):
    with OpenVinoPipeline(exported_repository, find_openvino()) as pipeline:
        check_parity(TorchPipeline(seeded_networks(), utility=seeded_utility()), pipeline, sample_crops(2))
    assert pipeline._worker.returncode == 0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("raise SystemExit(7)", "ended with 7"),
        ("class SessionOptions:\n    def __init__(self): raise ValueError('no such device')", "no such device"),
    ],
)
def test_what_it_cannot_run_is_said(tmp_path, lines, message):
    repository = make_small_repository(tmp_path / "models")
    with (
        OpenVinoPipeline(repository, fake_openvino(tmp_path / "openvino", lines)) as pipeline,
        pytest.raises(ExportRefused, match=f"model 'apn': OpenVINO cannot run it: .*{message}"),
    ):
        pipeline.describe(sample_crops(1))


@pytest.mark.export
def test_its_variant_is_left_out_where_it_computes_something_else(tmp_path, monkeypatch):
    """An OpenVINO that answers with ones."""
    ones = """
import numpy
class SessionOptions:
    def add_session_config_entry(self, *entry): pass
class InferenceSession:
    def __init__(self, *given, **options): pass
    def run(self, outputs, inputs):
        rows = len(next(iter(inputs.values())))
        sizes = {"VISUAL": (1024,), "SEMANTIC": (1024,), "ATTRIBUTES": (30,), "FEATURES": (35, 2048)}
        return [numpy.ones((rows, *sizes.get(name, (1000,))), "float32") for name in outputs]
"""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(fake_openvino(tmp_path / "openvino", ones)))
    manifest = install(seeded_networks(), tmp_path / "models", {"run": "seeded"})
    assert manifest.content["openvino"]["installed"] is False
    assert manifest.content["differences"].keys() <= manifest.content["openvino"]["differences"].keys()
    assert {path.stem for path in (tmp_path / "models").glob("*/configs/*.pbtxt")} == {"tensorrt"}


@pytest.mark.export
def test_without_it_the_variant_is_installed_and_not_judged(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "nothing"))
    manifest = install(seeded_networks(), tmp_path / "models", {"run": "seeded"})
    assert manifest.content["openvino"] is None
    assert len(list((tmp_path / "models").glob("*/configs/openvino.pbtxt"))) == 4
