"""The exported graphs by OpenVINO in another process, and the gates that they have to pass."""

from __future__ import annotations

import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from export.openvino import Reference, check_openvino
from export.parity import sample_crops
from export.pipelines import Remembered, TorchPipeline
from export.repository import install
from export.tables import print_gates
from qafm.datasets.crops import Crop
from qafm.openvino import ENVIRONMENT_VARIABLE, find_openvino
from tests.support.seeded_repository import seeded_networks, seeded_utility

needs_openvino = pytest.mark.skipif(find_openvino() is None, reason="no OpenVINO here: make openvino")


def fake_openvino(folder, lines):
    """An `onnxruntime` of a few lines."""
    (folder / "onnxruntime").mkdir(parents=True)
    (folder / "onnxruntime" / "__init__.py").write_text(lines)
    return folder


@needs_openvino
@pytest.mark.export
def test_it_computes_what_was_trained(exported_repository):
    trained = TorchPipeline(seeded_networks(), utility=seeded_utility())
    found = check_openvino(exported_repository, find_openvino(), Reference(trained, None, []))
    assert found["installed"] is True and found["version"] and found["measured"].keys() >= {"DESCRIPTOR", "UTILITY"}


ONES = """
import numpy
__version__ = "1.2"
class SessionOptions:
    def add_session_config_entry(self, *entry): pass
class InferenceSession:
    def __init__(self, *given, **options): pass
    def run(self, outputs, inputs):
        rows = len(next(iter(inputs.values())))
        sizes = {"VISUAL": [1024], "SEMANTIC": [1024], "ATTRIBUTES": [30], "FEATURES": [35, 2048], "SCATTER": [34]}
        sizes["DESCRIPTOR"] = [1000]
        return [VALUE * numpy.ones((rows, *sizes.get(name, [1])), "float32") for name in outputs]
"""


@pytest.mark.export
@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("raise SystemExit(7)", "does not start"),
        ("__version__ = '1.2'", "model 'apn': OpenVINO cannot run it: .*no attribute 'SessionOptions'"),
        ("import os; __version__ = '1.2'; SessionOptions = lambda: os._exit(3)", "its process has ended"),
        (ONES.replace("VALUE", "1"), "DESCRIPTOR is off by"),
        (ONES.replace("VALUE", "numpy.nan"), "DESCRIPTOR is off by nan"),
    ],
    ids=["no start", "broken", "dies", "ones", "not a number"],
)
def test_its_variant_alone_is_left_out_where_it_fails(tmp_path, exported_repository, lines, reason):
    repository = tmp_path / "models"
    shutil.copytree(exported_repository, repository)
    trained = TorchPipeline(seeded_networks(), utility=seeded_utility())
    found = check_openvino(repository, fake_openvino(tmp_path / "openvino", lines), Reference(trained, None, []))
    assert found["installed"] is False and re.search(reason, found["reason"])


@pytest.mark.export
def test_an_export_goes_on_without_what_fails(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(fake_openvino(tmp_path / "openvino", "raise SystemExit(7)")))
    manifest = install(seeded_networks(), tmp_path / "models", {"run": "seeded"})
    assert manifest.content["openvino"]["installed"] is False
    assert {path.stem for path in (tmp_path / "models").glob("*/configs/*.pbtxt")} == {"tensorrt"}
    console = Console(file=io.StringIO())
    print_gates(manifest.content, console)
    assert "OpenVINO fails its gate" in console.file.getvalue() and "does not start" in console.file.getvalue()


@needs_openvino
@pytest.mark.export
def test_in_int8_it_is_held_to_the_bounds_of_reduced_precision(exported_repository, tmp_path):
    """Graphs of float32 stand in for those of int8: the bounds hold. Those of another model: they do not."""
    crops = [
        Crop(write_crop(tmp_path / f"{number}.png", pixels), pid=number // 2, camid=number % 2)
        for number, pixels in enumerate(sample_crops(4))
    ]
    trained = TorchPipeline(seeded_networks(), utility=seeded_utility())
    reference = Reference(trained, Remembered(trained), crops)
    found = check_openvino(exported_repository, find_openvino(), reference)
    assert found["installed"] is True
    assert found["measured"]["one_look_descriptor_cosine"] == pytest.approx(1, abs=1e-4)
    other = TorchPipeline(seeded_networks(1), utility=seeded_utility())
    found = check_openvino(exported_repository, find_openvino(), Reference(other, Remembered(other), crops))
    assert found["installed"] is False and "descriptor_cosine is" in found["reason"]


def write_crop(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.export
def test_without_it_the_variant_is_installed_and_not_judged(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "nothing"))
    manifest = install(seeded_networks(), tmp_path / "models", {"run": "seeded"})
    assert manifest.content["openvino"] is None
    assert len(list((tmp_path / "models").glob("*/configs/openvino.pbtxt"))) == 4


def test_a_remembered_pipeline_looks_once(exported_repository):
    pipeline = TorchPipeline(seeded_networks())
    remembered, (crop, other) = Remembered(pipeline), sample_crops(2)
    first = remembered.describe([crop])
    assert remembered.describe([crop]) is first
    assert not np.array_equal(remembered.describe([other])["DESCRIPTOR"], first["DESCRIPTOR"])
