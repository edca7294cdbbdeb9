"""`python -m bench.torchreid_baseline`: what torchreid's own training makes of a dataset of ours, as a baseline.

torchreid's engine for triplets and softmax, or the one for softmax alone, trains on the CPU, from random weights, on
the identities that our trainer with the same seed trains on, as long as is asked; no file of the checkout is changed.
Two losses weigh 1 each. AMSGrad, the cosine schedule and batches of 64 are those of its configurations
`*_amsgrad_cosine`; all else is its default, but for erased rectangles beside the flips.

    study          the trunk of our preset `study`, on crops of the height that it works at
    osnet_x0_25    and every other name that torchreid knows

In --out: run.json (settings, machine), progress.jsonl (a line an epoch), checkpoint.pt (the same command goes on from
it), query.npz, gallery.npz, held_out.npz (`client score` reads them) and result.json.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from bench.measure import machine
from bench.torchreid_baseline.engine import Baseline, build_engine
from bench.torchreid_baseline.scoring import score
from bench.torchreid_checkout import import_torchreid
from qafm.errors import QafmError
from qafm.files import whole_file, write_json

SAVE_EVERY_S = 60
"""Of training, between two checkpoints."""

Transforms = Annotated[list[str], typer.Option(help="Of training, as torchreid names them; may be given many times.")]


def main(
    checkout: Annotated[Path, typer.Option(help="A checkout of torchreid.", file_okay=False, exists=True)],
    data: Annotated[Path, typer.Option(help="A dataset in Market-1501's layout.", file_okay=False, exists=True)],
    out: Annotated[Path, typer.Option(help="The folder of the result, where an interrupted run goes on.")],
    model: Annotated[str, typer.Option(help="study, or a name that torchreid knows.")] = Baseline.model,
    loss: Annotated[str, typer.Option(help="triplet (and softmax), or softmax.")] = Baseline.loss,
    lr: Annotated[float, typer.Option(help="The learning rate that the cosine begins at.")] = Baseline.lr,
    images: Annotated[int | None, typer.Option(help="Train on at least so many, in whole epochs.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Train for so long, to the nearest epoch.")] = None,
    batch: Annotated[int, typer.Option(help="Images of a batch.")] = Baseline.batch,
    seed: Annotated[int, typer.Option(help="As our trainer's: also chooses who is held out.")] = Baseline.seed,
    height: Annotated[int, typer.Option(help="Of the crops that are fed.")] = Baseline.height,
    width: Annotated[int, typer.Option(help="Of the crops that are fed.")] = Baseline.width,
    transforms: Transforms = list(Baseline.transforms),  # noqa: B006
    channels_last: Annotated[bool, typer.Option(help="A memory layout, often faster; not torchreid's own.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
) -> None:
    """Train a model with torchreid's engine, and score it as ours are."""
    try:
        baseline = Baseline(
            model, loss, lr, images, seconds, batch, seed, height, width, tuple(transforms), channels_last
        )
        torchreid = import_torchreid(checkout)
        # Absolute: a dataset lists absolute paths.
        data = data.resolve()
        engine, sides = build_engine(torchreid, data, baseline, workers)
    except QafmError as error:
        raise typer.BadParameter(str(error)) from error
    _open_run(out, {"data": data.name, **asdict(baseline), "transforms": list(transforms)}, engine)
    cpu_seconds = train(engine, out)
    result = {
        "images": engine.images,
        "epochs": engine.max_epoch,
        "train_seconds": engine.seconds,
        "cpu_seconds": cpu_seconds,
        **score(torchreid, engine, sides, data, out),
    }
    write_json(out / "result.json", result)
    typer.echo(json.dumps(result, indent=2))


def _open_run(out: Path, settings: dict[str, Any], engine: Any) -> None:
    """Note in `out` what is trained there. Raises typer.BadParameter where that was something else."""
    path = out / "run.json"
    if path.exists() and (before := json.loads(path.read_text())["settings"]) != settings:
        changed = ", ".join(name for name in settings if before.get(name) != settings[name])
        raise typer.BadParameter(
            f"{out} holds a run with other settings ({changed}): repeat its own (run.json) or give another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    content = {
        "settings": settings,
        "identities": engine.datamanager.num_train_pids,
        "parameters": sum(p.numel() for p in engine.model.parameters()),
        "threads": torch.get_num_threads(),
        "machine": machine(("torch", "torchvision")),
    }
    write_json(path, content)


def train(engine: Any, out: Path) -> float:
    """torchreid's epochs from the last checkpoint on, each logged.

    Returns CPU seconds of all epochs, without those of the processes that read images.
    """
    engine.epoch, cpu_seconds = load_checkpoint(engine, out)
    saved = time.perf_counter()
    while engine.epoch < engine.max_epoch:
        lr, cpu_start = engine.get_current_lr(), time.process_time()
        engine.train(print_freq=10**9)
        cpu_seconds += time.process_time() - cpu_start
        engine.epoch += 1
        line = {
            "epoch": engine.epoch,
            "of": engine.max_epoch,
            "images": engine.images,
            "lr": lr,
            "seconds": round(engine.seconds, 2),
            "cpu_seconds": round(cpu_seconds, 2),
            **{name: float(np.mean([step[name] for step in engine.steps])) for name in engine.steps[0]},
        }
        with (out / "progress.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if engine.epoch >= engine.max_epoch or time.perf_counter() - saved > SAVE_EVERY_S:
            save_checkpoint(engine, out, cpu_seconds)
            saved = time.perf_counter()
    return cpu_seconds


def save_checkpoint(engine: Any, out: Path, cpu_seconds: float) -> None:
    state = {
        "model": engine.model.state_dict(),
        "optimizer": engine.optimizer.state_dict(),
        "scheduler": engine.scheduler.state_dict(),
        "counts": {name: getattr(engine, name) for name in ("epoch", "max_epoch", "images", "seconds")},
        "cpu_seconds": cpu_seconds,
        "random": (random.getstate(), np.random.get_state(), torch.get_rng_state()),  # noqa: NPY002
    }
    with whole_file(out / "checkpoint.pt") as file:
        torch.save(state, file)


def load_checkpoint(engine: Any, out: Path) -> tuple[int, float]:
    """Put the engine where the checkpoint in `out` left it, if there is one. Returns epochs done and CPU seconds.

    What was logged of later epochs is dropped: they are trained again.
    """
    path, progress = out / "checkpoint.pt", out / "progress.jsonl"
    if not path.exists():
        progress.unlink(missing_ok=True)
        return 0, 0.0
    # Not by weights alone: the states of the random generators are Python objects. It is our own file.
    state = torch.load(path, weights_only=False)
    for name in ("model", "optimizer", "scheduler"):
        getattr(engine, name).load_state_dict(state[name])
    for name, value in state["counts"].items():
        setattr(engine, name, value)
    python, numpy, pytorch = state["random"]
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(pytorch)
    lines = progress.read_text().splitlines()
    progress.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["epoch"] <= engine.epoch))
    return engine.epoch, state["cpu_seconds"]


if __name__ == "__main__":
    typer.run(main)
