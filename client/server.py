"""One server: asking it, asking again while it is away, and saying in a sentence what went wrong."""

from __future__ import annotations

import asyncio
import random
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from client.transport import Arrays, Transport, TransportError
from qafm.contract import ENSEMBLES
from qafm.errors import ContractMismatch, InvalidImage, RequestFailed, RequestRefused, ServerUnreachable

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_SILENT_MOST = 16
"""After so many requests in a row without an answer in time, nobody answers."""
_QUEUE_FULL = "Exceeds maximum queue size"

_NO_GRPC = {
    r"Failed parsing HTTP/2|http1\.x server": "it speaks HTTP, as on port 8000 of a server",
    r"WRONG_VERSION_NUMBER": "it speaks no TLS; leave --tls and the certificates away",
}
"""What gRPC says where something else than it is spoken, and what that means."""

Answer = TypeVar("Answer")


class Server:
    """Requests over one transport. They are repeated only while the server answers UNAVAILABLE, or not at all.

    url: for what is said to people. connect_timeout_s, request_timeout_s, retry_s: as those of a ReidClient.
    `outages` counts the UNAVAILABLE answers so far: after one, another server may stand at the address.
    """

    def __init__(
        self, transport: Transport, url: str, *, connect_timeout_s: float, request_timeout_s: float, retry_s: float
    ) -> None:
        self.outages = 0
        self._unanswered = 0
        self._transport = transport
        self._url = url
        self._connect_timeout_s = connect_timeout_s
        self._request_timeout_s = request_timeout_s
        self._retry_s = retry_s

    async def close(self) -> None:
        """End the connection."""
        await self._transport.close()

    async def wait_until_ready(self) -> None:
        """Return once all models can be asked. Raises ServerUnreachable, RequestFailed or ContractMismatch."""

        async def ready(timeout_s: float) -> None:
            try:
                if await self._transport.ready(timeout_s):
                    return
            except TransportError as error:
                # Something answers, and always will so: it is not waited for.
                for pattern, words in _NO_GRPC.items():
                    if re.search(pattern, error.message):
                        raise TransportError("other", words) from error
                raise
            raise TransportError("unavailable", "it is not ready: a model is still loading or failed to")

        try:
            await self._retried(ready, self._connect_timeout_s, self._connect_timeout_s)
        except TransportError as error:
            if error.status in ("unavailable", "deadline"):
                raise self._unreachable(error, self._connect_timeout_s) from error
            if error.status == "refused":
                raise self._refused(error) from error
            raise ContractMismatch(
                f"what answers at {self._url} is not a Triton gRPC server: {error.message}. "
                "Expected the gRPC port, 8001 by default, and TLS on both sides or on none",
                url=self._url,
            ) from error

    async def metadata(self, model: str) -> Any:
        """Triton's ModelMetadataResponse of a model. Raises ContractMismatch where the server does not serve it."""
        return await self._about(model, self._transport.metadata, self._connect_timeout_s)

    async def config(self, model: str) -> Any:
        """Triton's ModelConfig of a model. Raises ContractMismatch where the server does not serve it."""
        return await self._about(model, self._transport.config, self._connect_timeout_s)

    async def config_again(self, model: str, retry_s: float) -> Any:
        """The same from a server that is at work: an answer that does not come in time is asked for again."""

        async def ask(model: str, timeout_s: float) -> Any:
            try:
                return await self._transport.config(model, timeout_s)
            except TransportError as error:
                if error.status != "deadline":
                    raise
                raise TransportError("unavailable", error.message) from error

        return await self._about(model, ask, retry_s)

    async def infer(self, model: str, inputs: Arrays, outputs: list[str], subject: str | None) -> Arrays:
        """Some outputs of a model. subject: what an error speaks of, such as the path of an image.

        Raises InvalidImage, RequestFailed or ServerUnreachable.
        """
        request_id = uuid.uuid4().hex

        async def attempt(timeout_s: float) -> Arrays:
            return await self._transport.infer(model, inputs, outputs, request_id, timeout_s)

        try:
            answer = await self._retried(attempt, self._retry_s, self._request_timeout_s)
        except TransportError as error:
            self._unanswered = self._unanswered + 1 if error.status == "deadline" else 0
            raise self._request_error(error, model, request_id, subject) from error
        self._unanswered = 0
        return answer

    def failure(self, model: str, reason: str, subject: str | None, **asked: str) -> RequestFailed:
        """The error for a model that failed on `subject`."""
        return RequestFailed(
            f"{_prefix(subject)}the model {model!r} at {self._url} failed: {reason}",
            **{"url": self._url, "model": model, **asked},
        )

    async def _about(self, model: str, ask: Callable[[str, float], Awaitable[Any]], retry_s: float) -> Any:
        try:
            return await self._retried(partial(ask, model), retry_s, self._connect_timeout_s)
        except TransportError as error:
            if error.status == "refused":
                raise self._refused(error, model=model) from error
            if error.status == "deadline":
                raise self._unreachable(error, self._connect_timeout_s) from error
            if error.status == "unavailable" and not _names(model, error):
                raise self._unreachable(error, retry_s) from error
            raise ContractMismatch(
                f"the server at {self._url} does not serve the model {model!r}: expected the ensembles "
                f"{' and '.join(ENSEMBLES)}, got: {error.message}",
                url=self._url,
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
                self.outages += 1
                # Random, so that many clients of a restarted server do not all come back at once.
                pause_s = random.uniform(longest_pause_s / 2, longest_pause_s)
                now = time.monotonic()
                give_up = now + retry_s if give_up is None else give_up
                if now + pause_s > give_up:
                    raise
            await asyncio.sleep(pause_s)
            longest_pause_s = min(2 * longest_pause_s, _LONGEST_PAUSE_S)

    def _refused(self, error: TransportError, **asked: str) -> RequestRefused:
        return RequestRefused(
            f"the server at {self._url} refuses this client: {error.message}. Check its headers and its certificate",
            **{"url": self._url, **asked},
        )

    def _unreachable(self, error: TransportError, waited_s: float, **asked: str) -> ServerUnreachable:
        return ServerUnreachable(
            f"no server is ready at {self._url} after {waited_s:g} s ({error.message}). Start one with "
            "`python -m server`, or name another with --url HOST:PORT",
            **{"url": self._url, **asked},
        )

    def _request_error(
        self, error: TransportError, model: str, request_id: str, subject: str | None
    ) -> InvalidImage | RequestFailed | ServerUnreachable:
        # The server's message begins with what the error says anyway.
        reason = error.message.removeprefix(f"[request id: {request_id}] ").removeprefix(f"in ensemble '{model}', ")
        asked = {"url": self._url, "model": model, "request_id": request_id}
        if error.status == "refused":
            return self._refused(error, **asked)
        if error.status == "invalid":
            return InvalidImage(f"{_prefix(subject)}{reason}", **asked)
        if error.status == "unavailable" and _QUEUE_FULL in reason:
            reason = f"its queue was full for {self._retry_s:g} s; send less at once (--concurrency), or wait longer"
        elif error.status == "unavailable":
            return self._unreachable(error, self._retry_s, **asked)
        if error.status == "deadline":
            reason = f"no answer within {self._request_timeout_s:g} s"
            if self._unanswered >= _SILENT_MOST:
                return ServerUnreachable(
                    f"the server at {self._url} has answered none of {self._unanswered} requests in a row within "
                    f"{self._request_timeout_s:g} s. Look at its log, start it again, or wait longer "
                    "(--request-timeout)",
                    **asked,
                )
        return self.failure(model, reason, subject, request_id=request_id)


def _prefix(subject: str | None) -> str:
    return f"{subject}: " if subject else ""


def _names(model: str, error: TransportError) -> bool:
    """Whether the server itself speaks of the model: gRPC's own UNAVAILABLE knows only addresses."""
    return f"'{model}'" in error.message
