"""A network between client and server that stalls, dribbles and breaks off."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.campaign.faults import differences, evaluated

_PIECE_BYTES = 16 * 1024


@dataclass
class Network:
    """What a network did, and what an evaluation through it came to.

    done: how often connections were made, broken off and stalled. lost: images that failed. differences: to an
    evaluation without it.
    """

    done: Counter[str] = field(default_factory=Counter)
    reports: int = 0
    lost: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


async def evaluate_through(url: str, data: Path, folder: Path, evaluations: int, seed: int) -> Network:
    """Evaluate a dataset so many times through a network that is no good, and once without it."""
    network = Network()
    expected = await evaluated(url, data, folder / "alone")
    async with _bad_network(url, random.Random(seed), network.done) as through:
        for number in range(evaluations):
            place = folder / f"through-{number}"
            report = await evaluated(through, data, place)
            network.reports += 1
            network.lost += [f"{image.path}: {image.reason}" for image in report.failed_images]
            network.differences += differences(expected, report, folder / "alone", place)
    return network


@asynccontextmanager
async def _bad_network(url: str, generator: random.Random, done: Counter[str]) -> AsyncIterator[str]:
    """The address of a proxy to `url`. What it does with each connection is drawn when that is made."""
    host, _, port = url.rpartition(":")

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done["connections"] += 1
        there, back = await asyncio.open_connection(host, int(port))
        ways = [
            asyncio.create_task(_carry(reader, back, generator, done)),
            asyncio.create_task(_carry(there, writer, generator, done)),
        ]
        # Each is broken off while requests are under way. Those are lost work for the server: it must get some done.
        await asyncio.wait(ways, timeout=generator.uniform(2.0, 12.0), return_when=asyncio.FIRST_COMPLETED)
        done["broken off"] += 1
        for way in ways:
            way.cancel()
        for each in (writer, back):
            each.transport.abort()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, generator: random.Random, done: Counter[str]
) -> None:
    """Bytes from one side to the other, now and then late or a few at a time."""
    with suppress(OSError):
        while content := await reader.read(_PIECE_BYTES):
            if generator.random() < 0.05:
                done["stalled"] += 1
                await asyncio.sleep(generator.uniform(0, 0.5))
            pieces = generator.choice((1, 1, 1, 7))
            size = -(-len(content) // pieces)
            for start in range(0, len(content), size):
                writer.write(content[start : start + size])
                await writer.drain()
