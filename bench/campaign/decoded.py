"""Broken pictures through the process that decodes: what each costs, and whether a good one after it is as ever."""

from __future__ import annotations

import hashlib
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from bench.campaign.mutation import good_pictures, mutated
from qafm.errors import InvalidImage
from qafm.images import decode
from qafm.serving.decoder import Decoder

CPU_S, MEMORY_BYTES = 1.0, 300e6
"""What one picture may cost."""
GOOD_EVERY = 20


@dataclass
class Costs:
    """What the pictures came to. Times in seconds on a processor, memory in bytes of the process.

    stopped: how many the kernel ended for their time. resident: of keeper and worker, after a quarter of the pictures
    and at their end. findings: pictures that cost too much, or changed a neighbour.
    """

    pictures: int = 0
    described: int = 0
    refused: int = 0
    stopped: int = 0
    neighbours: int = 0
    longest_s: float = 0.0
    highest_memory: int = 0
    resident: list[int] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def decode_broken(count: int, seed: int, findings: Path, console: Console) -> Costs:
    """So many broken pictures, those of a seed. findings: the folder in which a picture that is one is kept."""
    costs, good, decoder = Costs(), good_pictures(), Decoder()
    expected = {name: decode(data) for name, data in good.items()}
    neighbours = itertools.cycle(sorted(good))
    try:
        decoder.decode(good["jpeg"])  # it is started, and costs no picture anything
        for words, data in track(
            itertools.islice(mutated(seed), count), "broken pictures", total=count, console=console
        ):
            before, worker = cpu_s(decoder.keeper), decoder.worker
            try:
                decoder.decode(data)
                costs.described += 1
            except InvalidImage as error:
                costs.refused += 1
                costs.stopped += "s to decode" in str(error)
            took = cpu_s(decoder.keeper) - before
            costs.pictures += 1
            costs.longest_s = max(costs.longest_s, took)
            memory = memory_of(decoder.worker, "VmHWM") if decoder.worker == worker else 0
            costs.highest_memory = max(costs.highest_memory, memory)
            if took > CPU_S or memory > MEMORY_BYTES:
                costs.findings.append(keep(findings, data, f"{words}: {took:.2f} s, {memory / 1e6:.0f} MB"))
            if costs.pictures % GOOD_EVERY == 0:
                name = next(neighbours)
                costs.neighbours += 1
                if not np.array_equal(decoder.decode(good[name]), expected[name]):
                    costs.findings.append(keep(findings, data, f"{words}: {name} after it is another"))
            if costs.pictures in (count // 4, count):
                costs.resident.append(memory_of(decoder.keeper, "VmRSS") + memory_of(decoder.worker, "VmRSS"))
    finally:
        decoder.close()
    return costs


def keep(folder: Path, data: bytes, words: str) -> str:
    """Keep a picture by its hash; what is returned names it and says what it does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.bin"
    path.write_bytes(data)
    return f"{path.name}: {words}"


def cpu_s(keeper: int) -> float:
    """Of a process and its children, also of those that have ended, on a processor."""
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    ended = Path(f"/proc/{keeper}/stat").read_text().rpartition(")")[2].split()[13:15]
    running = [Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in (keeper, *children)]
    return sum(map(int, running)) / 1e9 + sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int, which: str) -> int:
    """Bytes, by the name of a line in /proc: VmRSS now, VmHWM the most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(which)).split()[1]) * 1024
