"""`python -m bench.serving`: what serving costs over the bare arithmetic, and beside other ways to the same result.

Full ResNet-50 in every network, crops of 64x128 pixels, all on the CPU, in turns:

    floor             decode, views, the served graphs in ONNX Runtime, Q and α, one after the other in one process
    served            the ensemble `qafm` on a real Triton, asked by perf_analyzer
    fast              the ensemble `qafm_fast`, asked likewise
    fixed α           the ensemble `qafm_fixed_alpha`, asked likewise
    OpenVINO          these three in int8 by the variant for OpenVINO, where that is installed
    client            the ensemble `qafm`, asked by our client library
    views by client   the same models, asked one by one by a client that makes the views itself
    paper             PyTorch as it comes: views in a plain loop, eager float32
    bfloat16          PyTorch at its best: our views, bfloat16 autocast, channels-last

and how the cost grows with the images in flight, in a request, and in size. Seconds are per image.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.grpc.aio import InferenceServerClient as AsyncClient

from bench.fresh import promise_nothing, untaught_utility, untrained_networks, with_quality
from bench.measure import ROUNDS, Out, Rounds, conclude, interleave, ratio, show
from bench.peers import Bfloat16Pipeline, PaperPipeline
from client import ReidClient
from client.load import find_perf_analyzer, load_test
from export.pipelines import OnnxPipeline, Pipeline
from export.reduced import write_int8
from export.repository import install
from export.samples import calibration_inputs
from export.variants import OPENVINO
from qafm.contract import CROP, IMAGE, MODELS, QAFM, QAFM_FAST, QAFM_FIXED_ALPHA, QUALITY, VIEWS, graph_path
from qafm.datasets.crops import Crop
from qafm.datasets.market1501 import list_split
from qafm.errors import LoadTestFailed
from qafm.images import decode
from qafm.perturbations import views
from server import TritonServer
from synthetic import Recipe, make_dataset
from train.checkpoint import load_networks

IN_FLIGHT = (1, 2, 3, 4, 8)
BATCHES = (1, 2, 4, 8)
SIZES = ((64, 128), (128, 256), (400, 1000))
REQUESTS = 16
"""In each of perf_analyzer's three measurements of a round, half of it where that takes long. The rounds say how far to
trust them; a measurement ends up to a request late, so few requests make a server seem slower than it is."""
CALIBRATION_CROPS = 4
"""Enough for speed, which is all that is measured here."""


def main(
    rounds: Rounds = ROUNDS,
    images: Annotated[int, typer.Option(min=8, help="Crops that each variant describes in a round.")] = 8,
    in_flight: Annotated[int, typer.Option(min=1, help="Requests in flight where throughput is measured.")] = 3,
    run: Annotated[Path | None, typer.Option(help="A run whose networks to take; untrained ones otherwise.")] = None,
    growth: Annotated[bool, typer.Option(help="Also how the cost grows; minutes a round.")] = True,
    out: Out = Path("build/bench/serving.json"),
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
        crops = draw(folder / "data", images)
        files = [crop.path.read_bytes() for crop in crops]
        networks = with_quality(load_networks(run, quality=True) if run else untrained_networks())
        float32, int8 = folder / "float32", folder / "int8"
        with console.status("exporting"):
            manifest = install(networks, float32, {"run": str(run)}, utility=untaught_utility())
            _quantise(float32, int8, crops)
        judged = manifest.content["openvino"]
        with_openvino = [(int8, OPENVINO)] if judged and judged["installed"] else []
        with ExitStack() as stack:
            served, served32, *by_openvino = (
                Served(stack.enter_context(TritonServer(models, config_name=variant)).grpc_url, files, perf_analyzer)
                for models, variant in ((int8, None), (float32, None), *with_openvino)
            )
            in_process = {
                "floor, int8": partial(_in_process, OnnxPipeline(int8), files),
                "floor, float32": partial(_in_process, OnnxPipeline(float32), files),
                "paper, float32": partial(_in_process, PaperPipeline(networks), files[:2]),
                "PyTorch, bfloat16": partial(_in_process, Bfloat16Pipeline(networks), files[:4]),
            }
            compared = in_process | _compared(served, served32, in_flight)
            for openvino in by_openvino:
                compared |= _ensembles(openvino, f"OpenVINO, {in_flight} in flight", in_flight)
            seconds = interleave(compared, rounds, console=console)
            grown = interleave(_growth(served), min(rounds, 3), console=console) if growth else {}
    show(console, "one image, full ResNet-50", seconds)
    if growth:
        show(console, "growth of: served, int8", grown)
    conclude(
        console,
        out,
        [ratio(seconds, *names) for names in _ratios(f"{in_flight} in flight") if names[1] in seconds],
        ("torch", "onnxruntime", "tritonclient", "numpy", "pillow"),
        networks=str(run) if run else "untrained",
        rounds=rounds,
        images=images,
        seconds_per_image=seconds,
        growth=grown,
    )


@dataclass(frozen=True)
class Served:
    """An ensemble on a server. A call measures it with perf_analyzer and returns the seconds of one image."""

    url: str
    files: Sequence[bytes]
    perf_analyzer: str

    def __call__(
        self,
        *,
        sent: Sequence[bytes] | None = None,
        model: str = QAFM,
        concurrency: int = 1,
        requests: int = REQUESTS // 2,
    ) -> float:
        (load,) = load_test(
            self.url,
            model,
            sent or self.files,
            concurrency=(concurrency, concurrency, 1),
            requests=requests,
            stability=1000,
            perf_analyzer=self.perf_analyzer,
        )
        return 1 / load.images_per_second


def _compared(served: Served, served32: Served, in_flight: int) -> dict[str, Callable[[], float]]:
    """What is asked of the two servers, in int8 and in float32."""
    url, files, busy = served.url, served.files, f"{in_flight} in flight"
    return {
        "served, int8": partial(served, requests=REQUESTS),
        **_ensembles(served, f"int8, {busy}", in_flight),
        f"client, int8, {busy}": lambda: asyncio.run(_by_library(url, files, in_flight)),
        f"views by client, int8, {busy}": lambda: asyncio.run(_model_by_model(url, files, in_flight)),
        "served, float32": served32,
        f"served, float32, {busy}": partial(served32, concurrency=in_flight),
    }


def _ensembles(served: Served, how: str, in_flight: int) -> dict[str, Callable[[], float]]:
    """Each ensemble of a server."""
    asked = (("served", QAFM, 1), ("fast", QAFM_FAST, 8), ("fixed α", QAFM_FIXED_ALPHA, 8))
    return {
        f"{name}, {how}": partial(served, model=model, concurrency=in_flight, requests=times * REQUESTS)
        for name, model, times in asked
    }


def _growth(served: Served) -> dict[str, Callable[[], float]]:
    return {
        **{f"{count} in flight": partial(served, concurrency=count) for count in IN_FLIGHT},
        **{f"{count} in a request": partial(_batched, served.url, served.files, count) for count in BATCHES},
        **{f"{width}x{height}": partial(served, sent=_scaled(served.files, width, height)) for width, height in SIZES},
    }


def _ratios(busy: str) -> list[tuple[str, str, str]]:
    """(slow, fast, promised)"""
    return [
        ("floor, int8", f"served, int8, {busy}", "at least 1"),
        ("served, int8", "floor, int8", "at most 1.03"),
        ("floor, float32", f"served, float32, {busy}", ""),
        ("served, float32", "floor, float32", ""),
        ("paper, float32", f"served, int8, {busy}", "at least 7"),
        ("paper, float32", f"served, OpenVINO, {busy}", "at least 7"),
        ("paper, float32", f"client, int8, {busy}", ""),
        (f"served, float32, {busy}", f"served, int8, {busy}", "at least 3"),
        (f"served, int8, {busy}", f"client, int8, {busy}", "at least 0.97"),
        (f"fixed α, int8, {busy}", f"served, int8, {busy}", "at most 0.125"),
        (f"fast, int8, {busy}", f"fixed α, int8, {busy}", "at most 1.25"),
        ("paper, float32", f"fast, int8, {busy}", "at least 50"),
        (f"fast, OpenVINO, {busy}", f"fixed α, OpenVINO, {busy}", "at most 1.25"),
        ("paper, float32", f"fast, OpenVINO, {busy}", "at least 50"),
        (f"views by client, int8, {busy}", f"served, int8, {busy}", ""),
        ("PyTorch, bfloat16", f"served, int8, {busy}", ""),
    ]


def draw(folder: Path, count: int) -> list[Crop]:
    """So many crops of 64x128 pixels, of drawn people, in a new folder."""
    make_dataset(Recipe(train_identities=2, test_identities=count, distractors=0, junk=0), folder)
    return list_split(folder, "query")[:count]


def _quantise(float32: Path, int8: Path, crops: Sequence[Crop]) -> None:
    """A copy of a repository with its networks in int8, calibrated well enough for speed, and not judged."""
    shutil.copytree(float32, int8)
    for model in ("apn", "apan", "iqa", QUALITY):
        inputs = calibration_inputs(model, crops[:CALIBRATION_CROPS])
        write_int8(graph_path(float32, model), {"onnxruntime": graph_path(int8, model)}, inputs)
    promise_nothing(int8)


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
    """The steps of the ensemble are asked one by one, and the views are made here."""
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
            crop = {CROP.name: np.ascontiguousarray(seen[:, 0])}
            answers = await asyncio.gather(ask("apn", crop), ask("apan", crop), ask("iqa", {VIEWS.name: seen}))
            tensors = {name: values for outputs in answers for name, values in outputs.items()}
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
