"""Broken pictures through a server, with good ones between them: whatever becomes of those, these are as ever."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from bench.campaign.decoded import keep
from bench.campaign.mutation import good_pictures, mutated
from client import ReidClient
from qafm.contract import QAFM_FIXED_ALPHA
from qafm.errors import InvalidImage, QafmError

ALPHA = 0.75
IN_FLIGHT = 4
LATE_S = 20.0
"""No answer may take so long."""


@dataclass
class Answers:
    """What was answered to pictures that are broken, and to good ones. slowest_s: of any answer."""

    broken: int = 0
    described: int = 0
    refused: int = 0
    good: int = 0
    slowest_s: float = 0.0
    findings: list[str] = field(default_factory=list)


async def send_broken(url: str, count: int, seed: int, findings: Path, console: Console) -> Answers:
    """So many broken pictures, those of a seed, several in flight and as many good ones between them.

    findings: the folder in which a picture is kept that fails otherwise than by a refusal, or whose neighbour does.
    """
    answers, pictures = Answers(), good_pictures()
    broken = itertools.islice(mutated(seed), count)
    async with ReidClient(url, retry_s=60) as client:
        expected = {
            name: (await client.describe(data, ALPHA, ensemble=QAFM_FIXED_ALPHA)).descriptor
            for name, data in pictures.items()
        }
        neighbours = itertools.cycle(sorted(pictures))
        with Progress(console=console) as progress:
            task = progress.add_task("broken pictures served", total=count)

            async def send() -> None:
                for words, data in broken:
                    name, started = next(neighbours), time.monotonic()
                    bad = asyncio.create_task(client.describe(data, ALPHA, ensemble=QAFM_FIXED_ALPHA))
                    good = asyncio.create_task(client.describe(pictures[name], ALPHA, ensemble=QAFM_FIXED_ALPHA))
                    await asyncio.wait({bad, good})
                    took = time.monotonic() - started
                    answers.broken += 1
                    answers.good += 1
                    answers.slowest_s = max(answers.slowest_s, took)
                    answers.described += not bad.exception()
                    answers.refused += isinstance(bad.exception(), InvalidImage)
                    answers.findings += [
                        keep(findings, data, f"{words}: {said}")
                        for said in _wrong(bad.exception(), good, expected[name], took)
                    ]
                    progress.advance(task)

            await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))
    return answers


def _wrong(failed: BaseException | None, good: asyncio.Task, expected: np.ndarray, took: float) -> list[str]:
    said = []
    if failed and not isinstance(failed, InvalidImage):
        said.append(f"fails otherwise than by a refusal: {failed}")
    if isinstance(good.exception(), QafmError):
        said.append(f"a good picture beside it fails: {good.exception()}")
    elif not np.array_equal(good.result().descriptor, expected):
        said.append("a good picture beside it is described otherwise")
    if took > LATE_S:
        said.append(f"took {took:.1f} s")
    return said
