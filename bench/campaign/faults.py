"""Processes of a server killed and stopped at random moments, while it is evaluated."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from bench.campaign.command import Served, below, name_of
from bench.campaign.mutation import good_pictures
from client import ReidClient
from client.evaluate import evaluate_dataset
from client.report.report import Report
from qafm.errors import QafmError
from server.health import GONE, state_of

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


async def disturb(
    server: Served, data: Path, folder: Path, *, kills: int, stops: int, seed: int, console: Console
) -> Faults:
    """Evaluate a dataset again and again until so many processes were killed and stopped, each once it is served again.

    folder: for the reports.
    """
    generator, faults = random.Random(seed), Faults()
    expected = await evaluated(server.grpc_url, data, folder / "alone")
    over = asyncio.Event()
    evaluation = asyncio.create_task(_evaluate_until(over, server.grpc_url, data, folder, expected, faults))
    kinds = [KILLED] * kills + [STOPPED] * stops
    generator.shuffle(kinds)
    picture = good_pictures()["jpeg"]
    async with ReidClient(server.grpc_url, retry_s=_LONGEST_S) as client:
        with Progress(console=console) as progress:
            task = progress.add_task("killed and stopped", total=len(kinds))
            for kind in kinds:
                await asyncio.sleep(generator.uniform(0.2, 1.5))
                while not (struck := strike(server.pid, kind, generator)):
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
    return found + array_differences(alone, place)


def array_differences(alone: Path, place: Path) -> list[str]:
    """Where the numbers in the files of an evaluation are others than in those of another."""
    found = []
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


def strike(command: int, number: signal.Signals, generator: random.Random) -> str | None:
    """Send a signal to a random process below a command. Returns what it is called, None where there was none."""
    pids = sorted(below(command))
    if not pids:
        return None
    pid = generator.choice(pids)
    with suppress(OSError):
        name = name_of(pid)
        if state_of(pid) not in (*GONE, "T"):
            os.kill(pid, number)
            return name
    return None
