"""`python -m bench.gpu_check` (`make gpu-check`): everything that only a GPU can show, beside what the CPU gives.

    training    full-size networks on drawn people in mixed precision: four epochs of each stage on the GPU and one on
                the CPU; images a second, memory, and the losses of the first epoch
    graphs      the run exported in float32 and float16, and run by ONNX Runtime on the GPU, if it has one, as the
                server does without --config-name, and as TensorRT's plans, if it is there; each held against ONNX
                Runtime on the CPU: the gate of parity, and for float16 the gate of reduced precision
    serving     one image, and eight in a batch, through all of these in turns, by their 35 views and by one look

What the machine lacks is said and left out. Without a GPU it says so, and measures nothing.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import onnxruntime
import torch
import typer
from rich.console import Console
from rich.table import Table

from bench.fresh import draw_people, with_quality
from bench.measure import Out, interleave, machine
from bench.plan_pipeline import PlanPipeline
from export.fidelity import BOUNDS, measure_fidelity
from export.graphs import graph_modules, write_graph
from export.parity import TOLERANCES, measure_parity, sample_crops
from export.pipelines import OnnxPipeline, Pipeline
from export.reduced import write_float16
from export.repository import TEMPLATE
from export.samples import load_samples
from qafm.contract import QUALITY, graph_path, graphs_in
from qafm.errors import QafmError
from qafm.files import write_json
from server.plans import ensure_plans
from train.checkpoint import load_networks
from train.presets import load_preset, save_settings
from train.settings import STAGES, Settings

STEPS = 20
"""Batches of an epoch."""
GPU_EPOCHS = 4
"""The first is slow: kernels are chosen."""
HELD_OUT = 24
"""Pictures that the results are compared on: on the CPU each takes seconds."""
ROUNDS = 5
BATCHES = (1, 8)
PRECISIONS = ("fp32", "fp16")


def main(
    out: Out = Path("build/bench/gpu-check.json"),
    preset: Annotated[str, typer.Option(help="Settings whose networks are checked.")] = "synthetic",
) -> None:
    """Check and time on a GPU what else was only ever run on CPUs."""
    console = Console()
    if not torch.cuda.is_available():
        console.print("No GPU here: nothing was measured. On a machine with one this command would do the following.")
        console.print(__doc__.split("\n\n", 1)[1].rsplit("\n\n", 1)[0], highlight=False)
        return
    gpu = torch.cuda.get_device_name()
    # Not by its package, which has another name where it runs on GPUs.
    onnx = {"onnxruntime": onnxruntime.__version__}
    measured: dict[str, Any] = {"machine": machine(("torch", "torchvision")) | onnx, "gpu": gpu}
    out.parent.mkdir(parents=True, exist_ok=True)

    def keep(**part: Any) -> None:
        # What was measured until something fails is worth as much.
        measured.update(part)
        write_json(out, measured)

    try:
        with tempfile.TemporaryDirectory() as folder:
            check(Path(folder), load_preset(preset), console, keep)
    except QafmError as error:
        Console(stderr=True).print(f"[red]error:[/] {error}", soft_wrap=True)
        sys.exit(1)
    finally:
        console.print(f"{gpu}; written: {out}")
    if broken := [f"{name} of {form}" for form, values in measured["graphs"].items() for name in beyond(form, values)]:
        console.print(f"[red]beyond what the gates allow:[/] {', '.join(broken)}")
        sys.exit(1)


def check(folder: Path, settings: Settings, console: Console, keep: Callable[..., None]) -> None:
    """All of it, with its tables; `keep` gets each part once it is there. Raises QafmError."""
    data = draw_people(folder / "data", settings, STEPS)
    training = {}
    # Beside a GPU the cores have nothing else to do.
    for where, epochs, workers in (("GPU", GPU_EPOCHS, min(8, os.cpu_count() or 1)), ("CPU", 1, 1)):
        run = trained(short(settings, epochs, workers), data, folder / where, cpu=where == "CPU")
        training[where] = speeds(run)
        keep(training=training)
    console.print(training_table(training))
    for precision in PRECISIONS:
        _python("export", folder / "GPU", "--repository", folder / precision, "--precision", precision, "--data", data)
    add_one_look(folder)
    exact = OnnxPipeline(folder / "fp32")
    forms, missing = served_forms(folder, console)
    keep(missing=missing)
    graphs = compared(exact, forms, folder / "GPU", data)
    keep(graphs=graphs)
    console.print(graphs_table(graphs))
    seconds = {}
    for batch in BATCHES:
        variants = ways({"CPU fp32": exact, **forms}, sample_crops(batch))
        seconds[str(batch)] = interleave(variants, ROUNDS, console=console)
        keep(serving_seconds=seconds)
    console.print(serving_table(seconds))


def add_one_look(folder: Path) -> None:
    """The network `quality` beside the other graphs in each precision, to be timed and held against the CPU: after so
    short a training, or none, the export leaves it out."""
    one_look = graph_modules(with_quality(load_networks(folder / "GPU", quality=True)))[QUALITY]
    for precision in PRECISIONS:
        shutil.copytree(TEMPLATE / QUALITY, folder / precision / QUALITY, dirs_exist_ok=True)
    exact, half = (graph_path(folder / precision, QUALITY) for precision in PRECISIONS)
    write_graph(QUALITY, one_look, exact)
    write_float16(exact, half)


def served_forms(folder: Path, console: Console) -> tuple[dict[str, Pipeline], list[str]]:
    """The repositories `folder`/fp32 and /fp16 in each form that a GPU here can serve, by name; and what it cannot."""
    forms: dict[str, Pipeline] = {}
    missing = []
    makers: dict[str, Callable[[Path], Pipeline]] = {
        "ONNX Runtime": partial(_onnx, example=sample_crops(1)),
        "TensorRT": partial(_plans, console=console),
    }
    for name, make in makers.items():
        try:
            forms |= {f"{name} {precision}": make(folder / precision) for precision in PRECISIONS}
        except QafmError as error:
            missing.append(f"{name}: {error}")
            console.print(f"[yellow]left out:[/] {missing[-1]}", soft_wrap=True)
    return forms, missing


def _onnx(repository: Path, *, example: list[np.ndarray]) -> Pipeline:
    pipeline = OnnxPipeline(repository, gpu=True)
    pipeline.describe(example)  # what is missing is seen when a session begins
    return pipeline


def _plans(repository: Path, *, console: Console) -> Pipeline:
    tensorrt = _tensorrt()
    ensure_plans(repository, graphs_in(repository), tensorrt=tensorrt, report=console.print)
    return PlanPipeline(repository, tensorrt)


def _tensorrt() -> ModuleType:
    """TensorRT, or TensorRT-RTX, which the tests have. Raises QafmError where none of them is made for this GPU."""
    capability = "".join(map(str, torch.cuda.get_device_capability()))
    reasons = []
    for name in ("tensorrt", "tensorrt_rtx"):
        try:
            found = importlib.import_module(name)
        except (ImportError, OSError) as error:
            reasons.append(str(error))
            continue
        if name == "tensorrt" or hasattr(found.ComputeCapability, f"SM{capability}"):
            return found
        reasons.append(f"{name} {found.__version__} builds nothing for SM{capability}")
    raise QafmError("; ".join(reasons))


def short(settings: Settings, epochs: int, workers: int = 1) -> Settings:
    """The same training, so many epochs of each stage at full size."""
    length = {"epochs": epochs, "warmup_epochs": 1, "small_epochs": 0, "cosine_from": 0}
    stages = {name: getattr(settings, name).model_copy(update=length) for name in STAGES}
    stages["joint"] = stages["joint"].model_copy(update={"settling_epochs": 0, "frozen_epochs": 0, "q_crops": 24})
    fewer = {
        "lessons": settings.lessons.model_copy(update={"crops": 16, "copies": 2}),
        "quality": settings.quality.model_copy(update={"pictures": min(settings.quality.pictures, 32), "epochs": 1}),
    }
    common = {"weights": "none", "precision": "bfloat16", "check_every": 1, "workers": workers}
    return settings.model_copy(update=common | fewer | stages)


def trained(settings: Settings, data: Path, run: Path, *, cpu: bool) -> Path:
    """A run of the settings, by `python -m train` in a process of its own, which with `cpu` sees no GPU."""
    run.parent.mkdir(parents=True, exist_ok=True)
    preset = run.with_suffix(".yaml")
    save_settings(settings, preset)
    _python("train", "--preset", preset, "--data", data, "--out", run, hidden=cpu)
    return run


def _python(module: str, *arguments: object, hidden: bool = False) -> None:
    environment = os.environ | ({"CUDA_VISIBLE_DEVICES": ""} if hidden else {})
    command = [sys.executable, "-m", module, *map(str, arguments)]
    if code := subprocess.run(command, env=environment).returncode:
        raise QafmError(f"{' '.join(command)} ended with {code}; what it said stands above")


def speeds(run: Path) -> dict[str, dict[str, Any]]:
    """By stage: images a second in the fastest epoch, the mean of each loss in the first, and on a GPU the memory that
    tensors took."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found: dict[str, dict[str, Any]] = {}
    for stage in STAGES:
        steps = [record for record in records if record["stage"] == stage and "loss" in record]
        first = steps[:STEPS]
        losses = {name: float(np.mean([step["loss"][name] for step in first])) for name in first[0]["loss"]}
        memory = {"memory_gib": steps[-1]["memory_gib"]} if "memory_gib" in steps[-1] else {}
        found[stage] = {"images_per_s": max(step["images_per_s"] for step in steps), "losses": losses} | memory
    return found


