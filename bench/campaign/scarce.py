"""A machine that runs out: of shared memory, of disk, of descriptors. And that has some again after a while."""

from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import numpy as np
from tritonclient.grpc import service_pb2_grpc

from bench.campaign.cancelled import request_of
from bench.campaign.command import Served, served
from bench.campaign.faults import array_differences, evaluated
from bench.campaign.mutation import good_pictures
from client import ReidClient
from qafm.contract import QAFM_FAST
from qafm.errors import QafmError
from qafm.images import MAX_BYTES

_OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")
"""A command's own view of what is mounted, without rights that people do not have."""
_SHARED_MEMORY, _DISK = "512m", "4m"
_DESCRIPTORS, _CONNECTIONS = 256, 400
_ONCE = {"connect_timeout_s": 2.0, "request_timeout_s": 2.0, "retry_s": 0.0}
_PATIENT = {"connect_timeout_s": 60.0, "retry_s": 60.0}
_LARGE = 8
"""Requests as large as they may be, which want more shared memory than there is."""


@dataclass
class Scarce:
    """What became of a server while something had run out.

    answered, failed: good requests meanwhile, each sent once. wrong: those described otherwise. back_s: from the moment
    when there was enough again, until a good request was answered.
    """

    answered: int = 0
    failed: int = 0
    wrong: int = 0
    back_s: float = float("nan")
    lost: list[str] = field(default_factory=list)


def own_mounts_allowed() -> bool:
    """Whether a command can have them here: a container may forbid it."""
    try:
        mount = [*_OWN_MOUNTS, "mount", "-t", "tmpfs", "none", "/dev/shm"]
        return not subprocess.run(mount, capture_output=True, check=False).returncode
    except OSError:
        return False


async def without_shared_memory(repository: Path, folder: Path, seconds: float) -> Scarce:
    """A server whose /dev/shm is full, and which is then asked for much."""
    before = _with_small("/dev/shm", _SHARED_MEMORY)
    with served(repository, folder / "shared_memory.log", before) as server:
        return await _while(server, partial(_full, _seen_by(server, "/dev/shm")), seconds, large=True)


async def without_disk(repository: Path, folder: Path, seconds: float) -> Scarce:
    """A server whose log, and whatever else it may write, lies on a full disk."""
    small = folder / "small"
    small.mkdir()
    before = ("env", f"TMPDIR={small}", *_with_small(str(small), _DISK))
    with served(repository, folder / "disk.log", before, ("--log", str(small / "log"))) as server:
        return await _while(server, partial(_full, _seen_by(server, str(small))), seconds)


async def without_descriptors(repository: Path, folder: Path, seconds: float) -> Scarce:
    """A server whose connections others hold, and send nothing."""
    before = ("sh", "-c", f'ulimit -n {_DESCRIPTORS} && exec "$@"', "sh")
    with served(repository, folder / "descriptors.log", before) as server:
        return await _while(server, partial(_held, (server.http_url, server.grpc_url)), seconds)


async def client_without_disk(url: str, data: Path, folder: Path) -> list[str]:
    """An evaluation whose report does not fit on its disk, and once more with room; what is wrong with it, in words."""
    await evaluated(url, data, folder / "alone")
    place, kept = folder / "report", folder / "kept"
    place.mkdir()
    script = 'mount -t tmpfs -o size=200k none "$0" || exit 1; kept=$1; shift; "$@"; first=$?; '
    script += 'mount -o remount,size=64m "$0"; "$@" && cp -r "$0" "$kept"; exit $first'
    command = [sys.executable, "-m", "client", "eval", "--data", str(data), "--url", url, "--report", str(place)]
    process = await asyncio.create_subprocess_exec(
        *(*_OWN_MOUNTS, "sh", "-c", script, str(place), str(kept), *command),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, errors = await process.communicate()
    said = errors.decode(errors="replace")
    if not kept.exists():
        return [f"with room again it does not end: {said[-500:]}"]
    found = array_differences(folder / "alone", kept)
    if process.returncode != 2 or "Traceback" in said or "space" not in said:
        found.append(f"on a full disk it ends with {process.returncode} and says {said[-500:]}")
    return found


async def _while(
    server: Served, scarcity: Callable[[], contextmanager], seconds: float, *, large: bool = False
) -> Scarce:
    """Good requests, one after the other, for so long, each over a connection of its own."""
    found = Scarce()

    async def ask(**patience: float) -> np.ndarray:
        async with ReidClient(server.grpc_url, **patience) as client:
            return (await client.describe(good_pictures()["jpeg"], ensemble=QAFM_FAST)).descriptor

    expected = await ask()
    with scarcity():
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if large:
                await _ask_for_much(server.grpc_url)
            try:
                found.wrong += not np.array_equal(await ask(**_ONCE), expected)
                found.answered += 1
            except QafmError:
                found.failed += 1
                await asyncio.sleep(0.1)
    started = time.monotonic()
    try:
        found.wrong += not np.array_equal(await ask(**_PATIENT), expected)
    except QafmError as error:
        found.lost.append(str(error))
    found.back_s = time.monotonic() - started
    return found


async def _ask_for_much(url: str) -> None:
    request = request_of(bytes(MAX_BYTES))
    async with grpc.aio.insecure_channel(url, options=[("grpc.max_send_message_length", -1)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await asyncio.gather(*(stub.ModelInfer(request, timeout=5) for _ in range(_LARGE)), return_exceptions=True)


def _with_small(place: str, size: str) -> tuple[str, ...]:
    """Words in front of a command, for which a file system of a size is mounted at a place."""
    return (*_OWN_MOUNTS, "sh", "-c", f'mount -t tmpfs -o size={size} none "$0" && exec "$@"', place)


def _seen_by(server: Served, place: str) -> Path:
    """A place as a server sees it, whose mounts are its own."""
    return Path("/proc", str(server.pid), "root", place.lstrip("/"))


@contextmanager
def _full(place: Path) -> Iterator[None]:
    filler = place / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (2**20, 4096):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
        yield
    finally:
        filler.unlink()


@contextmanager
def _held(addresses: tuple[str, ...]) -> Iterator[None]:
    """More connections than the server may have, on which nothing is sent."""
    with ExitStack() as held:
        for address in addresses:
            host, _, port = address.rpartition(":")
            for _ in range(_CONNECTIONS):
                connection = held.enter_context(socket.socket())
                connection.setblocking(False)
                connection.connect_ex((host, int(port)))
        time.sleep(0.5)
        yield
