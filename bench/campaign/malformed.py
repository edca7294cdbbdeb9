"""Malformed HTTP: lines, heads, lengths, JSON and binary tensors that are not what they should be."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.progress import Progress

from bench.campaign.command import Served, below
from bench.campaign.mutation import good_pictures
from qafm.contract import DESCRIPTOR, IMAGE, QAFM_FAST
from server.endpoint import Endpoint, NoAnswer

_IN_FLIGHT = 8
_PATIENCE_S = 1.0
"""How long an answer to a malformed request is waited for; some of them are never whole."""
_DEEP = 1_000_000
_BACK_S = 60.0

_PATH = f"/v2/models/{QAFM_FAST}/infer"
_ODD_NUMBERS = ("-1", "0", "1", "x", "", "1e3", "99", "2147483648", "18446744073709551616", "0x10", " 7 ", "+5")
_ODD_VALUES = (None, True, -1, 0, 2**31, 2**63, 1e308, "", "x" * 1000, [], {}, [[]], [1, 1, 1], [-1], [2**62, 4])


@dataclass
class Malformed:
    """What became of them, and of good requests between them.

    said: by the status of the answer, or how none came. ended: whether the server did. deep_s: after one
    of JSON nested so deep that Triton 2.51 ends of it, until a good request was answered.
    """

    requests: int = 0
    said: Counter[str] = field(default_factory=Counter)
    good: int = 0
    ended: bool = False
    deep_s: float = float("nan")
    lost: list[str] = field(default_factory=list)


async def send_malformed(server: Served, count: int, seed: int, console: Console) -> Malformed:
    """So many, those of a seed, and as many good ones as are answered meanwhile; in the end one that is nested deep."""
    found, numbers, questions = Malformed(), iter(range(count)), Questions(seed)
    endpoint, picture = Endpoint(server.http_url), good_pictures()["jpeg"]
    expected, first = _described(endpoint, picture), server.tritonserver
    over = asyncio.Event()

    async def ask_well() -> None:
        while not over.is_set():
            try:
                descriptor = await asyncio.to_thread(_described, endpoint, picture)
            except NoAnswer as error:
                found.lost.append(str(error))
                await asyncio.sleep(1)
            else:
                found.good += 1
                if not np.array_equal(descriptor, expected):
                    found.lost.append("a good picture is described otherwise")

    with Progress(console=console) as progress:
        task = progress.add_task("malformed HTTP", total=count)

        async def ask_badly() -> None:
            for _ in numbers:
                kind, question = questions.one()
                found.said[f"{kind}: {await _sent(server.http_url, question)}"] += 1
                found.requests += 1
                progress.advance(task)

        good = asyncio.create_task(ask_well())
        await asyncio.gather(*(ask_badly() for _ in range(_IN_FLIGHT)))
        over.set()
        await good
    found.ended = first not in set(below(server.pid))
    found.deep_s = await _after_a_deep_one(server, endpoint, picture, questions)
    return found


class Questions:
    """Malformed requests, the same for a seed."""

    def __init__(self, seed: int) -> None:
        self._generator = random.Random(seed)
        self._picture = good_pictures()["jpeg"]
        self._kinds: tuple[Callable[[], bytes], ...] = (
            *(self._noise, self._method, self._cut, self._long_head, self._length, self._json_length, self._chunks),
            *(self._broken_json, self._other_json, self._nested, self._binary, self._path),
        )

    def one(self) -> tuple[str, bytes]:
        """Its kind, and what is sent."""
        kind = self._generator.choice(self._kinds)
        return kind.__name__.strip("_"), kind()

    def deep(self) -> bytes:
        """One of JSON nested so deep that Triton 2.51 ends of it."""
        return _http(b"[" * _DEEP + b"]" * _DEEP)

    def _whole(self) -> tuple[dict, bytes]:
        tensor = len(self._picture).to_bytes(4, "little") + self._picture
        size = {"binary_data_size": len(tensor)}
        image = {"name": IMAGE.name, "shape": [1, 1], "datatype": IMAGE.wire_dtype, "parameters": size}
        return {"inputs": [image]}, tensor

    def _noise(self) -> bytes:
        return self._generator.randbytes(self._generator.choice((1, 10, 1000, 100_000)))

    def _method(self) -> bytes:
        method = self._generator.choice(("get", "PUT", "DELETE", "TRACE", "CONNECT", "X" * 5000, "", "POST POST"))
        version = self._generator.choice(("HTTP/1.1", "HTTP/9.9", "HTTP/1.0", "x", ""))
        return _http(b"{}", method=method, version=version)

    def _cut(self) -> bytes:
        head, tensor = self._whole()
        whole = _http(json.dumps(head).encode(), tensor)
        return whole[: self._generator.randrange(len(whole))]

    def _long_head(self) -> bytes:
        name = self._generator.choice(("X" * 100_000, "X", "X\0Y", "X\rY"))
        return _http(b"{}", more=[f"{name}: {'y' * self._generator.choice((1, 100_000))}"] * 20)

    def _length(self) -> bytes:
        head, tensor = self._whole()
        return _http(json.dumps(head).encode(), tensor, length=self._generator.choice(_ODD_NUMBERS))

    def _json_length(self) -> bytes:
        head, tensor = self._whole()
        return _http(json.dumps(head).encode(), tensor, json_length=self._generator.choice(_ODD_NUMBERS))

    def _chunks(self) -> bytes:
        sizes = (self._generator.choice(("5", "0", "-1", "ffffffffffffffff", "g", "")) for _ in range(4))
        chunks = "".join(f"{size}\r\nhello\r\n" for size in sizes)
        return f"POST {_PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}".encode()

    def _broken_json(self) -> bytes:
        head, tensor = self._whole()
        text = bytearray(json.dumps(head).encode())
        for _ in range(self._generator.choice((1, 2, 8))):
            text[self._generator.randrange(len(text))] = self._generator.randrange(256)
        return _http(bytes(text), tensor)

    def _other_json(self) -> bytes:
        """A value in another's place, or one that is not there."""
        head, tensor = self._whole()
        place = self._generator.choice((head, head["inputs"][0], head["inputs"][0]["parameters"]))
        name = self._generator.choice((*place, "id", "parameters", "outputs", "data"))
        if self._generator.random() < 0.2:
            place.pop(name, None)
        else:
            place[name] = self._generator.choice(_ODD_VALUES)
        return _http(json.dumps(head).encode(), tensor)

    def _nested(self) -> bytes:
        """Deep, and not so deep that it ends Triton 2.51."""
        depth = self._generator.choice((10, 100, 1000))
        opening, closing = self._generator.choice(((b"[", b"]"), (b'{"inputs":', b"}"), (b"[", b"")))
        return _http(opening * depth + b"1" + closing * depth)

    def _binary(self) -> bytes:
        """Encoded pictures whose lengths are others than what follows."""
        head, tensor = self._whole()
        length = self._generator.choice((0, 1, len(tensor), 2**31, 2**32 - 1)).to_bytes(4, "little")
        return _http(json.dumps(head).encode(), length + tensor[4:])

    def _path(self) -> bytes:
        paths = ("/", "//", "/v2/models/../models", f"/v2/models/{'x' * 100_000}/infer", "/v2/models/%00/infer", "x")
        paths += ("/v2/repository/index", f"/v2/models/{QAFM_FAST}/versions/-1/infer", "/v2/systemsharedmemory/status")
        return _http(b"{}", path=self._generator.choice(paths))


