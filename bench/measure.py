"""Interleaved timing: what is compared takes turns, so that a noisy machine disturbs all alike."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track


@dataclass(frozen=True)
class Ratio:
    """How many times longer `slow` takes than `fast`: the median over rounds, and the lowest and highest of them."""

    slow: str
    fast: str
    median: float
    low: float
    high: float
    promised: str = ""

    def __str__(self) -> str:
        promised = f", promised {self.promised}" if self.promised else ""
        return f"{self.slow} / {self.fast}: {self.median:.3f} ({self.low:.3f} to {self.high:.3f}){promised}"


def interleave(
    variants: Mapping[str, Callable[[], float | None]], rounds: int, *, console: Console
) -> dict[str, list[float]]:
    """Seconds of each variant in each round: what it took, or what it returns. One round before is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in track(range(rounds + 1), "measuring", console=console):
        for name, run in variants.items():
            started = time.perf_counter()
            own = run()
            if number:
                seconds[name].append(time.perf_counter() - started if own is None else own)
    return seconds


def ratio(seconds: Mapping[str, list[float]], slow: str, fast: str, promised: str = "") -> Ratio:
    """The ratio of two variants, round by round."""
    each = np.array(seconds[slow]) / np.array(seconds[fast])
    return Ratio(slow, fast, float(np.median(each)), float(each.min()), float(each.max()), promised)


def describe_machine(packages: tuple[str, ...]) -> dict[str, Any]:
    """What a measurement was made on and with."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit.stdout.strip() or None,
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def conclude(console: Console, out: Path, machine: Mapping[str, Any], ratios: Iterable[Ratio], **measured: Any) -> None:
    """Say the ratios, and write everything to `out` as JSON."""
    listed = list(ratios)
    for one in listed:
        console.print(str(one), highlight=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine, **measured, "ratios": [asdict(one) for one in listed]}
    out.write_text(json.dumps(result, indent=2) + "\n")
    console.print(f"written: {out}")
