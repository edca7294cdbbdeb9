"""`python -m bench.gpu_check` (`make gpu-check`): everything that only a GPU can show, beside what the CPU gives.

    training    full-size networks on drawn people in mixed precision: four epochs of each stage on the GPU and one on
                the CPU; images a second, and the losses of the first epoch
    plans       the run exported in float32 and float16, a TensorRT plan of each graph, held against ONNX Runtime on the
                CPU: the gate of parity, and for float16 the gate of reduced precision
    serving     one image through the float16 plans and through ONNX Runtime, in turns

Without a GPU it says so, and measures nothing.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from bench.fresh import draw_people
from bench.measure import Out, interleave, machine
from bench.plan_pipeline import PlanPipeline
from export.fidelity import BOUNDS, measure_fidelity
from export.parity import TOLERANCES, measure_parity, sample_crops
from export.pipelines import OnnxPipeline, Pipeline
from export.samples import load_samples
from qafm.contract import GRAPHS
from qafm.errors import QafmError
from qafm.files import write_json
from server.plans import ensure_plans
from train.presets import load_preset, save_settings
from train.settings import STAGES, Settings

STEPS = 20
"""Batches of an epoch."""
GPU_EPOCHS = 4
"""The first is slow: kernels are chosen."""
HELD_OUT = 24
"""Pictures that the results are compared on: on the CPU each takes seconds."""
ROUNDS = 5
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
    measured: dict[str, Any] = {"machine": machine(("torch", "torchvision")), "gpu": gpu}
    try:
        with tempfile.TemporaryDirectory() as folder:
            check(Path(folder), load_preset(preset), console, measured)
    except QafmError as error:
        Console(stderr=True).print(f"[red]error:[/] {error}", soft_wrap=True)
        sys.exit(1)
    finally:
        # What was measured until something failed is worth as much.
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, measured)
        console.print(f"{gpu}; written: {out}")
    if broken := [name for precision in PRECISIONS for name in beyond(precision, measured["plans"][precision])]:
        console.print(f"[red]beyond what the gates allow:[/] {', '.join(broken)}")
        sys.exit(1)


def check(folder: Path, settings: Settings, console: Console, measured: dict[str, Any]) -> None:
    """All of it, with its tables; `measured` gets each part once it is there. Raises QafmError."""
    tensorrt = _tensorrt()
    measured["tensorrt"] = tensorrt.__version__
    data = draw_people(folder / "data", settings, STEPS)
    runs = {
        where: trained(short(settings, epochs), data, folder / where, cpu=where == "CPU")
        for where, epochs in (("GPU", GPU_EPOCHS), ("CPU", 1))
    }
    measured["training"] = {where: speeds(run) for where, run in runs.items()}
    console.print(training_table(measured["training"]))
    for precision in PRECISIONS:
        repository = folder / precision
        _python("export", runs["GPU"], "--repository", repository, "--precision", precision, "--data", data)
        ensure_plans(repository, GRAPHS, tensorrt=tensorrt, report=console.print)
    exact = OnnxPipeline(folder / "fp32")
    plans = {precision: PlanPipeline(folder / precision, tensorrt) for precision in PRECISIONS}
    measured["plans"] = compared(exact, plans, runs["GPU"], data)
    console.print(plans_table(measured["plans"]))
    crops = sample_crops(1)
    variants = {"GPU": partial(_describe, plans["fp16"], crops), "CPU": partial(_describe, exact, crops)}
    measured["serving_seconds"] = interleave(variants, ROUNDS, console=console)
    for where, each in measured["serving_seconds"].items():
        console.print(f"{where}: {1000 * np.median(each):.1f} ms an image")


def short(settings: Settings, epochs: int) -> Settings:
    """The same training, so many epochs of each stage at full size."""
    length = {"epochs": epochs, "warmup_epochs": 1, "small_epochs": 0, "cosine_from": 0}
    stages = {name: getattr(settings, name).model_copy(update=length) for name in STAGES}
    stages["joint"] = stages["joint"].model_copy(update={"settling_epochs": 0, "frozen_epochs": 0, "q_crops": 24})
    return settings.model_copy(update={"weights": "none", "precision": "bfloat16", "check_every": 1, **stages})


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
    """By stage: images a second in the fastest epoch, and the mean of each loss in the first."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found: dict[str, dict[str, Any]] = {}
    for stage in STAGES:
        steps = [record for record in records if record["stage"] == stage and "loss" in record]
        first = steps[:STEPS]
        losses = {name: float(np.mean([step["loss"][name] for step in first])) for name in first[0]["loss"]}
        found[stage] = {"images_per_s": max(step["images_per_s"] for step in steps), "losses": losses}
    return found


def compared(exact: Pipeline, plans: Mapping[str, Pipeline], run: Path, data: Path) -> dict[str, dict[str, float]]:
    """How far the plans of each precision are from float32 graphs in ONNX Runtime: of each output, and of results on
    held-out people."""
    held_out = load_samples(run, data).held_out[:HELD_OUT]
    results = measure_fidelity(exact, plans, held_out)
    return {name: measure_parity(exact, plan, sample_crops()) | results[name] for name, plan in plans.items()}


def _describe(pipeline: Pipeline, crops: list[np.ndarray]) -> None:
    pipeline.describe(crops)


def training_table(training: dict[str, dict[str, dict[str, Any]]]) -> Table:
    table = Table("stage", "GPU, images/s", "CPU, images/s", "ratio", "losses of the first epoch, GPU", "CPU")
    for stage, gpu in training["GPU"].items():
        cpu = training["CPU"][stage]
        ratio = gpu["images_per_s"] / cpu["images_per_s"]
        shown = [" ".join(f"{name} {value:.3f}" for name, value in each["losses"].items()) for each in (gpu, cpu)]
        table.add_row(stage, f"{gpu['images_per_s']:.0f}", f"{cpu['images_per_s']:.2f}", f"{ratio:.0f}", *shown)
    return table


def plans_table(plans: dict[str, dict[str, float]]) -> Table:
    """A value beyond what the gates of the export allow is marked."""
    table = Table("TensorRT's plans against float32 on the CPU", *plans, "allowed")
    for name in plans[PRECISIONS[0]]:
        limit = str(BOUNDS[name]) if name in BOUNDS else f"{TOLERANCES[name].limit:g} in float32"
        values = (f"{each[name]:.3g}{' !' * (name in beyond(precision, each))}" for precision, each in plans.items())
        table.add_row(name, *values, limit)
    return table


def beyond(precision: str, values: dict[str, float]) -> list[str]:
    """What the gates do not allow: results, and of float32 the differences of each output too."""
    broken = [name for name, bound in BOUNDS.items() if not bound.holds(values[name])]
    if precision == "fp32":
        broken += [name for name, tolerance in TOLERANCES.items() if not values[name] <= tolerance.limit]
    return broken


def _tensorrt() -> ModuleType:
    """TensorRT, or TensorRT-RTX, which the tests have."""
    for name in ("tensorrt", "tensorrt_rtx"):
        try:
            return importlib.import_module(name)
        except (ImportError, OSError):
            continue
    raise QafmError("neither tensorrt nor tensorrt_rtx can be imported; `make setup` installs the latter")


if __name__ == "__main__":
    typer.run(main)