def _http(
    head: bytes,
    tensor: bytes = b"",
    *,
    method: str = "POST",
    path: str = _PATH,
    version: str = "HTTP/1.1",
    length: str | None = None,
    json_length: str | None = None,
    more: list[str] | None = None,
) -> bytes:
    """A request to describe a picture, right but for what is given."""
    lines = [
        f"{method} {path} {version}",
        "Host: x",
        f"Content-Length: {len(head + tensor) if length is None else length}",
        f"Inference-Header-Content-Length: {len(head) if json_length is None else json_length}",
        *(more or []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + head + tensor


async def _sent(address: str, question: bytes) -> str:
    """Send it on a connection of its own: the status of the answer, or how none came."""
    host, _, port = address.rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        await asyncio.sleep(0.1)
        return "no server"
    try:
        writer.write(question)
        answer = await asyncio.wait_for(reader.read(64), _PATIENCE_S)
    except TimeoutError:
        return "no answer"
    except OSError:
        return "broken off"
    finally:
        writer.transport.abort()
    return answer.split(b" ")[1].decode(errors="replace") if answer.startswith(b"HTTP/") else "closed"


async def _after_a_deep_one(server: Served, endpoint: Endpoint, picture: bytes, questions: Questions) -> float:
    await _sent(server.http_url, questions.deep())
    started = time.monotonic()
    await asyncio.sleep(1)  # a request at once might be answered by what is about to end
    while time.monotonic() - started < _BACK_S:
        with suppress(NoAnswer):
            await asyncio.to_thread(_described, endpoint, picture)
            break
        await asyncio.sleep(0.1)
    return time.monotonic() - started


def _described(endpoint: Endpoint, picture: bytes) -> np.ndarray:
    return endpoint.describe(QAFM_FAST, picture, [DESCRIPTOR.name], 30.0)[DESCRIPTOR.name]
