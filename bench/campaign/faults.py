"""Processes of a server killed and stopped at random moments, while it is evaluated."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from bench.campaign.mutation import good_pictures
from client import ReidClient
from client.evaluate import evaluate_dataset
from client.report.report import Report
from qafm.errors import QafmError
from server.health import GONE, children_of, state_of

KILLED, STOPPED = signal.SIGKILL, signal.SIGSTOP
_LONGEST_S = 60.0
_NOTICED_S = 1.0
"""A request at once might be answered by what is about to be ended."""


@dataclass
class Faults:
    """What was done to a server, and what came of it.

    done: how often, by signal and process. away_s: after each, until a request was answered that came a second after
    it. reports: evaluations that ended meanwhile. lost: what was told of requests that failed. differences: between
    reports, or of descriptors, to those of a server that was left alone.
    """

    done: Counter[str] = field(default_factory=Counter)
    away_s: list[float] = field(default_factory=list)
    reports: int = 0
    lost: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


@contextmanager
def served(repository: Path, log: Path) -> Iterator[tuple[int, str]]:
    """`python -m server` as people start it: its process id, and its gRPC endpoint. log: what it says of restarts."""
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "--repository", str(repository), *ports],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            ready = re.search(r"gRPC (\S+),", process.stdout.readline())
            if ready is None:
                raise QafmError(f"the server did not start: {log.read_text()}")
            yield process.pid, ready[1]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def tritonserver_of(command: int) -> int:
    """Process id of the Triton server below the command that keeps it."""
    return next(pid for pid in _below(command) if _name(pid) == "tritonserver")


async def disturb(
    server: int, url: str, data: Path, folder: Path, *, kills: int, stops: int, seed: int, console: Console
) -> Faults:
    """Evaluate a dataset again and again until so many processes were killed and stopped, each once it is served again.

    server: process id of the command, which is left alone. folder: for the reports.
    """
    generator, faults = random.Random(seed), Faults()
    expected = await evaluated(url, data, folder / "alone")
    over = asyncio.Event()
    evaluation = asyncio.create_task(_evaluate_until(over, url, data, folder, expected, faults))
    kinds = [KILLED] * kills + [STOPPED] * stops
    generator.shuffle(kinds)
    picture = good_pictures()["jpeg"]
    async with ReidClient(url, retry_s=_LONGEST_S) as client:
        with Progress(console=console) as progress:
            task = progress.add_task("killed and stopped", total=len(kinds))
            for kind in kinds:
                await asyncio.sleep(generator.uniform(0.2, 1.5))
                while not (struck := _strike(server, kind, generator)):
                    await asyncio.sleep(0.1)
                faults.done[f"{kind.name} {struck}"] += 1
                started = time.monotonic()
                await asyncio.sleep(_NOTICED_S)
                try:
                    await client.describe(picture)
                except QafmError as error:
                    faults.lost.append(str(error))
                faults.away_s.append(time.monotonic() - started)
                progress.advance(task)
    over.set()
    await evaluation
    return faults


async def _evaluate_until(
    over: asyncio.Event, url: str, data: Path, folder: Path, expected: Report, faults: Faults
) -> None:
    """One evaluation after the other, the last to its end."""
    while not over.is_set():
        place = folder / f"disturbed-{faults.reports}"
        try:
            report = await evaluated(url, data, place)
        except QafmError as error:
            faults.lost.append(str(error))
            continue
        faults.reports += 1
        faults.lost += [f"{image.path}: {image.reason}" for image in report.failed_images]
        faults.differences += differences(expected, report, folder / "alone", place)


def differences(expected: Report, report: Report, alone: Path, place: Path) -> list[str]:
    """Where an evaluation differs from one that nothing came between, in its metrics or in any number of its files."""
    found = []
    if report.metrics.summary() != expected.metrics.summary():
        found.append(f"{place}: {report.metrics.summary()}, expected {expected.metrics.summary()}")
    for name in ("query.npz", "gallery.npz"):
        with np.load(alone / name) as before, np.load(place / name) as now:
            found += [
                f"{place / name}: {array} differs"
                for array in before.files
                if not np.array_equal(before[array], now[array])
            ]
    return found


async def evaluated(url: str, data: Path, folder: Path) -> Report:
    """The report of a server, with a client that waits for it."""
    async with ReidClient(url, connect_timeout_s=_LONGEST_S, retry_s=_LONGEST_S) as client:
        return await evaluate_dataset(client, data, folder)


def _strike(server: int, number: signal.Signals, generator: random.Random) -> str | None:
    """Send a signal to a random process below a server. Returns what it is called, None where there was none."""
    below = sorted(_below(server))
    if not below:
        return None
    pid = generator.choice(below)
    with suppress(OSError):
        name = _name(pid)
        if state_of(pid) not in (*GONE, "T"):
            os.kill(pid, number)
            return name
    return None


def _below(pid: int) -> Iterator[int]:
    for child in children_of(pid):
        yield child
        yield from _below(child)


def _name(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    model = next((word for word in words if re.fullmatch(r"\w+_\d+_\d+", word)), None)
    known = ("qafm.serving.decoding_process", "supervisor.py", "tritonserver")
    return model or next((part for part in known for word in words if word.endswith(part)), Path(words[0]).name)
