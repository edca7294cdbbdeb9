"""Requests that are cancelled, or whose time is over before they are answered: Triton before 24.11 may die of them."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

import grpc
from rich.console import Console
from rich.progress import Progress
from tritonclient.grpc import service_pb2, service_pb2_grpc

from bench.campaign.mutation import good_pictures
from client import ReidClient
from qafm.contract import IMAGE, QAFM_FAST

_IN_FLIGHT = 32
_PAUSE_S = 0.1


@dataclass
class Cancelled:
    """What became of requests that were given up.

    requests: how many. answered: how many were answered before. unavailable: how many found no server. good_s: how long
    a good request took after all of them.
    """

    requests: int = 0
    answered: int = 0
    unavailable: int = 0
    good_s: float = float("nan")


async def cancel(url: str, count: int, seed: int, console: Console) -> Cancelled:
    """Send so many requests, give each up within milliseconds, and then send one that is waited for."""
    result, generator, picture = Cancelled(), random.Random(seed), good_pictures()["jpeg"]
    request, numbers = request_of(picture), iter(range(count))
    async with grpc.aio.insecure_channel(url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with Progress(console=console) as progress:
            task = progress.add_task("cancelled and late", total=count)

            async def give_up() -> None:
                for number in numbers:
                    patience_s = generator.choice((0.001, 0.003, 0.01, 0.03))
                    # Its time is over, or it is cancelled: the server sees the one as the other, at another moment.
                    call = stub.ModelInfer(request, timeout=patience_s if number % 2 else None)
                    if not number % 2:
                        await asyncio.sleep(patience_s)
                        call.cancel()
                    try:
                        await call
                        result.answered += 1
                    except asyncio.CancelledError:
                        pass
                    except grpc.aio.AioRpcError as error:
                        if error.code() == grpc.StatusCode.UNAVAILABLE:
                            result.unavailable += 1
                            await asyncio.sleep(_PAUSE_S)
                    result.requests += 1
                    progress.advance(task)

            await asyncio.gather(*(give_up() for _ in range(_IN_FLIGHT)))
    started = time.monotonic()
    async with ReidClient(url, connect_timeout_s=60, retry_s=60) as client:
        await client.describe(picture, ensemble=QAFM_FAST)
    result.good_s = time.monotonic() - started
    return result


def request_of(picture: bytes, ensemble: str = QAFM_FAST) -> service_pb2.ModelInferRequest:
    """What asks an ensemble for everything that it says of a picture."""
    request = service_pb2.ModelInferRequest(model_name=ensemble)
    request.inputs.add(name=IMAGE.name, datatype=IMAGE.wire_dtype, shape=[1, 1])
    request.raw_input_contents.append(len(picture).to_bytes(4, "little") + picture)
    return request
