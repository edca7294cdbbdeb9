"""`python -m bench.layers REPOSITORY`: where the time goes: the 35 views layer by layer, and a request step by step.

The layers of `iqa` are those that ONNX Runtime's own profile times, in groups: convolutions by kernel and by the size
of what they give, everything else by operator. Beside them stands the processor's peak: what ONNX Runtime makes of one
large product of matrices of the same type, measured in turns with the 35 views, and with OpenVINO where it is there.
The steps are what Triton counts of each model while requests are answered one after the other.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import onnxruntime
import typer
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from rich.console import Console
from rich.table import Table
from tritonclient.grpc import InferenceServerClient

from bench.measure import ROUNDS, Out, Rounds, conclude, interleave, ratio, show
from client import ReidClient
from export.openvino import OpenVinoPipeline
from export.parity import sample_crops
from qafm.contract import VIEWS, graph_path
from qafm.openvino import find_openvino
from qafm.perturbations import views
from server import TritonServer

SIZE = 2048
"""Of the matrices whose product is the peak: it fits the caches, and has the largest rate here."""


def main(
    repository: Annotated[Path, typer.Argument(help="A model repository with full-size networks.", exists=True)],
    rounds: Rounds = ROUNDS,
    requests: Annotated[int, typer.Option(min=1, help="Of one image, to the served ensemble.")] = 20,
    config_name: Annotated[str | None, typer.Option(help="Serve this variant, such as openvino.")] = None,
    out: Out = Path("build/bench/layers.json"),
) -> None:
    """Time the layers of the quality branch and the steps of a request."""
    console = Console()
    graph = graph_path(repository, "iqa")
    model = onnx.load(graph)
    convolutions = work_of_convolutions(model)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        session = _session(graph, profile=Path(folder) / "profile")
        seen = {VIEWS.name: views(sample_crops(1)[0])[np.newaxis]}
        product = Product(quantised=any(each.data_type == TensorProto.INT8 for each in model.graph.initializer))
        variants = {"35 views": lambda: session.run(None, seen) and None, "peak": product.seconds}
        if openvino := find_openvino():
            pipeline = stack.enter_context(OpenVinoPipeline(repository, openvino))
            variants["35 views, OpenVINO"] = lambda: pipeline.run("iqa", seen) and None
        seconds = interleave(variants, rounds, console=console)
        # The first run, which interleave does not count, is in the profile too.
        layers = by_layer(json.loads(Path(session.end_profiling()).read_text()), convolutions, rounds + 1)
    work = VIEWS.dims[0] * sum(products for _, products in convolutions.values())
    seconds["peak"] = [work * each for each in seconds["peak"]]
    show(console, f"{work / 1e9:.0f} billion products", seconds)
    console.print(_table_of_layers(layers, float(np.median(seconds["peak"])) / work))
    steps = _by_step(repository, config_name, requests)
    console.print(_table_of_steps(steps))
    conclude(
        console,
        out,
        [ratio(seconds, name, "peak", "at most 1.2") for name in seconds if name != "peak"],
        ("onnxruntime", "numpy"),
        config_name=config_name,
        seconds=seconds,
        layers=[asdict(layer) for layer in layers],
        steps=[asdict(step) for step in steps],
    )


@dataclass(frozen=True)
class Layers:
    """Some layers of one kind. seconds: of one request's views. products: how many multiplications those take."""

    kind: str
    seconds: float
    products: float


@dataclass(frozen=True)
class Step:
    """What a model took of one request, in seconds: of waiting, of moving its tensors, and of computing."""

    model: str
    queue: float
    tensors: float
    computing: float


