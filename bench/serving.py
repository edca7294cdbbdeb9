"""`python -m bench.serving`: what serving costs over the bare arithmetic, and beside other ways to the same result.

Full ResNet-50 in every network, crops of 64x128 pixels, all on the CPU, in turns:

    floor             decode, views, the served graphs in ONNX Runtime, Q and α, one after the other in one process
    served            the ensemble `qafm` on a real Triton, asked by perf_analyzer
    fixed α           the ensemble `qafm_fixed_alpha`, asked likewise
    client            the ensemble `qafm`, asked by our client library
    views by client   the same models, asked one by one by a client that makes the views itself
    paper             PyTorch as it comes: views in a plain loop, eager float32
    bfloat16          PyTorch at its best: our views, bfloat16 autocast, channels-last

and how the cost grows with the images in flight, in a request, and in size. Seconds are per image.
"""

from __future__ import annotations

import asyncio
import copy
import io
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.grpc.aio import InferenceServerClient as AsyncClient

from bench import views_loop
from bench.measure import conclude, describe_machine, interleave, ratio
from client import ReidClient
from client.load import find_perf_analyzer, load_test
from export.pipelines import OnnxPipeline, Pipeline, TorchPipeline
from export.precision import write_int8
from export.repository import install
from export.samples import calibration_inputs
from qafm.contract import IMAGE, MODELS, QAFM, QAFM_FIXED_ALPHA, graph_path
from qafm.datasets.market1501 import Crop, list_split
from qafm.errors import LoadTestFailed
from qafm.images import decode
from qafm.perturbations import views
from server import TritonServer
from synthetic import Recipe, make_dataset
from train.checkpoint import load_networks
from train.networks import Networks
from train.settings import load_preset

IN_FLIGHT = (1, 2, 3, 4, 8)
BATCHES = (1, 2, 4, 8)
SIZES = ((64, 128), (128, 256), (400, 1000))
REQUESTS = 16
"""In each of perf_analyzer's three measurements of a round, half of it where that takes long. The rounds say how far to
trust them; a measurement ends up to a request late, so few requests make a server seem slower than it is."""
CALIBRATION_CROPS = 4
"""Enough for speed, which is all that is measured here."""


class PaperPipeline(TorchPipeline):
    """As one writes it down from the paper."""

    make_views = staticmethod(views_loop.views)


