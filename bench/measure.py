"""Interleaved timing: what is compared takes turns, so that a noisy machine disturbs all alike."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from qafm.files import write_json

Rounds = Annotated[int, typer.Option(min=1, help="Rounds to take the median of.")]
Out = Annotated[Path, typer.Option(help="Where the result goes, as JSON.")]
ROUNDS = 7


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


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """The machine that a measurement was made on, and the versions it was made with."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": _commit(),
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def _commit() -> str | None:
    try:
        described = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    except OSError:
        return None
    return described.stdout.strip() or None


def show(console: Console, title: str, seconds: Mapping[str, list[float]]) -> None:
    """A table of the median and the range of each variant, in milliseconds."""
    table = Table(title, "median ms", "lowest", "highest")
    for name, each in seconds.items():
        table.add_row(name, *(f"{1000 * value:,.1f}" for value in (np.median(each), min(each), max(each))))
    console.print(table)


def conclude(console: Console, out: Path, ratios: Iterable[Ratio], packages: Iterable[str], **measured: Any) -> None:
    """Print the ratios, and write everything to `out` as JSON, with the machine that it was measured on."""
    listed = list(ratios)
    for each in listed:
        console.print(str(each), highlight=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, {"machine": machine(packages), **measured, "ratios": [asdict(each) for each in listed]})
    console.print(f"written: {out}")


def compare(
    variants: Mapping[str, Callable[[], float | None]],
    rounds: int,
    *,
    title: str,
    ratios: Iterable[tuple[str, str, str]],
    out: Path,
    packages: Iterable[str],
    per: int = 1,
    **measured: Any,
) -> None:
    """A whole benchmark: time variants in turns, show their times, and print and keep their ratios.

    ratios: (slow, fast, promised). per: how many items, such as images, a variant works through in a round.
    measured: what else goes into `out`.
    """
    console = Console()
    taken = interleave(variants, rounds, console=console)
    seconds = {name: [total / per for total in each] for name, each in taken.items()}
    show(console, title, seconds)
    results = [ratio(seconds, slow, fast, promised) for slow, fast, promised in ratios]
    conclude(console, out, results, packages, rounds=rounds, seconds=seconds, **measured)
