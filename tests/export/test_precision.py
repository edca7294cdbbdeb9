"""Reduced precision: what the graphs are made of, how near they come, and the gate that judges it on real crops."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from PIL import Image
from tritonclient.grpc import model_config_pb2

from export.fidelity import BOUNDS, check_fidelity, fidelity
from export.graphs import OPSET, graph_modules, write_graph
from export.pipelines import TorchPipeline
from export.precision import FIXED, parse_precisions
from export.reduced import fold_normalisation, write_float16, write_int8
from export.repository import install
from export.samples import Samples, calibration_inputs, load_samples
from qafm.contract import ATTRIBUTE_SIZE, GRAPHS, MODELS, graph_path
from qafm.datasets.crops import Crop
from qafm.errors import ExportRefused, InvalidDataset, InvalidSettings
from qafm.images import resize
from qafm.perturbations import views
from server.plans import build_plan
from synthetic import Recipe, make_dataset
from tests.support.seeded_repository import seeded_networks
from train.data import load_training_data, read_crop
from train.presets import load_preset, save_settings

exports = pytest.mark.export


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fp32", ("fp32", "fp32", "fp32", "fp32", "fp32")),
        ("int8", ("int8", "int8", "int8", "int8", "fp32")),
        ("int8,fusion=fp32", ("int8", "int8", "int8", "int8", "fp32")),
        ("int8, iqa=fp16", ("int8", "int8", "fp16", "int8", "fp32")),
        ("fp32,apn=int8,apan=fp16", ("int8", "fp16", "fp32", "fp32", "fp32")),
    ],
)
def test_a_default_then_exceptions_by_model(text, expected):
    assert parse_precisions(text) == dict(zip(("apn", "apan", "iqa", "quality", "fusion"), expected, strict=True))


@pytest.mark.parametrize(
    "text", ["", "int4", "int8,views=fp32", "int8,apn", "int8,apn=", "apn=int8", "int8,fusion=int8"]
)
def test_other_precisions_are_refused(text):
    with pytest.raises(InvalidSettings, match="precision"):
        parse_precisions(text)


RECIPE = Recipe(train_identities=20, test_identities=2, images_per_identity=3, distractors=0, junk=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("dataset")
    make_dataset(RECIPE, root)
    return root


@pytest.fixture(scope="module")
def samples(dataset) -> Samples:
    data = load_training_data(dataset, seed=0)
    return Samples(calibration=data.crops[:8], held_out=data.held_out)


QUANTISED = tuple(model for model in GRAPHS if model not in FIXED)
REDUCED = [*((model, "float16") for model in GRAPHS), *product(QUANTISED, ("onnxruntime", "tensorrt"))]


@pytest.fixture(scope="module")
def reduced(exported_repository, samples, tmp_path_factory) -> Path:
    """Each graph in each precision that it may have: {model}.{float16,onnxruntime,tensorrt}.onnx."""
    folder = tmp_path_factory.mktemp("reduced")
    for model in GRAPHS:
        write_float16(graph_path(exported_repository, model), folder / f"{model}.float16.onnx")
    for model in QUANTISED:
        targets = {dialect: folder / f"{model}.{dialect}.onnx" for dialect in ("onnxruntime", "tensorrt")}
        write_int8(graph_path(exported_repository, model), targets, inputs_of(model, samples))
    return folder


def inputs_of(model, samples):
    if model in FIXED:
        generator = np.random.default_rng(0)
        return [{tensor.name: generator.random((2, *tensor.dims), np.float32) for tensor in MODELS[model].inputs}]
    return list(calibration_inputs(model, samples.calibration))


def types_of(graph: onnx.GraphProto) -> dict[str, set[str]]:
    """Data types of the initializers, by the operator that reads them."""
    kinds = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in graph.initializer}
    found: dict[str, set[str]] = {}
    for node in graph.node:
        found.setdefault(node.op_type, set()).update(kinds[name] for name in node.input if name in kinds)
    return found


@exports
@pytest.mark.parametrize(("model", "precision"), REDUCED)
def test_a_reduced_graph_keeps_the_contract_and_comes_near(exported_repository, reduced, samples, model, precision):
    near = {"float16": 5e-3, "onnxruntime": 0.05, "tensorrt": 0.05}[precision]
    options = {"providers": ["CPUExecutionProvider"]}
    exact = onnxruntime.InferenceSession(graph_path(exported_repository, model), **options)
    session = onnxruntime.InferenceSession(reduced / f"{model}.{precision}.onnx", **options)
    for ours, theirs in ((session.get_inputs(), exact.get_inputs()), (session.get_outputs(), exact.get_outputs())):
        assert [(one.name, one.type, one.shape) for one in ours] == [(one.name, one.type, one.shape) for one in theirs]
    feeds = inputs_of(model, samples)[0]
    for expected, got in zip(exact.run(None, feeds), session.run(None, feeds), strict=True):
        assert 0 < np.abs(expected - got).max() < near * np.abs(expected).max() or np.array_equal(expected, got)
    assert not np.array_equal(exact.run(None, feeds)[0], session.run(None, feeds)[0])


@exports
@pytest.mark.parametrize("model", QUANTISED)
def test_each_target_gets_its_dialect_of_int8(reduced, model):
    cpu, gpu = (types_of(onnx.load(reduced / f"{model}.{target}.onnx").graph) for target in ("onnxruntime", "tensorrt"))
    assert "UINT8" in cpu["QuantizeLinear"] and "UINT8" not in gpu["QuantizeLinear"]
    assert "INT8" in gpu["QuantizeLinear"] and "INT32" not in gpu["DequantizeLinear"]
    for graph in (cpu, gpu):
        # No weight of a convolution is left in floating point; what TensorRT's have so is the bias.
        assert "INT8" in graph["DequantizeLinear"]
    assert "FLOAT" not in cpu.get("Conv", set())


def test_normalisation_moves_into_the_convolution():
    """Everywhere but at the padded edge, which is the mean colour there and the centre here."""
    generator = np.random.default_rng(0)
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in ((124, 116, 104), (58, 57, 56)))
    constants = {
        "pixels.mean": mean,
        "pixels.std": std,
        "weights": generator.standard_normal((4, 3, 3, 3), np.float32),
        "bias": generator.standard_normal(4, np.float32),
    }
    nodes = [
        onnx.helper.make_node("Sub", ["x", "pixels.mean"], ["centred_pixels"]),
        onnx.helper.make_node("Div", ["centred_pixels", "pixels.std"], ["normalised"]),
        onnx.helper.make_node("Conv", ["normalised", "weights", "bias"], ["y"], pads=[1, 1, 1, 1]),
    ]
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, 8, 8])
        for name, channels in (("x", 3), ("y", 4))
    )
    initializers = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = onnx.helper.make_graph(nodes, "one convolution", [x], [y], initializers)
    opset = [onnx.helper.make_opsetid("", OPSET)]
    exact = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    folded, centre = fold_normalisation(onnx.ModelProto.FromString(exact.SerializeToString()))
    assert centre == 115 and "Div" not in {node.op_type for node in folded.graph.node}
    pixels = generator.integers(0, 256, (1, 3, 8, 8)).astype(np.float32)
    expected, got = (
        onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": pixels})[0] for model in (exact, folded)
    )
    np.testing.assert_allclose(got[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-4)
    assert np.abs(got - expected).max() < 5


@exports
@pytest.mark.parametrize("model", QUANTISED)
def test_onnx_runtime_takes_the_bytes_as_they_are(reduced, exported_repository, samples, model, tmp_path, monkeypatch):
    taken = reduced / f"{model}.onnxruntime.onnx"
    before = [node.op_type for node in onnx.load(taken).graph.node]
    before = before[: before.index("Transpose")]
    assert not {"Cast", "Sub", "QuantizeLinear"} & set(before)
    monkeypatch.setattr("export.reduced._take_bytes", lambda model: model)
    longer = tmp_path / "longer.onnx"
    inputs = inputs_of(model, samples)
    write_int8(graph_path(exported_repository, model), {"onnxruntime": longer}, inputs)
    options = {"providers": ["CPUExecutionProvider"]}
    outputs = [onnxruntime.InferenceSession(path, **options).run(None, inputs[0]) for path in (taken, longer)]
    for short, long in zip(*outputs, strict=True):
        assert np.array_equal(short, long)


@exports
@pytest.mark.parametrize(("model", "precision"), [pair for pair in REDUCED if pair[1] != "onnxruntime"])
def test_tensorrt_parses_and_builds_what_is_meant_for_it(reduced, model, precision):
    """For a GPU that need not be there; float32 is built in tests/server/test_plans.py."""
    tensorrt = pytest.importorskip("tensorrt_rtx")
    assert len(build_plan(tensorrt, reduced / f"{model}.{precision}.onnx", model, "8.9")) > 0


@exports
def test_a_graph_with_flip_comes_near_in_int8_too(samples, tmp_path):
    """The mirror image is made before the normalisation, which still goes into the convolution after it."""
    exact = tmp_path / "exact.onnx"
    write_graph("apn", graph_modules(seeded_networks(), flip=True)["apn"], exact)
    targets = {dialect: tmp_path / f"{dialect}.onnx" for dialect in ("onnxruntime", "tensorrt")}
    write_int8(exact, targets, inputs_of("apn", samples))
    (feeds, *_) = inputs_of("apn", samples)
    expected, got, symmetric = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
        for path in (exact, *targets.values())
    )
    for reduced in (got, symmetric):
        assert 0 < np.abs(expected - reduced).max() < 0.05 * np.abs(expected).max()
    tensorrt = pytest.importorskip("tensorrt_rtx")
    assert len(build_plan(tensorrt, targets["tensorrt"], "apn", "8.9")) > 0


@exports
def test_float16_is_typed(reduced):
    graph = onnx.load(reduced / "iqa.float16.onnx").graph
    assert types_of(graph)["Conv"] == {"FLOAT16"}


def test_calibration_sees_what_the_server_sends(samples):
    crop = read_crop(samples.calibration[0])
    (first, *_), (seen, *_) = (list(calibration_inputs(model, samples.calibration)) for model in ("apn", "iqa"))
    assert np.array_equal(first["CROP"], resize(crop)[np.newaxis])
    assert np.array_equal(seen["VIEWS"], views(crop)[np.newaxis])


def outputs(descriptors, q, alpha, female=0.25):
    """`female`: the probability of it in the first picture; every other attribute and picture has 1/4 everywhere."""
    descriptors = np.array(descriptors, np.float32)
    attributes = np.full((len(descriptors), ATTRIBUTE_SIZE), 0.25, np.float32)
    attributes[0, 0] = female
    return {
        "DESCRIPTOR": descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True),
        "IDENTIFIABILITY": np.array(q, np.float32)[:, None],
        "ALPHA": np.array(alpha, np.float32)[:, None],
        "ATTRIBUTES": attributes,
    }


def test_fidelity_by_hand():
    pids, camids = np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2])
    exact = outputs([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], [1, 2, 3, 4], [0.5, 0.5, 0.5, 0.5])
    assert fidelity(exact, exact, pids, camids) == {
        "descriptor_cosine": pytest.approx(1),
        "identifiability_spearman": pytest.approx(1),
        "alpha_difference": 0,
        "mAP_difference": 0,
        "attribute_agreement": 1,
    }
    # The last descriptor now looks like the other person, Q's order is turned round, one α and one gender have moved.
    other = outputs([[1, 0], [1, 0.1], [0, 1], [1, -0.2]], [8, 4, 2, 1], [0.5, 0.5, 0.5, 0.9], 0.75)
    found = fidelity(exact, other, pids, camids)
    cosine = (0.1 * 1 - 1 * 0.2) / np.sqrt((0.1**2 + 1) * (1 + 0.2**2))
    assert found["descriptor_cosine"] == pytest.approx((3 + cosine) / 4)
    assert found["identifiability_spearman"] == pytest.approx(-1)
    assert found["alpha_difference"] == pytest.approx(0.1)
    assert found["attribute_agreement"] == pytest.approx(1 - 1 / (4 * 12))
    # The second person's two pictures find each other only behind both of the first.
    assert found["mAP_difference"] == pytest.approx(1 - np.mean([1, 1, 1 / 3, 1 / 3]))


@exports
def test_the_gate_passes_what_comes_near_and_its_numbers_are_in_the_manifest(tmp_path, samples):
    precisions = parse_precisions("fp16,apn=int8")
    installed = install(seeded_networks(), tmp_path / "models", {}, precisions=precisions, samples=samples)
    manifest = installed.content
    assert {name: graph["precision"] for name, graph in manifest["graphs"].items()} == {
        "apn": "int8",
        "apan": "float16",
        "iqa": "float16",
        "fusion": "float32",
    }
    assert manifest["fidelity"]["images"] == len(samples.held_out)
    for name, bound in BOUNDS.items():
        assert bound.holds(manifest["fidelity"]["onnxruntime"][name]["measured"])
    served = text_format.Parse((tmp_path / "models/qafm/config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert json.loads(served.parameters["manifest"].string_value)["fidelity"] == manifest["fidelity"]


@exports
def test_a_bad_calibration_is_refused_and_installs_nothing(tmp_path, samples):
    """Calibrated on one grey picture, everything brighter or darker is cut off."""
    grey = tmp_path / "0001_c1s1_000001_00.png"
    Image.new("RGB", (64, 128), (124, 116, 104)).save(grey)
    flat = Samples(calibration=[Crop(grey, pid=1, camid=1)], held_out=samples.held_out)
    with pytest.raises(ExportRefused, match=r"descriptor_cosine is .* in onnxruntime, expected at least 0\.995"):
        install(seeded_networks(), tmp_path / "models", {}, precisions=parse_precisions("int8"), samples=flat)
    assert list(tmp_path.iterdir()) == [grey]


class Overflowing(TorchPipeline):
    def run(self, model, inputs):
        found = super().run(model, inputs)
        return found if model != "apn" else {name: values * np.inf for name, values in found.items()}


def test_an_overflow_is_refused_by_name(samples):
    exact = TorchPipeline(seeded_networks())
    with pytest.raises(ExportRefused, match=r"overflows in half: VISUAL.* of 0.*\.jpg is not finite"):
        check_fidelity(exact, {"half": Overflowing(seeded_networks())}, samples.held_out[:1])


def test_reduced_precision_needs_crops(tmp_path):
    with pytest.raises(InvalidSettings, match="apn, apan, iqa: expected samples"):
        install(seeded_networks(), tmp_path / "models", {}, precisions=parse_precisions("int8"))


@pytest.fixture
def run(dataset, tmp_path) -> Path:
    """As much of a run as says what it was trained on."""
    folder = tmp_path / "run"
    folder.mkdir()
    save_settings(load_preset("demo"), folder / "settings.yaml")
    (folder / "data.json").write_text(json.dumps(load_training_data(dataset, seed=0).description()))
    return folder


def test_samples_are_of_the_data_that_the_run_was_trained_on(run, dataset, tmp_path):
    found = load_samples(run, None)
    calibration, held_out = ({crop.pid for crop in crops} for crops in (found.calibration, found.held_out))
    assert len(held_out) == 2 and not calibration & held_out
    assert load_samples(run, dataset) == found
    other = tmp_path / "other"
    make_dataset(replace(RECIPE, seed=1), other)
    with pytest.raises(InvalidDataset, match="not the data that .*run was trained on; name that with --data"):
        load_samples(run, other)


def test_held_out_people_must_be_seen_by_two_cameras(run, dataset, tmp_path):
    single = tmp_path / "single"
    shutil.copytree(dataset, single)
    for path in (single / "bounding_box_train").glob("*.jpg"):
        path.rename(path.with_name(re.sub("_c.s", "_c1s", path.name)))
    (run / "data.json").write_text(json.dumps(load_training_data(single, seed=0).description()))
    with pytest.raises(
        InvalidDataset, match="none of the .* held-out crops shows a person that another camera saw too"
    ):
        load_samples(run, None)


def test_data_that_is_gone_or_was_never_named_is_asked_for(run, dataset):
    known = json.loads((run / "data.json").read_text())
    (run / "data.json").write_text(json.dumps({key: value for key, value in known.items() if key != "folder"}))
    with pytest.raises(InvalidSettings, match="does not say where .* --data"):
        load_samples(run, None)
    (run / "data.json").write_text(json.dumps(known | {"folder": str(dataset / "gone")}))
    with pytest.raises(InvalidDataset, match="gone"):
        load_samples(run, None)
