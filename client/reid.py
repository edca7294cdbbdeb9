"""The client library: one connection to a QAFM server, over asynchronous gRPC."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np

from client.defaults import CONCURRENCY, CONNECT_TIMEOUT_S, REQUEST_TIMEOUT_S, RETRY_S, URL
from client.description import Description, Float32
from client.handshake import check_metadata, read_manifest
from client.transport import Arrays, GrpcTransport, Tls, Transport, TransportError
from qafm.contract import (
    ALPHA,
    ATTRIBUTES,
    DESCRIPTOR,
    ENSEMBLES,
    FUSION,
    IDENTIFIABILITY,
    IMAGE,
    MAX_BATCH_SIZE,
    MODELS,
    QAFM,
    QAFM_FIXED_ALPHA,
    SEMANTIC,
    VISUAL,
)
from qafm.errors import ContractMismatch, InvalidImage, RequestFailed, ServerUnreachable
from qafm.images import MAX_BYTES

if TYPE_CHECKING:
    from client.report.report import Report

_LOOKAHEAD = 4
"""Results wait for their turn in input order: this many times `concurrency` may be ahead of the consumer."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_QUEUE_FULL = "Exceeds maximum queue size"

Image = bytes | Path
Answer = TypeVar("Answer")


class ReidClient:
    """An asynchronous client of one QAFM server; use it as `async with ReidClient(url) as client`.

    On entering, it waits until the server is ready and holds the two ensembles against the contract.
    `manifest` then says what is served. A request is tried again, after growing random pauses, only while the
    server answers UNAVAILABLE or not at all.

    url: HOST:PORT of the server's gRPC endpoint. connect_timeout_s: wait for the server to be ready.
    request_timeout_s: wait for the answer to one attempt. retry_s: stop trying again after so long. tls: encrypt, and
    trust as it says. headers: sent with every request, such as {"authorization": "Bearer ..."}. transport: speak
    through this instead, such as a `client.testing.MockTransport`.
    Entering raises ServerUnreachable, ContractMismatch, RequestFailed where the server refuses this client, or
    InvalidSettings for what cannot be sent. Every error says `url`, `model` and `request_id` where there
    are such: the server's log has the same.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        retry_s: float = RETRY_S,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
        transport: Transport | None = None,
    ) -> None:
        self.url = url
        self.connect_timeout_s = connect_timeout_s
        self.request_timeout_s = request_timeout_s
        self.retry_s = retry_s
        self._tls, self._headers, self._given_transport = tls, headers, transport
        self._transport: Transport | None = None
        self._manifest: dict[str, Any] = {}

    @property
    def manifest(self) -> dict[str, Any]:
        """What is served, as the export wrote it: checkpoint, data, measured differences, versions."""
        return self._manifest

    async def __aenter__(self) -> ReidClient:
        transport = self._given_transport or GrpcTransport(self.url, tls=self._tls, headers=self._headers)
        self._transport = transport
        try:
            await self._wait_until_ready()
            for name in ENSEMBLES:
                check_metadata(MODELS[name], await self._about(name, transport.metadata), self.url)
            self._manifest = read_manifest(QAFM, await self._about(QAFM, transport.config), self.url)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def describe(self, image: Image, alpha: float | None = None) -> Description:
        """Describe one image: the encoded bytes of a JPEG, PNG, WebP or BMP file, or the path of one.

        alpha: a weight in [0,1] for the visual branch, instead of the one that the image's quality gives. It
        saves the quality network, nine tenths of the work. Raises InvalidImage when the image cannot be read
        or described, RequestFailed when the server answers with another error or not in time,
        ServerUnreachable when there is no server any more.
        """
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}; expected a weight from 0 to 1")
        inputs = {IMAGE.name: np.array([[_read(image)]], dtype=np.object_)}
        if alpha is not None:
            inputs[ALPHA.name] = np.array([[alpha]], dtype=np.float32)
        found = await self._infer(QAFM if alpha is None else QAFM_FIXED_ALPHA, inputs, image)

        def values(name: str) -> Float32:
            one: Float32 = found[name][0]
            return one

        return Description(
            descriptor=values(DESCRIPTOR.name),
            alpha=float(values(ALPHA.name)[0]) if alpha is None else alpha,
            identifiability=float(values(IDENTIFIABILITY.name)[0]) if alpha is None else None,
            visual=values(VISUAL.name),
            semantic=values(SEMANTIC.name),
            attribute_probabilities=values(ATTRIBUTES.name),
        )

    @overload
    def describe_many(
        self,
        images: Iterable[Image],
        alpha: float | None = None,
        *,
        concurrency: int = CONCURRENCY,
        return_errors: Literal[False] = False,
    ) -> AsyncGenerator[Description, None]: ...

    @overload
    def describe_many(
        self,
        images: Iterable[Image],
        alpha: float | None = None,
        *,
        concurrency: int = CONCURRENCY,
        return_errors: Literal[True],
    ) -> AsyncGenerator[Description | InvalidImage | RequestFailed, None]: ...

    async def describe_many(
        self,
        images: Iterable[Image],
        alpha: float | None = None,
        *,
        concurrency: int = CONCURRENCY,
        return_errors: bool = False,
    ) -> AsyncGenerator[Description | InvalidImage | RequestFailed, None]:
        """Describe many images, one request each, and yield the results in the order of the images.

        At most `concurrency` requests are in flight. Images are taken from `images`, and files read, only as
        results are consumed: a slow consumer slows the requests, and memory stays bounded. With return_errors
        an image that fails yields its InvalidImage or RequestFailed instead of raising it and ending the
        iteration. Raises otherwise as `describe` does.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; expected at least 1")
        slots = asyncio.Semaphore(concurrency)

        async def one(image: Image) -> Description | InvalidImage | RequestFailed:
            async with slots:
                try:
                    return await self.describe(image, alpha)
                except (InvalidImage, RequestFailed) as error:
                    if return_errors:
                        return error
                    raise

        pending: deque[asyncio.Task[Description | InvalidImage | RequestFailed]] = deque()
        try:
            for image in images:
                pending.append(asyncio.create_task(one(image)))
                if len(pending) >= _LOOKAHEAD * concurrency:
                    yield await pending.popleft()
            while pending:
                yield await pending.popleft()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def fuse(self, visual: Float32, semantic: Float32, alpha: Float32) -> Float32:
        """What the server's fusion makes of vectors that it gave before, with other weights. Sends no image.

        visual, semantic: float32 [N,1024], as `describe` gives them. alpha: float32 [N], in [0,1]. Returns float32
        [N,1000], of length 1. Raises as `describe` does.
        """
        columns = {
            name: np.asarray(values, np.float32)
            for name, values in ((VISUAL.name, visual), (SEMANTIC.name, semantic), (ALPHA.name, alpha[:, None]))
        }
        descriptors = np.empty((len(visual), *DESCRIPTOR.dims), dtype=np.float32)
        for start in range(0, len(visual), MAX_BATCH_SIZE):
            rows = slice(start, start + MAX_BATCH_SIZE)
            inputs = {name: column[rows] for name, column in columns.items()}
            found = await self._infer(FUSION, inputs, "vectors", (DESCRIPTOR.name,))
            descriptors[rows] = found[DESCRIPTOR.name]
        return descriptors

    async def evaluate(
        self,
        data: Path,
        report: Path,
        *,
        limit: int | None = None,
        concurrency: int = CONCURRENCY,
        rerank: bool = False,
        sweep_alpha: bool = False,
        warn: Callable[[str], None] = lambda message: None,
    ) -> Report:
        """Evaluate the server on a dataset in Market-1501's layout, as `client eval` does, and write its report.

        data: the dataset's folder. report: the folder for report.json, report.html and the descriptors. limit: only the
        first so many queries. Images that fail are left out, and listed in `failed_images`. Interrupted, the same call
        goes on. The other arguments and what it raises: `client.evaluation.evaluate.evaluate_dataset`; InvalidDataset
        besides.
        """
        from client.evaluation.dataset import read_dataset
        from client.evaluation.evaluate import evaluate_dataset

        return await evaluate_dataset(
            self,
            read_dataset(data, limit),
            report,
            concurrency=concurrency,
            rerank=rerank,
            sweep_alpha=sweep_alpha,
            warn=warn,
        )

    async def _infer(
        self, model: str, inputs: Arrays, subject: Image | str, outputs: tuple[str, ...] | None = None
    ) -> Arrays:
        """The outputs of a model, all of them by default."""
        transport, request_id = self._connected(), uuid.uuid4().hex
        asked = list(outputs or (tensor.name for tensor in MODELS[model].outputs))

        async def attempt(timeout_s: float) -> Arrays:
            return await transport.infer(model, inputs, asked, request_id, timeout_s)

        try:
            return await self._retried(attempt, self.retry_s, self.request_timeout_s)
        except TransportError as error:
            raise self._request_error(error, model, request_id, subject) from error

    async def _close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    def _connected(self) -> Transport:
        if self._transport is None:
            raise RuntimeError("ReidClient is not connected; use it as `async with ReidClient(url) as client`")
        return self._transport

    async def _wait_until_ready(self) -> None:
        transport = self._connected()

        async def ready(timeout_s: float) -> None:
            if not await transport.ready(timeout_s):
                raise TransportError("unavailable", "it is not ready: a model is still loading or failed to")

        try:
            await self._retried(ready, self.connect_timeout_s, self.connect_timeout_s)
        except TransportError as error:
            if error.status in ("unavailable", "deadline"):
                raise self._unreachable(error, self.connect_timeout_s) from error
            if error.status == "refused":
                raise self._refused(error) from error
            raise ContractMismatch(
                f"what answers at {self.url} is not a Triton gRPC server: {error.message}. "
                "Expected the gRPC port, 8001 by default",
                url=self.url,
            ) from error

    async def _about(self, model: str, ask: Callable[[str, float], Awaitable[Any]]) -> Any:
        """The server's metadata or configuration of one model."""
        try:
            return await self._retried(partial(ask, model), self.connect_timeout_s, self.connect_timeout_s)
        except TransportError as error:
            if error.status == "refused":
                raise self._refused(error, model=model) from error
            if error.status == "deadline":
                raise self._unreachable(error, self.connect_timeout_s) from error
            if error.status == "unavailable" and not _names(model, error):
                raise self._unreachable(error, self.connect_timeout_s) from error
            raise ContractMismatch(
                f"the server at {self.url} does not serve the model {model!r}: expected the ensembles "
                f"{' and '.join(ENSEMBLES)}, got: {error.message}",
                url=self.url,
                model=model,
            ) from error

    async def _retried(self, attempt: Callable[[float], Awaitable[Answer]], retry_s: float, timeout_s: float) -> Answer:
        """The answer to `attempt(timeout_s)`, made again until the server was unavailable for `retry_s`."""
        give_up: float | None = None
        longest_pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await attempt(timeout_s)
            except TransportError as error:
                if error.status != "unavailable":
                    raise
                # Random, so that many clients of a restarted server do not all come back at once.
                pause_s = random.uniform(longest_pause_s / 2, longest_pause_s)
                now = time.monotonic()
                give_up = now + retry_s if give_up is None else give_up
                if now + pause_s > give_up:
                    raise
            await asyncio.sleep(pause_s)
            longest_pause_s = min(2 * longest_pause_s, _LONGEST_PAUSE_S)

    def _refused(self, error: TransportError, **asked: str) -> RequestFailed:
        return RequestFailed(
            f"the server at {self.url} refuses this client: {error.message}. Check its headers and its certificate",
            **{"url": self.url, **asked},
        )

    def _unreachable(self, error: TransportError, waited_s: float, **asked: str) -> ServerUnreachable:
        return ServerUnreachable(
            f"no server is ready at {self.url} after {waited_s:g} s ({error.message}). Start one with "
            "`python -m server`, or name another with --url HOST:PORT",
            **{"url": self.url, **asked},
        )

    def _request_error(
        self, error: TransportError, model: str, request_id: str, subject: Image | str
    ) -> InvalidImage | RequestFailed | ServerUnreachable:
        name = "" if isinstance(subject, bytes) else f"{subject}: "
        # The server repeats what it was told.
        reason = error.message.removeprefix(f"[request id: {request_id}] ").removeprefix(f"in ensemble '{model}', ")
        asked = {"url": self.url, "model": model, "request_id": request_id}
        if error.status == "refused":
            return self._refused(error, **asked)
        if error.status == "invalid":
            return InvalidImage(f"{name}{reason}", **asked)
        if error.status == "unavailable" and _QUEUE_FULL in reason:
            reason = f"its queue was full for {self.retry_s:g} s; send less at once (--concurrency), or wait longer"
        elif error.status == "unavailable":
            return self._unreachable(error, self.retry_s, **asked)
        if error.status == "deadline":
            reason = f"no answer within {self.request_timeout_s:g} s"
        return RequestFailed(f"{name}the model {model!r} at {self.url} failed: {reason}", **asked)


def _names(model: str, error: TransportError) -> bool:
    """Whether the server itself speaks of the model: gRPC's own UNAVAILABLE knows only addresses."""
    return f"'{model}'" in error.message


def _read(image: Image) -> bytes:
    if isinstance(image, bytes):
        size = len(image)
    else:
        try:
            size = image.stat().st_size
        except OSError as error:
            raise InvalidImage(f"{image}: the file cannot be read: {error.strerror}") from error
    if size > MAX_BYTES:
        name = "" if isinstance(image, bytes) else f"{image}: "
        raise InvalidImage(f"{name}the image has {size:,} bytes; at most {MAX_BYTES:,} are accepted")
    if isinstance(image, bytes):
        return image
    try:
        return image.read_bytes()
    except OSError as error:
        raise InvalidImage(f"{image}: the file cannot be read: {error.strerror}") from error
