"""ONNX Runtime as a Triton Python-based backend, for servers that ship without one.

`server` copies this file to `<backend directory>/onnxruntime/model.py`, and `backend: "onnxruntime"` in a
`config.pbtxt` then means what it means where Triton's own backend is installed. It runs inside the server's
Python environment: it needs NumPy and onnxruntime there, and nothing of this project.

What it reads, by the names of Triton's own backend:

    <model>/<version>/model.onnx       or default_model_filename
    intra_op_thread_count              threads within an operator; 0, the default, is every core
    inter_op_thread_count              threads across operators, under execution_mode 1
    execution_mode                     0 one operator after the other (the default), 1 in parallel
    enable_mem_arena, enable_mem_pattern
    session.*                          any session setting of ONNX Runtime, session.intra_op.allow_spinning
                                       among them; Triton's own backend knows few and passes over the others
    optimization { graph { level } }   -1 basic, 1 extended, 2 none; all by default
    optimization { execution_accelerators { cpu_execution_accelerator { name: "openvino" } } }
                                       ONNX Runtime's build with OpenVINO, from the folder that QAFM_OPENVINO names
"""

import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

_TRITON_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}

_GRAPH_LEVELS = {-1: "ORT_ENABLE_BASIC", 1: "ORT_ENABLE_EXTENDED", 2: "ORT_DISABLE_ALL"}


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self._name = args["model_name"]
        self._batches = config.get("max_batch_size", 0) > 0
        folder = Path(args["model_repository"]) / args["model_version"]
        graph = folder / (config.get("default_model_filename") or "model.onnx")
        if not graph.is_file():
            raise pb_utils.TritonModelException(
                f"model '{self._name}': no graph at {graph}; export the model to this repository first"
            )
        runtime = load_runtime(config)
        try:
            self._session = runtime.InferenceSession(
                graph, session_options(runtime, config), providers=_providers(runtime, config, args)
            )
        except Exception as error:
            raise pb_utils.TritonModelException(f"model '{self._name}': cannot load {graph}: {error}") from error
        if mismatches := contract_mismatches(self._session, config):
            raise pb_utils.TritonModelException(
                f"model '{self._name}': {graph} does not fit config.pbtxt: " + "; ".join(mismatches)
            )
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests):
        # Without a batch dimension there is nothing along which requests could share a run.
        groups = [requests] if self._batches else [[request] for request in requests]
        return [response for group in groups for response in self._run(group)]

    def _run(self, requests):
        try:
            wanted = [set(request.requested_output_names()) for request in requests]
            names = [name for name in self._outputs if any(name in asked for asked in wanted)]
            feeds, sizes = self._joined(requests)
            outputs = dict(zip(names, self._session.run(names, feeds), strict=True))
            stops = np.cumsum(sizes)
            return [
                pb_utils.InferenceResponse(
                    [pb_utils.Tensor(name, values) for name, values in self._rows(outputs, asked, start, stop)]
                )
                for asked, start, stop in zip(wanted, stops - sizes, stops, strict=True)
            ]
        except Exception as error:
            message = f"model '{self._name}' failed: {error}"
            pb_utils.Logger.log_error(message)
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError(message)) for _ in requests]

    def _joined(self, requests):
        """The requests' inputs as one batch, and how many rows of it belong to each request."""
        columns = {
            name: [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for request in requests]
            for name in self._inputs
        }
        sizes = np.array([len(values) for values in columns[self._inputs[0]]]) if self._batches else np.array([1])
        # A request that runs alone is passed on as it lies in shared memory, without a copy.
        feeds = {name: arrays[0] if len(arrays) == 1 else np.concatenate(arrays) for name, arrays in columns.items()}
        return feeds, sizes

    def _rows(self, outputs, wanted, start, stop):
        for name, values in outputs.items():
            if name in wanted:
                yield name, values[start:stop] if self._batches else values


def load_runtime(config):
    """ONNX Runtime as a module, with OpenVINO where the configuration asks for that.

    The two are packages of one name. A process can have either, and each model has a process of its own.
    """
    if _asks_for_openvino(config):
        folder = os.environ.get("QAFM_OPENVINO", "")
        if not Path(folder, "onnxruntime").is_dir():
            raise pb_utils.TritonModelException(
                f"model '{config.get('name')}': its configuration asks for OpenVINO, and there is none in "
                f"{folder or 'QAFM_OPENVINO, which is not set'}; run `make openvino`, or serve without "
                "--config-name openvino"
            )
        sys.path.insert(0, folder)
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise pb_utils.TritonModelException(
            f"model '{config.get('name')}': ONNX Runtime cannot be imported from {sys.path[0]}: {error}"
        ) from error


