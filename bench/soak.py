"""`python -m bench.soak REPOSITORY`: `qafm_fast` at full load for minutes, and then beside `qafm` at full load.

Our client asks, with several requests in flight, on the machine that serves. Measured are failed requests, how busy the
cores are, and the memory of the server and its processes: what they have to themselves, and their share of what they
have together. Then the throughput of `qafm_fast` alone and beside clients of `qafm`, in turns.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from bench.measure import Out, conclude, ratio
from bench.serving import draw
from client import ReidClient
from qafm.contract import QAFM, QAFM_FAST
from qafm.errors import QafmError
from server import TritonServer

EVERY_S = 5.0
"""Between two looks at the machine."""
IN_FLIGHT = 4
_TURN_S = 15.0


@dataclass
class Answers:
    answered: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Sample:
    """The machine at one time. busy: the share of all cores' time since the sample before. memory: bytes."""

    second: float
    answered: int
    failed: int
    busy: float
    memory: int


def main(
    repository: Annotated[Path, typer.Argument(help="A model repository with full-size networks.", exists=True)],
    minutes: Annotated[float, typer.Option(min=0.5, help="Of full load.")] = 15.0,
    rounds: Annotated[int, typer.Option(min=1, help="Alone and beside clients of qafm, in turns.")] = 3,
    config_name: Annotated[str | None, typer.Option(help="Serve this variant, such as openvino.")] = None,
    out: Out = Path("build/bench/soak.json"),
) -> None:
    """Load one look for minutes, and then with neighbours."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        files = [crop.path.read_bytes() for crop in draw(Path(folder) / "data", 64)]
    with TritonServer(repository, config_name=config_name) as server:
        samples = asyncio.run(_soak(server, files, 60 * minutes, console))
        turns = asyncio.run(_neighbours(server.grpc_url, files, rounds))
    table = verdict(samples)
    for name, value in table.items():
        console.print(f"{name}: {value:,.4g}", highlight=False)
    seconds = {name: [1 / each if each else float("inf") for each in rates] for name, rates in turns.items()}
    conclude(
        console,
        out,
        [ratio(seconds, "beside qafm", "alone", "at most 3")],
        ("tritonclient", "numpy"),
        config_name=config_name,
        soak=table,
        samples=[asdict(sample) for sample in samples],
        seconds_per_image=seconds,
    )
    if table["failed"]:
        raise typer.Exit(1)


def verdict(samples: Sequence[Sample]) -> dict[str, float]:
    """What a soak came to. growth: of memory, in MB an hour, by a line through the second half of the samples."""
    half = samples[len(samples) // 2 :]
    seconds, memory = (np.array([getattr(sample, name) for sample in half]) for name in ("second", "memory"))
    slope = float(np.polyfit(seconds, memory, 1)[0]) if len(half) > 1 else float("nan")
    last, first = samples[-1], samples[0]
    return {
        "minutes": (last.second - first.second) / 60,
        "requests": last.answered,
        "failed": last.failed,
        "images a second": (last.answered - first.answered) / (last.second - first.second),
        "busy": float(np.mean([sample.busy for sample in samples[1:]])),
        "memory, MB": last.memory / 1e6,
        "highest memory, MB": max(sample.memory for sample in samples) / 1e6,
        "growth, MB an hour": slope * 3600 / 1e6,
    }


async def _soak(server: TritonServer, files: Sequence[bytes], seconds: float, console: Console) -> list[Sample]:
    answers, samples, before = Answers(), list[Sample](), _cores()
    started = time.monotonic()
    async with ReidClient(server.grpc_url) as client:
        load = asyncio.create_task(_ask(client, QAFM_FAST, files, answers))
        await asyncio.sleep(EVERY_S)
        with Progress(console=console) as progress:
            task = progress.add_task("at full load", total=seconds)
            while (second := time.monotonic() - started) < seconds + EVERY_S and not load.done():
                now = _cores()
                busy = 1 - (now[0] - before[0]) / (now[1] - before[1])
                samples.append(Sample(second, answers.answered, answers.failed, busy, memory_of_all(server.pid)))
                before = now
                progress.update(task, completed=second)
                await asyncio.sleep(EVERY_S)
        await _end(load)
    return samples


async def _neighbours(url: str, files: Sequence[bytes], rounds: int) -> dict[str, list[float]]:
    """Images a second of `qafm_fast` in turns of a few seconds, alone and beside `qafm`."""
    rates: dict[str, list[float]] = {"alone": [], "beside qafm": []}
    async with ReidClient(url) as client, ReidClient(url) as other:
        for _ in range(rounds):
            for name, each in rates.items():
                answers, theirs = Answers(), Answers()
                neighbours = asyncio.create_task(_ask(other, QAFM, files, theirs)) if name != "alone" else None
                load = asyncio.create_task(_ask(client, QAFM_FAST, files, answers))
                await asyncio.sleep(_TURN_S / 3)
                first, started = answers.answered, time.monotonic()
                await asyncio.sleep(_TURN_S)
                each.append((answers.answered - first) / (time.monotonic() - started))
                await _end(load)
                if neighbours:
                    await _end(neighbours)
                    if theirs.failed or not theirs.answered:
                        raise QafmError(f"of the requests for {QAFM} {theirs.failed} failed, {theirs.answered} did not")
    return rates


async def _ask(client: ReidClient, ensemble: str, files: Sequence[bytes], answers: Answers) -> None:
    """Ask without an end."""
    asked = client.describe_many(itertools.cycle(files), ensemble=ensemble, concurrency=IN_FLIGHT, return_errors=True)
    async for _, result in asked:
        if isinstance(result, QafmError):
            answers.failed += 1
        else:
            answers.answered += 1


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _cores() -> tuple[float, float]:
    """The idle and the whole time of all cores since the machine started."""
    times = [float(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return times[3] + times[4], sum(times)


def memory_of_all(pid: int | None) -> int:
    """Of a process and its children, in bytes."""
    total, processes = 0, [str(pid)]
    while processes:
        process = processes.pop()
        with suppress(OSError):
            total += memory_share(process)
            for children in Path("/proc", process).glob("task/*/children"):
                processes += children.read_text().split()
    return total


def memory_share(pid: int | str) -> int:
    """Of one process, in bytes: of a page that several share, its part. Raises OSError where it is gone."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    typer.run(main)
