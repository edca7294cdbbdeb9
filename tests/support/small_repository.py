"""A repository whose networks are a few operators each: everything around them at full size, in little time."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.graphs import OPSET, graph_modules, write_graph
from export.identity import manifest_of, write_manifest
from export.repository import NOT_SERVED, TEMPLATE
from export.variants import write_variants
from qafm.contract import (
    ALPHA_FILE,
    ATTRIBUTES,
    CROP,
    FEATURES,
    FUSION,
    GRAPHS,
    MODELS,
    QUALITY,
    SEMANTIC,
    VIEWS,
    VISUAL,
    Tensor,
    graph_path,
)
from qafm.weighting import save_weighting
from tests.support.seeded_repository import seeded_networks, seeded_utility

STEP = 16
"""Every so many pixels are looked at, across and down."""


def make_small_repository(directory: Path, seed: int = 0) -> Path:
    """A repository as the exporter writes it, made within seconds; return its path. Another seed is another model."""
    networks = seeded_networks(seed)
    weighting, utility = networks.weighting.served(), seeded_utility(seed)
    shutil.copytree(TEMPLATE, directory, ignore=NOT_SERVED)
    write_variants(directory)
    save_weighting(directory / "alpha" / "1" / ALPHA_FILE, weighting, utility)
    write_graph(FUSION, graph_modules(networks)[FUSION], graph_path(directory, FUSION))
    for model, source, outputs in (
        ("apn", CROP, (VISUAL,)),
        ("apan", CROP, (SEMANTIC, ATTRIBUTES)),
        ("iqa", VIEWS, (FEATURES,)),
        (QUALITY, CROP, MODELS[QUALITY].outputs),
    ):
        onnx.save(_pixels_times_a_matrix(source, outputs, seed), graph_path(directory, model))
    precisions = dict.fromkeys(GRAPHS, "fp32")
    origin = {"run": f"small, seed {seed}"}
    write_manifest(directory, manifest_of(directory, weighting, utility, precisions, origin=origin, gates={}))
    return directory


def _pixels_times_a_matrix(source: Tensor, outputs: tuple[Tensor, ...], seed: int) -> onnx.ModelProto:
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
    for number, output in enumerate(outputs):
        weights = np.random.default_rng([number, seed]).standard_normal((pixels, output.dims[-1]), np.float32)
        constants[f"weights{number}"] = weights / np.float32(pixels**0.5)
        nodes += [
            helper.make_node("MatMul", ["pixels", f"weights{number}"], [f"sums{number}"]),
            helper.make_node("Sigmoid", [f"sums{number}"], [output.name]),
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
