"""A server under load with one request in ten of somebody who means it harm."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
from rich.console import Console
from rich.progress import Progress
from tritonclient.grpc import service_pb2, service_pb2_grpc

from bench.campaign.cancelled import request_of
from bench.campaign.command import Served, below, name_of
from bench.campaign.mutation import good_pictures, mutated
from bench.soak import memory_share
from client import ReidClient
from qafm.contract import ALPHA, FUSION, MODELS, QAFM, QAFM_FAST, QAFM_FIXED_ALPHA, Tensor
from qafm.errors import QafmError
from qafm.images import MAX_BYTES

IN_FLIGHT = 8
EVERY = 10
"""One request in so many is hostile."""

Request = service_pb2.ModelInferRequest


@dataclass
class Load:
    """What was answered in one phase. hostile: by kind, and by what the server said to it."""

    good: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: int = 0
    seconds: list[float] = field(default_factory=list)
    hostile: Counter[str] = field(default_factory=Counter)

    @property
    def p99_s(self) -> float:
        return float(np.percentile(self.seconds, 99))


@dataclass(frozen=True)
class State:
    """Of a server after a round: bytes of each of its processes, by name, of shared memory and of what Triton and the
    command wrote to their logs; open files."""

    processes: dict[str, int]
    shared_memory: int
    log: int
    descriptors: int

    @property
    def memory(self) -> int:
        return sum(self.processes.values())


async def load(
    server: Served, minutes: float, rounds: int, seed: int, console: Console
) -> tuple[list[tuple[Load, Load]], list[State]]:
    """Load `qafm_fast` for so many minutes without and then with hostile requests, in turns.

    Returns both phases of each round, and the state after each round.
    """
    phases, states = [], [state_of_server(server)]
    with Progress(console=console) as progress:
        task = progress.add_task("under load", total=2 * rounds)
        for number in range(rounds):
            pair = []
            for hostile in (False, True):
                pair.append(await _phase(server.grpc_url, 60 * minutes, [seed, number] if hostile else None))
                progress.advance(task)
            phases.append((pair[0], pair[1]))
            states.append(state_of_server(server))
    return phases, states


async def _phase(url: str, seconds: float, seed: list[int] | None) -> Load:
    found, pictures, end = Load(), good_pictures(), time.monotonic() + seconds
    async with (
        ReidClient(url, retry_s=60) as client,
        grpc.aio.insecure_channel(url, options=[("grpc.max_send_message_length", -1)]) as channel,
    ):
        expected = {
            name: (await client.describe(data, ensemble=QAFM_FAST)).descriptor for name, data in pictures.items()
        }
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        attacks = Attacks(seed) if seed else None
        names = itertools.cycle(sorted(pictures))

        async def ask() -> None:
            for number in itertools.count(1):
                if time.monotonic() > end:
                    return
                if attacks and number % EVERY == 0:
                    found.hostile[await attacks.one(stub)] += 1
                    continue
                name, started = next(names), time.monotonic()
                try:
                    answer = await client.describe(pictures[name], ensemble=QAFM_FAST)
                except QafmError as error:
                    found.failed.append(str(error))
                else:
                    found.good += 1
                    found.wrong += not np.array_equal(answer.descriptor, expected[name])
                    found.seconds.append(time.monotonic() - started)

        await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))
    return found


class Attacks:
    """Hostile requests of every kind that gRPC carries, but for those that are given up."""

    def __init__(self, seed: list[int]) -> None:
        self._generator = random.Random(str(seed))
        self._pictures = mutated(self._generator.randrange(2**32))
        self._good = good_pictures()["jpeg"]
        self._kinds: tuple[Callable[[], Request], ...] = (
            *(self._broken_picture,) * 4,
            *(
                self._too_many_bytes,
                self._odd_shape,
                self._odd_content,
                self._odd_names,
                self._odd_type,
                self._no_weight,
            ),
            self._inner_model,
        )

    async def one(self, stub: service_pb2_grpc.GRPCInferenceServiceStub) -> str:
        """Send one, and say of which kind it was and what came back."""
        kind = self._generator.choice(self._kinds)
        try:
            await stub.ModelInfer(kind())
            said = "answered"
        except grpc.aio.AioRpcError as error:
            said = error.code().name
        return f"{kind.__name__.strip('_')}: {said}"

    def _broken_picture(self) -> Request:
        return request_of(next(self._pictures)[1], self._generator.choice((QAFM, QAFM_FAST)))

    def _too_many_bytes(self) -> Request:
        return request_of(bytes(self._generator.choice((MAX_BYTES + 1, 3 * MAX_BYTES))))

    def _odd_shape(self) -> Request:
        request = request_of(self._good)
        del request.inputs[0].shape[:]
        shapes = ([], [1], [0, 1], [9, 1], [1, 2], [-1, 1], [2**31, 1], [2**62, 1], [1, 1, 1])
        request.inputs[0].shape.extend(self._generator.choice(shapes))
        return request

    def _odd_content(self) -> Request:
        request = request_of(self._good)
        content = request.raw_input_contents[0]
        del request.raw_input_contents[:]
        request.raw_input_contents.extend(
            self._generator.choice(([], [b""], [content[:3]], [content[:-1]], [content + b"x"], [content, content]))
        )
        return request

    def _odd_names(self) -> Request:
        request = request_of(self._good)
        change = self._generator.randrange(5)
        if change == 0:
            request.model_name = self._generator.choice(("", "no such model", "../views", "\0", "x" * 10_000))
        elif change == 1:
            request.inputs[0].name = self._generator.choice(("", "image", "x" * 10_000))
        elif change == 2:
            request.outputs.add(name="NO_SUCH_OUTPUT")
        elif change == 3:
            request.model_version = self._generator.choice(("2", "-1", "x"))
        else:
            request.id = "x" * 100_000
        return request

    def _odd_type(self) -> Request:
        request = request_of(self._good)
        request.inputs[0].datatype = self._generator.choice(("", "UINT8", "FP32", "bytes", "x" * 1000))
        return request

    def _no_weight(self) -> Request:
        request = request_of(self._good, QAFM_FIXED_ALPHA)
        weight = self._generator.choice((float("nan"), float("inf"), -5.0, 1e38))
        request.inputs.add(name=ALPHA.name, datatype=ALPHA.wire_dtype, shape=[1, 1])
        request.raw_input_contents.append(np.float32(weight).tobytes())
        return request

    def _inner_model(self) -> Request:
        """Any bytes as the tensors of a model that only ensembles should ask."""
        model = MODELS[self._generator.choice(("apn", "apan", FUSION, "alpha"))]
        request = service_pb2.ModelInferRequest(model_name=model.name)
        for tensor in model.inputs:
            request.inputs.add(name=tensor.name, datatype=tensor.wire_dtype, shape=[1, *tensor.dims])
            request.raw_input_contents.append(self._generator.randbytes(_size(tensor)))
        return request


def state_of_server(server: Served) -> State:
    pid = server.tritonserver
    regions = Path("/dev/shm").glob(f"qafm_{server.pid}_*")  # other servers have regions of their own
    processes: Counter[str] = Counter()
    for process in (pid, *below(pid)):
        with suppress(OSError):
            processes[name_of(process)] += memory_share(process)
    return State(
        processes=dict(processes),
        shared_memory=sum(region.stat().st_blocks * 512 for region in regions),
        # Standard error of both, which has no name where nobody asked for the log.
        log=sum(Path(f"/proc/{each}/fd/2").stat().st_size for each in (server.pid, pid)),
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
    )


def _size(tensor: Tensor) -> int:
    return int(np.prod(tensor.dims)) * {"UINT8": 1, "FP32": 4}[tensor.dtype]