def compared(exact: Pipeline, forms: Mapping[str, Pipeline], run: Path, data: Path) -> dict[str, dict[str, float]]:
    """How far each form is from float32 graphs in ONNX Runtime on the CPU: of each output, and of results on held-out
    people."""
    held_out = load_samples(run, data).held_out[:HELD_OUT]
    results = measure_fidelity(exact, forms, held_out)
    return {name: measure_parity(exact, form, sample_crops()) | results[name] for name, form in forms.items()}


def ways(forms: Mapping[str, Pipeline], crops: list[np.ndarray]) -> dict[str, Callable[[], None]]:
    """By name what describes the crops: each form by 35 views, and by one look where it has one."""
    found: dict[str, Callable[[], None]] = {}
    for form, pipeline in forms.items():
        found[form] = partial(_done, pipeline.describe, crops)
        if pipeline.has_quality:
            found[f"{form}, one look"] = partial(_done, pipeline.describe_fast, crops)
    return found


def _done(describe: Callable[[list[np.ndarray]], object], crops: list[np.ndarray]) -> None:
    # `interleave` takes what is returned for seconds.
    describe(crops)


def training_table(training: dict[str, dict[str, dict[str, Any]]]) -> Table:
    table = Table("stage", "GPU, images/s", "CPU", "ratio", "GPU memory, GiB", "losses of the first epoch: GPU", "CPU")
    for stage, gpu in training["GPU"].items():
        cpu = training["CPU"][stage]
        speed = [f"{each['images_per_s']:.1f}" for each in (gpu, cpu)]
        ratio, memory = f"{gpu['images_per_s'] / cpu['images_per_s']:.1f}", f"{gpu.get('memory_gib', np.nan):.1f}"
        losses = [each["losses"] if stage == STAGES[0] else {} for each in (gpu, cpu)]
        shown = [" ".join(f"{name} {value:.3f}" for name, value in each.items()) for each in losses]
        table.add_row(stage, *speed, ratio, memory, *shown)
    return table


