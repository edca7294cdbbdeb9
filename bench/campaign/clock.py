"""An evaluation during which the clock of server and client jumps: the one of the calendar, as where somebody sets it.

clock.c says how. (libfaketime makes `time.sleep` of Python 3.11 fail.)
"""

from __future__ import annotations

import asyncio
import random
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bench.campaign.command import served
from bench.campaign.faults import array_differences, evaluated

_HOUR, _DAY = 3600, 86_400
_JUMPS = (0, _HOUR, -_HOUR, _DAY, -30 * _DAY, 400 * _DAY, -9000 * _DAY)
"""Seconds to what is the time."""
_EVERY_S = 0.3
_CLOCK = "clock"


@dataclass
class Jumped:
    """jumps: how many there were. differences: of the evaluation to one on a clock that goes on, in words."""

    jumps: int = 0
    differences: list[str] = field(default_factory=list)


def has_compiler() -> bool:
    return shutil.which("cc") is not None


async def evaluate_meanwhile(repository: Path, data: Path, folder: Path, evaluations: int, seed: int) -> Jumped:
    """Evaluate a dataset so many times while the clock jumps, and once before, on one that goes on."""
    found, generator = Jumped(), random.Random(seed)
    before = ("env", *(f"{name}={value}" for name, value in moved_clock(folder).items()))
    with served(repository, folder / "clock.log", before) as server:
        await evaluated(server.grpc_url, data, folder / "alone")
        jumping = asyncio.create_task(_jump(folder, generator, found))
        for number in range(evaluations):
            place = folder / f"jumped-{number}"
            command = ("-m", "client", "eval", "--data", data, "--url", server.grpc_url, "--report", place)
            client = await asyncio.create_subprocess_exec(
                *map(str, (*before, sys.executable, *command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            _, errors = await client.communicate()
            if client.returncode:
                found.differences.append(f"ends with {client.returncode}: {errors.decode(errors='replace')[-500:]}")
            else:
                found.differences += array_differences(folder / "alone", place)
        jumping.cancel()
    return found


def moved_clock(folder: Path) -> dict[str, str]:
    """The environment of a process whose clock `move` moves. folder: for what that takes."""
    library, clock = folder / "clock.so", folder / _CLOCK
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl", "-pthread"], check=True)
    clock.write_bytes(struct.pack("=q", 0))
    return {"LD_PRELOAD": str(library), "QAFM_CLOCK": str(clock)}


def move(folder: Path, seconds: int) -> None:
    """So far from what is the time, in the processes of a folder."""
    with (folder / _CLOCK).open("r+b", buffering=0) as file:
        file.write(struct.pack("=q", seconds))


async def _jump(folder: Path, generator: random.Random, found: Jumped) -> None:
    while True:
        await asyncio.sleep(_EVERY_S)
        move(folder, generator.choice(_JUMPS))
        found.jumps += 1
