"""Writing graphs in less than the float32 that they were trained in: float16, or int8 with quantised operators.

int8 has two dialects. ONNX Runtime is fast on a CPU with uint8 activations of any zero point; TensorRT takes only
symmetric int8, and biases in floating point. Both are written from one calibration. Weights use all eight bits, so sums
of products may saturate on an x86 CPU without VNNI. A gate that passed on a CPU with VNNI does not show this.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from export.graphs import save_graph

Dialect = Literal["onnxruntime", "tensorrt"]
_CENTRED = "centred"
"""The tensor of pixels less their centre."""

# The mean of the crops' largest values, not the largest of all: docs/performance.md has what that changes.
_RANGES = {"CalibMovingAverage": True}


def write_float16(source: Path, target: Path) -> None:
    """Write a float32 graph in float16, its inputs and outputs unchanged: typed, as TensorRT 10 and later want it."""
    model = OnnxModel(convert_float_to_float16(onnx.load(source), keep_io_types=True))
    # The converter appends its casts, and leaves the types that tensors had before.
    model.topological_sort()
    del model.model.graph.value_info[:]
    save_graph(model.model, target)


def write_int8(source: Path, targets: Mapping[Dialect, Path], samples: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Write a float32 graph that begins with pixels as int8 graphs, one file for each dialect.

    samples: what to calibrate on; inputs by name, each a batch.
    """
    with tempfile.TemporaryDirectory(prefix="int8-") as folder, _quiet():
        prepared, ranges = Path(folder) / "prepared.onnx", Path(folder) / "ranges.json"
        # Batch normalisation folded into the convolutions, and the shapes of all tensors.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        centred, centre = fold_normalisation(onnx.load(prepared))
        onnx.save(centred, prepared)
        for dialect, target in targets.items():
            quantize_static(
                prepared,
                target,
                # Read once: the second dialect takes the ranges from the cache.
                _Samples(samples),
                calibration_cache_path=ranges,
                calibrate_method=CalibrationMethod.MinMax,
                per_channel=True,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_mirroring(centred),
                **_dialect(dialect, centre),
            )
            quantised = onnx.load(target)
            save_graph(_take_bytes(quantised) if dialect == "onnxruntime" else quantised, target)


def _dialect(dialect: Dialect, centre: int) -> dict[str, object]:
    """The quantiser's arguments. In ONNX Runtime's dialect a centred pixel is stored as the pixel's own byte."""
    if dialect == "tensorrt":
        symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
        return {"activation_type": QuantType.QInt8, "extra_options": _RANGES | symmetric}
    byte = {"quant_type": QuantType.QUInt8, "scale": np.array(1, np.float32), "zero_point": np.array(centre, np.uint8)}
    return {
        "activation_type": QuantType.QUInt8,
        "extra_options": _RANGES | {"TensorQuantOverrides": {_CENTRED: [byte]}},
    }


def fold_normalisation(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """Put (x - mean) / std and the convolution after it into one convolution of x - centre; returns the centre too.

    Where pixels are averaged in between, to a lower resolution, the convolution does that too: an average is not
    quantised. The centre is a byte, and a pixel less a byte is quantised without loss. Only the padding differs: it was
    the mean colour and becomes the centre's grey, some ten of 255 away.
    """
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (subtract,) = (node for node in graph.node if node.op_type == "Sub" and node.input[1].endswith("pixels.mean"))
    (divide,) = (node for node in graph.node if subtract.output[0] in node.input)
    (convolve,) = (node for node in graph.node if divide.output[0] in node.input)
    averages = 1
    if convolve.op_type == "AveragePool":
        average = convolve
        (convolve,) = (node for node in graph.node if average.output[0] in node.input)
        averages = _enlarge(convolve, average)
        graph.node.remove(average)
    mean, std = (constants[node.input[1]].reshape(-1) for node in (subtract, divide))
    weights, *bias = (constants[name] for name in convolve.input[1:])
    centre = round(float(mean.mean()))
    weights = weights.repeat(averages, axis=2).repeat(averages, axis=3) / averages**2 / std[:, None, None]
    # The convolution of an image that is centre - mean everywhere.
    added = np.einsum("oihw,i->o", weights.astype(np.float64), centre - mean).astype(np.float32)
    for name in (subtract.input[1], divide.input[1], *convolve.input[1:]):
        _remove_constant(graph, name)
    folded = {
        "centre": np.array(centre, np.float32),
        f"{_CENTRED}.weight": weights,
        f"{_CENTRED}.bias": sum(bias, added),
    }
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in folded.items())
    subtract.input[1] = "centre"
    subtract.output[0] = _CENTRED
    convolve.input[:] = [_CENTRED, f"{_CENTRED}.weight", f"{_CENTRED}.bias"]
    graph.node.remove(divide)
    del graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model), centre


def _enlarge(convolve: onnx.NodeProto, average: onnx.NodeProto) -> int:
    """Let a convolution go over pixels in the steps that it took over their averages; returns how many pixels these are
    of, down and across. Its weights are not touched."""
    (averages, _) = next(list(attribute.ints) for attribute in average.attribute if attribute.name == "kernel_shape")
    for attribute in convolve.attribute:
        if attribute.name in ("kernel_shape", "pads", "strides"):
            attribute.ints[:] = [averages * step for step in attribute.ints]
    return averages


def _mirroring(model: onnx.ModelProto) -> list[str]:
    """The nodes that put mirror images beside the pixels, which are bytes anyway: all before the centred ones."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    before, names = [_CENTRED], []
    while before:
        node = made_by.get(before.pop())
        if node is not None:
            before += node.input
            names += [node.name] * (node.op_type in ("Slice", "Concat"))
    return names


def _take_bytes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let a graph read bytes as they are: to turn them into centred float32 and back takes a twentieth of its time."""
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    (quantise,) = (node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == _CENTRED)
    subtract = made_by[_CENTRED]
    cast = subtract
    while cast.op_type != "Cast":
        cast = made_by[cast.input[0]]
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == cast.output[0]:
                node.input[place] = cast.input[0]
            elif name == quantise.output[0]:
                node.input[place] = subtract.input[0]
    _remove_constant(graph, subtract.input[1])
    for node in (cast, subtract, quantise):
        graph.node.remove(node)
    del graph.value_info[:]
    return model


def _remove_constant(graph: onnx.GraphProto, name: str) -> None:
    (constant,) = (tensor for tensor in graph.initializer if tensor.name == name)
    graph.initializer.remove(constant)


class _Samples(CalibrationDataReader):
    def __init__(self, samples: Iterable[Mapping[str, np.ndarray]]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._samples, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser logs advice that is followed here already."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