class Bfloat16Pipeline(TorchPipeline):
    """What PyTorch itself offers for speed on a CPU."""

    def __init__(self, networks: Networks) -> None:
        super().__init__(copy.deepcopy(networks))
        for module in self.modules.values():
            module.to(memory_format=torch.channels_last)

    def run(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.autocast("cpu", torch.bfloat16):
            return super().run(model, inputs)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to take the median of.")] = 7,
    images: Annotated[int, typer.Option(min=8, help="Crops that each variant describes in a round.")] = 8,
    in_flight: Annotated[int, typer.Option(min=1, help="Requests in flight where throughput is measured.")] = 3,
    run: Annotated[Path | None, typer.Option(help="A run whose networks to take; untrained ones otherwise.")] = None,
    out: Annotated[Path, typer.Option(help="Where the result goes, as JSON.")] = Path("build/bench/serving.json"),
) -> None:
    """Time the served ensemble against its floor and its peers."""
    console = Console()
    try:
        perf_analyzer = find_perf_analyzer()
    except LoadTestFailed as error:
        Console(stderr=True).print(f"bench.serving: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        crops = _draw(folder / "data", images)
        files = [crop.path.read_bytes() for crop in crops]
        networks = load_networks(run) if run else _untrained()
        float32, int8 = folder / "float32", folder / "int8"
        with console.status("exporting"):
            install(networks, float32, {"run": str(run)})
            _quantise(float32, int8, crops)

        def served(
            url: str,
            *,
            sent: Sequence[bytes] = files,
            model: str = QAFM,
            concurrency: int = 1,
            requests: int = REQUESTS // 2,
        ) -> float:
            flight = (concurrency, concurrency, 1)
            (load,) = load_test(
                url, model, sent, concurrency=flight, requests=requests, stability=1000, perf_analyzer=perf_analyzer
            )
            return 1 / load.images_per_second

        with TritonServer(int8) as server, TritonServer(float32) as server32:
            url, url32, busy = server.grpc_url, server32.grpc_url, f"{in_flight} in flight"
            compared = {
                "floor, int8": partial(_in_process, OnnxPipeline(int8), files),
                "served, int8": partial(served, url, requests=REQUESTS),
                f"served, int8, {busy}": partial(served, url, concurrency=in_flight, requests=REQUESTS),
                f"client, int8, {busy}": lambda: asyncio.run(_by_library(url, files, in_flight)),
                f"views by client, int8, {busy}": lambda: asyncio.run(_model_by_model(url, files, in_flight)),
                f"fixed α, int8, {busy}": partial(
                    served, url, model=QAFM_FIXED_ALPHA, concurrency=in_flight, requests=REQUESTS
                ),
                "floor, float32": partial(_in_process, OnnxPipeline(float32), files),
                "served, float32": partial(served, url32),
                f"served, float32, {busy}": partial(served, url32, concurrency=in_flight),
                "paper, float32": partial(_in_process, PaperPipeline(networks), files[:2]),
                "PyTorch, bfloat16": partial(_in_process, Bfloat16Pipeline(networks), files[:4]),
            }
            growth = {
                **{f"{count} in flight": partial(served, url, concurrency=count) for count in IN_FLIGHT},
                **{f"{count} in a request": partial(_batched, url, files, count) for count in BATCHES},
                **{
                    f"{width}x{height}": partial(served, url, sent=_scaled(files, width, height))
                    for width, height in SIZES
                },
            }
            seconds = interleave(compared, rounds, console=console)
            grown = interleave(growth, min(rounds, 3), console=console)

    ratios = [
        ratio(seconds, "floor, int8", f"served, int8, {busy}", promised="at least 0.95"),
        ratio(seconds, "served, int8", "floor, int8", promised="at most 1.10"),
        ratio(seconds, "floor, float32", f"served, float32, {busy}"),
        ratio(seconds, "served, float32", "floor, float32"),
        ratio(seconds, "paper, float32", f"served, int8, {busy}", promised="at least 5"),
        ratio(seconds, "paper, float32", f"client, int8, {busy}"),
        ratio(seconds, f"served, float32, {busy}", f"served, int8, {busy}", promised="at least 3"),
        ratio(seconds, f"served, int8, {busy}", f"client, int8, {busy}", promised="at least 0.97"),
        ratio(seconds, f"fixed α, int8, {busy}", f"served, int8, {busy}", promised="at most 0.125"),
        ratio(seconds, f"views by client, int8, {busy}", f"served, int8, {busy}"),
        ratio(seconds, "PyTorch, bfloat16", f"served, int8, {busy}"),
    ]
    for title, found in (("one image, full ResNet-50", seconds), ("growth of: served, int8", grown)):
        table = Table(title, "median ms", "lowest", "highest")
        for variant, each in found.items():
            table.add_row(variant, *(f"{1000 * value:.0f}" for value in (np.median(each), min(each), max(each))))
        console.print(table)
    conclude(
        console,
        out,
        describe_machine(("torch", "onnxruntime", "tritonclient", "numpy", "pillow")),
        ratios,
        networks=str(run) if run else "untrained",
        rounds=rounds,
        images=images,
        seconds_per_image=seconds,
        growth=grown,
    )


def _draw(folder: Path, count: int) -> list[Crop]:
    make_dataset(Recipe(train_identities=2, test_identities=count, distractors=0, junk=0), folder)
    return list_split(folder, "query")[:count]


def _untrained() -> Networks:
    torch.manual_seed(0)
    networks = Networks.untrained(load_preset("synthetic").network)
    for module in (module for network in vars(networks).values() for module in network.modules()):
        # Untrained, a block of a trunk is the identity.
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    return networks


def _quantise(float32: Path, int8: Path, crops: Sequence[Crop]) -> None:
    """A copy of a repository with its networks in int8, calibrated well enough for speed, and not judged."""
    shutil.copytree(float32, int8)
    for model in ("apn", "apan", "iqa"):
        inputs = calibration_inputs(model, crops[:CALIBRATION_CROPS])
        write_int8(graph_path(float32, model), {"onnxruntime": graph_path(int8, model)}, inputs)


def _in_process(pipeline: Pipeline, files: Sequence[bytes]) -> float:
    started = time.perf_counter()
    for data in files:
        pipeline.describe([decode(data)])
    return (time.perf_counter() - started) / len(files)


async def _by_library(url: str, files: Sequence[bytes], in_flight: int) -> float:
    async with ReidClient(url) as client:
        started = time.perf_counter()
        async for _ in client.describe_many(files, concurrency=in_flight):
            pass
        return (time.perf_counter() - started) / len(files)


async def _model_by_model(url: str, files: Sequence[bytes], in_flight: int) -> float:
    """The ensemble's steps asked one by one, with the views made here."""
    connection = AsyncClient(url, channel_args=[("grpc.max_send_message_length", -1)])
    turns = asyncio.Semaphore(in_flight)

    async def ask(model: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        inputs = []
        for tensor in MODELS[model].inputs:
            sent = InferInput(tensor.name, [1, *tensor.dims], tensor.wire_dtype)
            sent.set_data_from_numpy(tensors[tensor.name])
            inputs.append(sent)
        answer = await connection.infer(model, inputs)
        return {tensor.name: answer.as_numpy(tensor.name) for tensor in MODELS[model].outputs}

    async def describe(data: bytes) -> None:
        async with turns:
            seen = await asyncio.to_thread(lambda: views(decode(data))[np.newaxis])
            crop = {"CROP": np.ascontiguousarray(seen[:, 0])}
            found = await asyncio.gather(ask("apn", crop), ask("apan", crop), ask("iqa", {"VIEWS": seen}))
            tensors = {name: values for outputs in found for name, values in outputs.items()}
            await ask("fusion", tensors | await ask("alpha", tensors))

    started = time.perf_counter()
    await asyncio.gather(*(describe(data) for data in files))
    seconds = (time.perf_counter() - started) / len(files)
    await connection.close()
    return seconds


def _batched(url: str, files: Sequence[bytes], size: int) -> float:
    """Several images in each request, one request after the other."""
    with InferenceServerClient(url) as connection:
        started = time.perf_counter()
        for first in range(0, len(files) - size + 1, size):
            images = np.array(files[first : first + size], dtype=object)[:, np.newaxis]
            sent = InferInput(IMAGE.name, list(images.shape), IMAGE.wire_dtype)
            sent.set_data_from_numpy(images)
            connection.infer(QAFM, [sent])
        return (time.perf_counter() - started) / (len(files) // size * size)


def _scaled(files: Sequence[bytes], width: int, height: int) -> list[bytes]:
    scaled = []
    for data in files:
        encoded = io.BytesIO()
        Image.fromarray(decode(data)).resize((width, height)).save(encoded, "JPEG", quality=90)
        scaled.append(encoded.getvalue())
    return scaled


if __name__ == "__main__":
    typer.run(main)