def graphs_table(graphs: dict[str, dict[str, float]]) -> Table:
    """A value beyond what the gates of the export allow is marked."""
    table = Table("against float32 on the CPU", *graphs, "allowed")
    for name in next(iter(graphs.values()), {}):
        limit = str(BOUNDS[name]) if name in BOUNDS else f"{TOLERANCES[name].limit:g} in float32"
        values = (f"{each[name]:.3g}{' !' * (name in beyond(form, each))}" for form, each in graphs.items())
        table.add_row(name, *values, limit)
    return table


def serving_table(seconds: dict[str, dict[str, list[float]]]) -> Table:
    table = Table("milliseconds, median", *(f"{batch} at once" for batch in seconds))
    for form in next(iter(seconds.values())):
        table.add_row(form, *(f"{1000 * np.median(each[form]):.1f}" for each in seconds.values()))
    return table


def beyond(form: str, values: dict[str, float]) -> list[str]:
    """What the gates do not allow: results, and of float32 the differences of each output too."""
    broken = [name for name, bound in BOUNDS.items() if not bound.holds(values[name])]
    if form.endswith("fp32"):
        broken += [name for name in TOLERANCES if name in values and not values[name] <= TOLERANCES[name].limit]
    return broken


if __name__ == "__main__":
    typer.run(main)