class Product:
    """One product of two matrices by ONNX Runtime, uint8 by int8 or float32, as the networks have them."""

    def __init__(self, *, quantised: bool) -> None:
        kind, operator = (TensorProto.UINT8, "MatMulInteger") if quantised else (TensorProto.FLOAT, "MatMul")
        generator = np.random.default_rng(0)
        own = generator.integers(-99, 99, (SIZE, SIZE)).astype(np.int8 if quantised else np.float32)
        node = helper.make_node(operator, ["A", "B"], ["C"])
        given = helper.make_tensor_value_info("A", kind, [SIZE, SIZE])
        result = helper.make_tensor_value_info("C", TensorProto.INT32 if quantised else kind, [SIZE, SIZE])
        graph = helper.make_graph([node], "product", [given], [result], [numpy_helper.from_array(own, "B")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        self._session = _session(model.SerializeToString())
        self._matrix = np.abs(own).astype(np.uint8 if quantised else np.float32)

    def seconds(self) -> float:
        """Of one multiplication and addition: the best of ten products."""
        taken = []
        for _ in range(10):
            started = time.perf_counter()
            self._session.run(None, {"A": self._matrix})
            taken.append(time.perf_counter() - started)
        return min(taken) / SIZE**3


def work_of_convolutions(model: onnx.ModelProto) -> dict[str, tuple[str, float]]:
    """Of each convolution, by its name: its kind, and how many products it takes for one view."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inferred.value_info}
    weights = {value.name: tuple(value.dims) for value in inferred.initializer}
    # Of what is quantised the shape stays.
    weights |= {node.output[0]: weights.get(node.input[0], ()) for node in inferred.node if node.input}
    work = {}
    for node in inferred.node:
        if node.op_type == "Conv":
            (height, width), weight = shapes[node.output[0]][2:], weights[node.input[1]]
            kind = f"{weight[2]}x{weight[3]} convolutions to {height}x{width}"
            work[node.name] = kind, height * width * math.prod(weight)
    return work


def by_layer(
    events: Sequence[Mapping[str, Any]], convolutions: Mapping[str, tuple[str, float]], runs: int
) -> list[Layers]:
    """The groups of layers, the slowest first. events: of ONNX Runtime's profile of so many runs."""
    seconds: dict[str, float] = {}
    for event in events:
        if event["cat"] != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        # ONNX Runtime adds to the names: the longest that fits is the convolution's.
        name = max((name for name in convolutions if event["name"].startswith(f"{name}_")), key=len, default="")
        kind = convolutions[name][0] if name else event["args"]["op_name"]
        seconds[kind] = seconds.get(kind, 0.0) + event["dur"] / 1e6 / runs
    products = dict.fromkeys(seconds, 0.0)
    for kind, work in convolutions.values():
        products[kind] += VIEWS.dims[0] * work
    return [Layers(kind, seconds[kind], products[kind]) for kind in sorted(seconds, key=seconds.__getitem__)[::-1]]


def _session(graph: Path | bytes, profile: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # As it is served; and threads that spin would take the cores from what comes next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _by_step(repository: Path, config_name: str | None, requests: int) -> list[Step]:
    """What each model takes of one request, alone on a server."""
    encoded = io.BytesIO()
    Image.fromarray(sample_crops(1)[0]).save(encoded, "JPEG", quality=90)

    async def ask(url: str) -> None:
        async with ReidClient(url) as client:
            for _ in range(requests):
                await client.describe(encoded.getvalue())

    with TritonServer(repository, config_name=config_name) as server:
        asyncio.run(ask(server.grpc_url))
        before = _statistics(server.grpc_url)
        asyncio.run(ask(server.grpc_url))
        after = _statistics(server.grpc_url)
    taken = {
        model: {name: (after[model][name] - before[model][name]) / 1e9 / requests for name in after[model]}
        for model in after
        if after[model]["success"] > before[model]["success"]
    }
    return [
        Step(model, each["queue"], each["compute_input"] + each["compute_output"], each["compute_infer"])
        for model, each in taken.items()
    ]


def _statistics(url: str) -> dict[str, dict[str, int]]:
    """Nanoseconds by model, and by what they were spent on."""
    with InferenceServerClient(url) as connection:
        stats = connection.get_inference_statistics(as_json=True)["model_stats"]
    return {
        each["name"]: {name: int(spent.get("ns", 0)) for name, spent in each["inference_stats"].items()}
        for each in stats
    }


def _table_of_layers(layers: Sequence[Layers], peak: float) -> Table:
    """peak: seconds of one product at the peak."""
    table = Table("layers of iqa", "ms", "share, %", "of the products, %", "times the peak's time")
    whole, products = (sum(getattr(layer, name) for layer in layers) for name in ("seconds", "products"))
    for layer in layers:
        times = f"{layer.seconds / (layer.products * peak):.1f}" if layer.products else ""
        share, work = 100 * layer.seconds / whole, 100 * layer.products / products
        table.add_row(layer.kind, f"{1000 * layer.seconds:.1f}", f"{share:.1f}", f"{work:.1f}", times)
    return table


def _table_of_steps(steps: Sequence[Step]) -> Table:
    table = Table("model", "waiting, ms", "tensors, ms", "computing, ms")
    for step in sorted(steps, key=lambda step: -step.computing):
        table.add_row(step.model, *(f"{1000 * value:.2f}" for value in (step.queue, step.tensors, step.computing)))
    return table


if __name__ == "__main__":
    typer.run(main)
