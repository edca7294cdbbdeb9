"""The ONNX Runtime backend without Triton, on graphs of a few nodes."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import tests.support.pb_utils_stand_in as pb
from export import openvino_worker

backend = pb.load(Path(__file__).resolve().parents[2] / "server" / "onnxruntime_backend.py")


def save_graph(folder, *, batch="batch", kind=TensorProto.FLOAT, size=2):
    """SUM = A + B and HALF = A / 2, of `size` columns."""
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["A", "B"], ["SUM"]),
            helper.make_node("Mul", ["A", "half"], ["HALF"]),
        ],
        "sum",
        [helper.make_tensor_value_info(name, kind, [batch, size]) for name in "AB"],
        [helper.make_tensor_value_info(name, kind, [batch, size]) for name in ("SUM", "HALF")],
        [helper.make_tensor("half", kind, [], [0.5])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "1").mkdir(exist_ok=True)
    onnx.save(model, folder / "1" / "model.onnx")


def configuration(**changes):
    tensors = {name: {"name": name, "data_type": "TYPE_FP32", "dims": ["2"]} for name in ("A", "B", "SUM", "HALF")}
    return {
        "name": "adder",
        "max_batch_size": 8,
        "input": [tensors["A"], tensors["B"]],
        "output": [tensors["SUM"], tensors["HALF"]],
        **changes,
    }


def load(folder, **changes):
    model = backend.TritonPythonModel()
    model.initialize(
        {
            "model_name": "adder",
            "model_repository": str(folder),
            "model_version": "1",
            "model_config": json.dumps(configuration(**changes)),
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
        }
    )
    return model


def request(rows, outputs=("SUM", "HALF"), start=0.0):
    a = np.arange(start, start + 2 * rows, dtype=np.float32).reshape(rows, 2)
    return pb.InferenceRequest({"A": a, "B": a * 10}, list(outputs))


def test_requests_share_one_run_and_get_their_own_rows(tmp_path, monkeypatch):
    save_graph(tmp_path)
    model = load(tmp_path)
    runs = []
    run = model._session.run
    monkeypatch.setattr(model, "_session", type("Counted", (), {"run": lambda _, *a: runs.append(a) or run(*a)})())
    requests = [request(1), request(3, start=100), request(2, start=7)]
    responses = model.execute(requests)
    assert len(runs) == 1
    for one, response in zip(requests, responses, strict=True):
        a = one.inputs()[0].as_numpy()
        np.testing.assert_array_equal(response.outputs()["SUM"], a * 11)
        np.testing.assert_array_equal(response.outputs()["HALF"], a / 2)


def test_each_request_gets_only_the_outputs_it_asked_for(tmp_path):
    save_graph(tmp_path)
    responses = load(tmp_path).execute([request(1, ["HALF"]), request(1, ["SUM"]), request(1)])
    assert [sorted(response.outputs()) for response in responses] == [["HALF"], ["SUM"], ["HALF", "SUM"]]


def test_without_a_batch_dimension_requests_run_one_by_one(tmp_path):
    save_graph(tmp_path, batch=3)
    tensors = [{"name": name, "data_type": "TYPE_FP32", "dims": ["3", "2"]} for name in ("A", "B", "SUM")]
    model = load(tmp_path, max_batch_size=0, input=tensors[:2], output=tensors[2:])
    requests = [request(3, ["SUM"]), request(3, ["SUM"], start=5)]
    for one, response in zip(requests, model.execute(requests), strict=True):
        np.testing.assert_array_equal(response.outputs()["SUM"], one.inputs()[0].as_numpy() * 11)


def test_a_failing_run_answers_every_request_and_names_the_model(tmp_path):
    save_graph(tmp_path)
    wrong = pb.InferenceRequest({"A": np.zeros((1, 5), np.float32), "B": np.zeros((1, 5), np.float32)}, ["SUM"])
    responses = load(tmp_path).execute([wrong])
    assert responses[0].error().message().startswith("model 'adder' failed: ")


def test_a_missing_graph_is_named(tmp_path):
    with pytest.raises(pb.TritonModelException, match=r"model 'adder': no graph at .*/1/model\.onnx"):
        load(tmp_path)


def test_a_damaged_graph_is_named(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(pb.TritonModelException, match=r"model 'adder': cannot load .*model\.onnx: "):
        load(tmp_path)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({"kind": TensorProto.DOUBLE}, r"input A: expected TYPE_FP32 \[-1, 2\], got TYPE_FP64 \[-1, 2\]"),
        ({"size": 3}, r"output HALF: expected TYPE_FP32 \[-1, 2\], got TYPE_FP32 \[-1, 3\]"),
        ({"batch": 1}, r"input B: expected TYPE_FP32 \[-1, 2\], got TYPE_FP32 \[1, 2\]"),
    ],
)
def test_a_graph_of_other_types_or_sizes_is_refused(tmp_path, graph, message):
    save_graph(tmp_path, **graph)
    with pytest.raises(pb.TritonModelException, match=message):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": configuration()["input"][:1]}, "expected inputs A, got A, B"),
        (
            {"output": [{"name": "DIFFERENCE", "data_type": "TYPE_FP32", "dims": ["2"]}]},
            "expected outputs DIFFERENCE, got HALF, SUM",
        ),
    ],
)
def test_a_graph_with_other_names_is_refused(tmp_path, changes, message):
    save_graph(tmp_path)
    with pytest.raises(pb.TritonModelException, match=message):
        load(tmp_path, **changes)


def test_a_graph_may_have_outputs_that_are_not_served(tmp_path):
    save_graph(tmp_path)
    (response,) = load(tmp_path, output=configuration()["output"][:1]).execute([request(1, ["SUM"])])
    assert list(response.outputs()) == ["SUM"]


def parameters(**values):
    return {"parameters": {key: {"string_value": value} for key, value in values.items()}}


def test_settings_by_the_names_of_tritons_own_backend():
    options = backend.session_options(
        onnxruntime,
        {
            **parameters(
                intra_op_thread_count="3",
                inter_op_thread_count="2",
                execution_mode="1",
                enable_mem_arena="0",
                enable_mem_pattern="0",
                **{"session.intra_op.allow_spinning": "0"},
            ),
            "optimization": {"graph": {"level": 1}},
        },
    )
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 2
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert options.enable_cpu_mem_arena is False
    assert options.enable_mem_pattern is False
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED


def test_without_settings_the_defaults_are_onnx_runtimes():
    options, default = backend.session_options(onnxruntime, {}), onnxruntime.SessionOptions()
    for name in (
        "intra_op_num_threads",
        "execution_mode",
        "graph_optimization_level",
        "enable_cpu_mem_arena",
    ):
        assert getattr(options, name) == getattr(default, name)


def test_a_setting_of_the_wrong_form_is_refused():
    with pytest.raises(pb.TritonModelException, match="'execution_mode': expected 0 or 1, got 'parallel'"):
        backend.session_options(onnxruntime, parameters(execution_mode="parallel"))


def test_an_unknown_setting_is_logged():
    pb.Logger.messages.clear()
    backend.session_options(onnxruntime, {"name": "adder", **parameters(gpu_mem_limit="1")})
    assert pb.Logger.messages == ["model 'adder': parameter 'gpu_mem_limit' is not known here and is ignored"]


def accelerated(name):
    return {"optimization": {"execution_accelerators": {"cpu_execution_accelerator": [{"name": name}]}}}


def test_openvino_that_is_not_there_is_refused(tmp_path, monkeypatch):
    save_graph(tmp_path)
    monkeypatch.setenv("QAFM_OPENVINO", str(tmp_path / "nothing"))
    with pytest.raises(
        pb.TritonModelException, match=r"asks for OpenVINO, and there is none in .*nothing; run `make op"
    ):
        load(tmp_path, **accelerated("openvino"))
    monkeypatch.delenv("QAFM_OPENVINO")
    with pytest.raises(pb.TritonModelException, match="QAFM_OPENVINO, which is not set"):
        load(tmp_path, **accelerated("openvino"))


def test_the_export_judges_openvino_as_it_is_served():
    assert backend._providers(onnxruntime, accelerated("openvino"), {}) == openvino_worker.providers()
    ((_, options),) = backend._providers(
        onnxruntime, accelerated("openvino") | parameters(intra_op_thread_count="1"), {}
    )
    assert options["num_of_threads"] == "1"


def test_another_accelerator_is_refused(tmp_path):
    save_graph(tmp_path)
    with pytest.raises(pb.TritonModelException, match="expected no accelerator on a CPU or openvino, got tensorrt"):
        load(tmp_path, **accelerated("tensorrt"))


def test_a_build_without_openvino_does_not_go_on_without_a_word(tmp_path, monkeypatch):
    """Here `onnxruntime` is loaded already, and has none."""
    save_graph(tmp_path)
    (tmp_path / "onnxruntime").mkdir()
    monkeypatch.setenv("QAFM_OPENVINO", str(tmp_path))
    monkeypatch.setattr("sys.path", [*sys.path])
    with pytest.raises(pb.TritonModelException, match=r"cannot load .*model\.onnx"):
        load(tmp_path, **accelerated("openvino"))


def test_it_stands_alone():
    # It runs in the server's environment, where nothing of this project need be.
    assert "qafm" not in Path(backend.__file__).read_text()
