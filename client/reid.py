"""The client library: one connection to a QAFM server, over asynchronous gRPC."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

import numpy as np
from tritonclient.grpc import InferInput, InferRequestedOutput  # type: ignore[import-untyped]
from tritonclient.grpc.aio import InferenceServerClient  # type: ignore[import-untyped]
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from client.defaults import CONCURRENCY, CONNECT_TIMEOUT_S, REQUEST_TIMEOUT_S, RETRY_S, URL
from client.description import Description, Float32
from client.handshake import check_metadata, read_manifest
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
    Tensor,
)
from qafm.errors import ContractMismatch, InvalidImage, RequestFailed, ServerUnreachable
from qafm.images import MAX_BYTES

_LOOKAHEAD = 4
"""Results wait for their turn in input order: this many times `concurrency` may be ahead of the consumer."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_MESSAGE_OVERHEAD_BYTES = 1024 * 1024
_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", MAX_BYTES + _MESSAGE_OVERHEAD_BYTES),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),  # a description has 13 kB, a manifest tens of kB
    # gRPC's own pause between attempts to connect doubles up to two minutes; a restarted server is found
    # sooner.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
]

_UNAVAILABLE = "StatusCode.UNAVAILABLE"
_DEADLINE = "StatusCode.DEADLINE_EXCEEDED"
_INVALID = "StatusCode.INVALID_ARGUMENT"
_NOT_FOUND = "StatusCode.NOT_FOUND"
_QUEUE_FULL = "Exceeds maximum queue size"

Image = bytes | Path
Answer = TypeVar("Answer")


