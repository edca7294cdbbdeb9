"""Where the time goes: the work of convolutions and the groups of a profile, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.layers import Layers, Product, by_layer, work_of_convolutions


def two_convolutions():
    """3x3 with stride 2 from 3 channels to 4, then 1x1 to 2, on 8x4 pixels; the second's weights are quantised."""
    weights = [
        numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w0"),
        numpy_helper.from_array(np.ones((2, 4, 1, 1), np.int8), "w1"),
        numpy_helper.from_array(np.float32(0.5), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    nodes = [
        helper.make_node("Conv", ["X", "w0"], ["A"], name="first", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("DequantizeLinear", ["w1", "scale", "zero"], ["w"]),
        helper.make_node("Conv", ["A", "w"], ["B"], name="first_too"),
        helper.make_node("Relu", ["B"], ["Y"]),
    ]
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("X", ["batch", 3, 8, 4]), ("Y", ["batch", 2, 4, 2]))
    ]
    graph = helper.make_graph(nodes, "two", tensors[:1], tensors[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_what_convolutions_take_by_hand():
    assert work_of_convolutions(two_convolutions()) == {
        "first": ("3x3 convolutions to 4x2", 8 * 4 * 27),
        "first_too": ("1x1 convolutions to 4x2", 8 * 2 * 4),
    }


def test_layers_are_grouped_and_the_slowest_is_first():
    def event(name, operator, microseconds, category="Node"):
        return {"cat": category, "name": name, "dur": microseconds, "args": {"op_name": operator}}

    events = [
        event("session_initialization", "", 9e6, "Session"),
        event("first_fence_before", "Conv", 9e6),
        event("first_token_7_kernel_time", "QLinearConv", 1e6),
        event("first_nchwc_kernel_time", "QLinearConv", 3e6),
        event("first_too_kernel_time", "QLinearConv", 1e6),
        event("other_kernel_time", "Relu", 5e6),
        event("another_kernel_time", "Relu", 1e6),
    ]
    convolutions = {"first": ("3x3 convolutions to 4x2", 10.0), "first_too": ("1x1 convolutions to 4x2", 1.0)}
    assert by_layer(events, convolutions, runs=2) == [
        Layers("Relu", 3.0, 0.0),
        Layers("3x3 convolutions to 4x2", 2.0, 350.0),
        Layers("1x1 convolutions to 4x2", 0.5, 35.0),
    ]


@pytest.mark.parametrize("quantised", [True, False])
def test_a_product_takes_its_time(quantised):
    assert 1e-14 < Product(quantised=quantised).seconds() < 1e-7