def _asks_for_openvino(config):
    chosen = config.get("optimization", {}).get("execution_accelerators", {}).get("cpu_execution_accelerator", [])
    names = [accelerator["name"] for accelerator in chosen]
    if names not in ([], ["openvino"]):
        raise pb_utils.TritonModelException(
            f"model '{config.get('name')}': expected no accelerator on a CPU or openvino, got {', '.join(names)}"
        )
    return bool(names)


def session_options(runtime, config):
    """Session options from a model configuration as Triton passes it: parsed JSON, parameters as strings."""
    options = runtime.SessionOptions()
    for key, value in _parameters(config).items():
        if key == "intra_op_thread_count":
            options.intra_op_num_threads = int(value)
        elif key == "inter_op_thread_count":
            options.inter_op_num_threads = int(value)
        elif key == "execution_mode":
            parallel = _boolean(key, value)
            options.execution_mode = (
                runtime.ExecutionMode.ORT_PARALLEL if parallel else runtime.ExecutionMode.ORT_SEQUENTIAL
            )
        elif key == "enable_mem_arena":
            options.enable_cpu_mem_arena = _boolean(key, value)
        elif key == "enable_mem_pattern":
            options.enable_mem_pattern = _boolean(key, value)
        elif key.startswith("session."):
            options.add_session_config_entry(key, value)
        else:
            # Triton's own backend passes over these too: they may be meant for a GPU or another version.
            pb_utils.Logger.log_warn(
                f"model '{config.get('name')}': parameter '{key}' is not known here and is ignored"
            )
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    if level in _GRAPH_LEVELS:
        options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, _GRAPH_LEVELS[level])
    if _asks_for_openvino(config):
        # Without a word it would take the CPU's own operators where it cannot use OpenVINO's.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def _parameters(config):
    return {key: value["string_value"] for key, value in config.get("parameters", {}).items()}


def contract_mismatches(session, config):
    """Where a graph differs from its configuration, one sentence each; empty where they agree.

    Every input must be configured and every configured output present, with its type and size; a graph may
    have outputs that are not served. A dimension that either side leaves open fits anything.
    """
    return [
        *_mismatches("input", session.get_inputs(), config, exact=True),
        *_mismatches("output", session.get_outputs(), config, exact=False),
    ]


def _mismatches(kind, tensors, config, exact):
    batch = [-1] if config.get("max_batch_size", 0) > 0 else []
    expected = {tensor["name"]: tensor for tensor in config[kind]}
    in_graph = {tensor.name: tensor for tensor in tensors}
    absent = expected.keys() - in_graph.keys()
    extra = in_graph.keys() - expected.keys() if exact else set()
    if absent or extra:
        yield f"expected {kind}s {', '.join(sorted(expected))}, got {', '.join(sorted(in_graph)) or 'none'}"
        return
    for name, tensor in expected.items():
        got_type = _TRITON_TYPES.get(in_graph[name].type, in_graph[name].type)
        got_dims = [size if isinstance(size, int) else -1 for size in in_graph[name].shape]
        dims = batch + [int(size) for size in tensor["dims"]]
        # A batch dimension that the graph fixes cannot take batches of other sizes.
        fits = len(dims) == len(got_dims) and (not batch or got_dims[0] == -1)
        fits = fits and all(a == b or -1 in (a, b) for a, b in zip(dims, got_dims, strict=True))
        if tensor["data_type"] != got_type or not fits:
            yield f"{kind} {name}: expected {tensor['data_type']} {dims}, got {got_type} {got_dims}"


def _providers(runtime, config, args):
    if _asks_for_openvino(config):
        threads = int(_parameters(config).get("intra_op_thread_count", 0)) or len(os.sched_getaffinity(0))
        return [
            (
                "OpenVINOExecutionProvider",
                # In float32 what is float32 in the graph: some processors would round it to bfloat16.
                {"device_type": "CPU", "precision": "FP32", "num_of_threads": str(threads), "num_streams": "1"},
            )
        ]
    if args["model_instance_kind"] == "GPU" and "CUDAExecutionProvider" in runtime.get_available_providers():
        device = {"device_id": int(args["model_instance_device_id"])}
        return [("CUDAExecutionProvider", device), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def _boolean(key, value):
    if value not in ("0", "1"):
        raise pb_utils.TritonModelException(f"parameter '{key}': expected 0 or 1, got {value!r}")
    return value == "1"
