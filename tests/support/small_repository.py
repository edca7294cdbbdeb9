"""A repository whose networks are a few operators each: everything around them at full size, in little time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.graphs import OPSET
from qafm.contract import ATTRIBUTES, CROP, FEATURES, SEMANTIC, VIEWS, VISUAL, Tensor, graph_path
from tests.support.seeded_repository import make_seeded_repository

STEP = 16
"""Every so many pixels are looked at, across and down."""


def make_small_repository(directory: Path) -> Path:
    """As `make_seeded_repository`, with its three large networks replaced."""
    make_seeded_repository(directory)
    for model, source, outputs in (
        ("apn", CROP, (VISUAL,)),
        ("apan", CROP, (SEMANTIC, ATTRIBUTES)),
        ("iqa", VIEWS, (FEATURES,)),
    ):
        onnx.save(_pixels_times_a_matrix(source, outputs), graph_path(directory, model))
    return directory


def _pixels_times_a_matrix(source: Tensor, outputs: tuple[Tensor, ...]) -> onnx.ModelProto:
    """For each output a sigmoid of random sums of some of the pixels."""
    *leading, height, width, channels = source.dims
    pixels = height // STEP * (width // STEP) * channels
    axes = [1 + len(leading), 2 + len(leading)]
    constants = {
        "starts": np.array([0, 0]),
        "ends": np.array([height, width]),
        "axes": np.array(axes),
        "steps": np.array([STEP, STEP]),
        "flat": np.array([0, *leading, pixels]),
        "scale": np.array(1 / 255, np.float32),
    }
    nodes = [
        helper.make_node("Slice", [source.name, "starts", "ends", "axes", "steps"], ["some"]),
        helper.make_node("Cast", ["some"], ["bright"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["bright", "scale"], ["small"]),
        helper.make_node("Reshape", ["small", "flat"], ["pixels"]),
    ]
    for seed, output in enumerate(outputs):
        weights = np.random.default_rng(seed).standard_normal((pixels, output.dims[-1]), np.float32)
        constants[f"weights{seed}"] = weights / np.float32(pixels**0.5)
        nodes += [
            helper.make_node("MatMul", ["pixels", f"weights{seed}"], [f"sums{seed}"]),
            helper.make_node("Sigmoid", [f"sums{seed}"], [output.name]),
        ]

    def described(tensor: Tensor, kind: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(tensor.name, kind, ["batch", *tensor.dims])

    graph = helper.make_graph(
        nodes,
        "small",
        [described(source, TensorProto.UINT8)],
        [described(output, TensorProto.FLOAT) for output in outputs],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return model