class ReidClient:
    """An asynchronous client of one QAFM server; use it as `async with ReidClient(url) as client`.

    On entering, it waits until the server is ready and holds the two ensembles against the contract.
    `manifest` then says what is served. A request is tried again, after growing random pauses, only while the
    server answers UNAVAILABLE or not at all.

    url: HOST:PORT of the server's gRPC endpoint. connect_timeout_s: wait for the server to be ready.
    request_timeout_s: wait for the answer to one attempt. retry_s: stop trying again after so long.
    Entering raises ServerUnreachable or ContractMismatch.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self.url = url
        self.connect_timeout_s = connect_timeout_s
        self.request_timeout_s = request_timeout_s
        self.retry_s = retry_s
        self._connection: InferenceServerClient | None = None
        self._manifest: dict[str, Any] = {}

    @property
    def manifest(self) -> dict[str, Any]:
        """What is served, as the export wrote it: checkpoint, data, measured differences, versions."""
        return self._manifest

    async def __aenter__(self) -> ReidClient:
        self._connection = InferenceServerClient(self.url, channel_args=_CHANNEL_OPTIONS)
        try:
            await self._wait_until_ready()
            for name in ENSEMBLES:
                check_metadata(MODELS[name], await self._about(name, self._connection.get_model_metadata), self.url)
            response = await self._about(QAFM, self._connection.get_model_config)
            self._manifest = read_manifest(QAFM, response.config, self.url)
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
        connection = self._connected()
        encoded = _read(image)
        model = MODELS[QAFM if alpha is None else QAFM_FIXED_ALPHA]
        inputs = [_input(IMAGE, np.array([[encoded]], dtype=np.object_))]
        if alpha is not None:
            inputs.append(_input(ALPHA, np.array([[alpha]], dtype=np.float32)))
        outputs = [InferRequestedOutput(tensor.name) for tensor in model.outputs]

        async def infer(timeout_s: float) -> Any:
            return await connection.infer(model.name, inputs, outputs=outputs, client_timeout=timeout_s)

        result = await self._answer(infer, model.name, image)
        return Description(
            descriptor=_output(result, DESCRIPTOR),
            alpha=float(_output(result, ALPHA)[0]) if alpha is None else alpha,
            identifiability=float(_output(result, IDENTIFIABILITY)[0]) if alpha is None else None,
            visual=_output(result, VISUAL),
            semantic=_output(result, SEMANTIC),
            attribute_probabilities=_output(result, ATTRIBUTES),
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
        connection, model = self._connected(), MODELS[FUSION]
        columns = {VISUAL: visual, SEMANTIC: semantic, ALPHA: alpha[:, None]}
        descriptors = np.empty((len(visual), *DESCRIPTOR.dims), dtype=np.float32)
        for start in range(0, len(visual), MAX_BATCH_SIZE):
            rows = slice(start, start + MAX_BATCH_SIZE)
            inputs = [_input(tensor, np.ascontiguousarray(columns[tensor][rows])) for tensor in model.inputs]

            async def infer(timeout_s: float, inputs: list[InferInput] = inputs) -> Any:
                outputs = [InferRequestedOutput(DESCRIPTOR.name)]
                return await connection.infer(model.name, inputs, outputs=outputs, client_timeout=timeout_s)

            result = await self._answer(infer, model.name, "vectors")
            descriptors[rows] = result.as_numpy(DESCRIPTOR.name)
        return descriptors

    async def _answer(self, infer: Callable[[float], Awaitable[Any]], model_name: str, subject: Image | str) -> Any:
        try:
            return await self._retried(infer, self.retry_s, self.request_timeout_s)
        except InferenceServerException as error:
            raise self._request_error(error, model_name, subject) from error

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _connected(self) -> InferenceServerClient:
        if self._connection is None:
            raise RuntimeError("ReidClient is not connected; use it as `async with ReidClient(url) as client`")
        return self._connection

    async def _wait_until_ready(self) -> None:
        connection = self._connected()

        async def ready(timeout_s: float) -> None:
            if not await connection.is_server_ready(client_timeout=timeout_s):
                raise InferenceServerException("it is not ready: a model is still loading or failed to", _UNAVAILABLE)

        try:
            await self._retried(ready, self.connect_timeout_s, self.connect_timeout_s)
        except InferenceServerException as error:
            if error.status() in (_UNAVAILABLE, _DEADLINE):
                raise self._unreachable(error, self.connect_timeout_s) from error
            raise ContractMismatch(
                f"what answers at {self.url} is not a Triton gRPC server: {error.message()}. "
                "Expected the gRPC port, 8001 by default"
            ) from error

    async def _about(self, model_name: str, ask: Callable[..., Awaitable[Any]]) -> Any:
        """The server's metadata or configuration of one model."""

        async def attempt(timeout_s: float) -> Any:
            return await ask(model_name, client_timeout=timeout_s)

        try:
            return await self._retried(attempt, self.connect_timeout_s, self.connect_timeout_s)
        except InferenceServerException as error:
            if error.status() == _DEADLINE:
                raise self._unreachable(error, self.connect_timeout_s) from error
            if error.status() == _UNAVAILABLE and not _names(model_name, error):
                raise self._unreachable(error, self.connect_timeout_s) from error
            raise ContractMismatch(
                f"the server at {self.url} does not serve the model {model_name!r}: expected the ensembles "
                f"{' and '.join(ENSEMBLES)}, got: {error.message()}"
            ) from error

    async def _retried(self, attempt: Callable[[float], Awaitable[Answer]], retry_s: float, timeout_s: float) -> Answer:
        """The answer to `attempt(timeout_s)`, made again until the server was unavailable for `retry_s`."""
        give_up: float | None = None
        longest_pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await attempt(timeout_s)
            except InferenceServerException as error:
                if error.status() != _UNAVAILABLE:
                    raise
                # Random, so that many clients of a restarted server do not all come back at once.
                pause_s = random.uniform(longest_pause_s / 2, longest_pause_s)
                now = time.monotonic()
                give_up = now + retry_s if give_up is None else give_up
                if now + pause_s > give_up:
                    raise
            await asyncio.sleep(pause_s)
            longest_pause_s = min(2 * longest_pause_s, _LONGEST_PAUSE_S)

    def _unreachable(self, error: InferenceServerException, waited_s: float) -> ServerUnreachable:
        return ServerUnreachable(
            f"no server is ready at {self.url} after {waited_s:g} s ({error.message()}). Start one with "
            "`python -m server`, or name another with --url HOST:PORT"
        )

    def _request_error(
        self, error: InferenceServerException, model_name: str, subject: Image | str
    ) -> InvalidImage | RequestFailed | ServerUnreachable:
        name = "" if isinstance(subject, bytes) else f"{subject}: "
        reason = error.message().removeprefix(f"in ensemble '{model_name}', ")
        if error.status() == _INVALID:
            return InvalidImage(f"{name}{reason}")
        if error.status() == _UNAVAILABLE and _QUEUE_FULL in reason:
            reason = f"its queue was full for {self.retry_s:g} s; send less at once (--concurrency), or wait longer"
        elif error.status() == _UNAVAILABLE:
            return self._unreachable(error, self.retry_s)
        if error.status() == _DEADLINE:
            reason = f"no answer within {self.request_timeout_s:g} s"
        return RequestFailed(f"{name}the model {model_name!r} at {self.url} failed: {reason}")


def _names(model_name: str, error: InferenceServerException) -> bool:
    """Whether the server itself speaks of the model: gRPC's own UNAVAILABLE knows only addresses."""
    return f"'{model_name}'" in error.message()


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


def _input(tensor: Tensor, values: np.ndarray[Any, Any]) -> InferInput:
    """values: [1, *dims]."""
    entry = InferInput(tensor.name, list(values.shape), tensor.wire_dtype)
    entry.set_data_from_numpy(values)
    return entry


def _output(result: Any, tensor: Tensor) -> Float32:
    """float32 of the tensor's own size: the batch of one is taken away."""
    values: Float32 = result.as_numpy(tensor.name)[0]
    return values
