"""What a ReidClient speaks through: gRPC to a Triton server, or whatever else a test puts in its place."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import grpc  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput  # type: ignore[import-untyped]
from tritonclient.grpc.aio import InferenceServerClient  # type: ignore[import-untyped]
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from client.address import check_address
from qafm.contract import FIRST, MODELS, ONE_LOOK
from qafm.errors import InvalidSettings
from qafm.images import MAX_BYTES

Status = Literal["unavailable", "deadline", "invalid", "refused", "other"]
Arrays = Mapping[str, NDArray[Any]]
"""Tensors by name, each [N, *dims]; an image is an object of bytes."""

_STATUS: dict[str, Status] = {
    "StatusCode.UNAVAILABLE": "unavailable",
    "StatusCode.DEADLINE_EXCEEDED": "deadline",
    "StatusCode.INVALID_ARGUMENT": "invalid",
    "StatusCode.UNAUTHENTICATED": "refused",
    "StatusCode.PERMISSION_DENIED": "refused",
}
_LOST_PROCESS = re.compile(r"[Ss]tub process .*is (not healthy|unhealthy)")
LINGER_S = 10.0
"""How much longer a request is left with the server than its answer is waited for."""
_MESSAGE_OVERHEAD_BYTES = 1024 * 1024
_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", MAX_BYTES + _MESSAGE_OVERHEAD_BYTES),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),  # a description has 13 kB, a manifest tens of kB
    # By default the pause between attempts to connect doubles up to two minutes. So a restarted server would be noticed
    # late.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class TransportError(Exception):
    """An answer that is an error. status: what a client can do about it. message: the server's own words."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Transport(Protocol):
    """One connection. Every method raises TransportError, and waits for `timeout_s` seconds at most."""

    async def ready(self, timeout_s: float) -> bool:
        """Whether all models can be asked."""

    async def metadata(self, model: str, timeout_s: float) -> Any:
        """Triton's ModelMetadataResponse of a model."""

    async def config(self, model: str, timeout_s: float) -> Any:
        """Triton's ModelConfig of a model."""

    async def infer(self, model: str, inputs: Arrays, outputs: list[str], request_id: str, timeout_s: float) -> Arrays:
        """The outputs that are asked for."""

    async def close(self) -> None:
        """End the connection."""


@dataclass(frozen=True)
class Tls:
    """How to trust a server, and be trusted. Files are PEM.

    root_certificates: who may vouch for the server; where None, gRPC's own list, or the file that the environment's
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names. private_key, certificate_chain: of this client, where the server asks for
    them. Raises InvalidSettings for one of these two without the other.
    """

    root_certificates: Path | None = None
    private_key: Path | None = None
    certificate_chain: Path | None = None

    def __post_init__(self) -> None:
        # gRPC ends the process where it gets only one.
        if (self.private_key is None) != (self.certificate_chain is None):
            raise InvalidSettings(
                f"a client's certificate is its chain and its private key: expected both or neither, got only "
                f"{self.private_key or self.certificate_chain}"
            )

    def credentials(self) -> grpc.ChannelCredentials:
        """The same for gRPC. Raises InvalidSettings where a file cannot be read or is empty."""
        return grpc.ssl_channel_credentials(
            _content(self.root_certificates), _content(self.private_key), _content(self.certificate_chain)
        )


class GrpcTransport:
    """A connection to the gRPC endpoint at `url`, HOST:PORT. headers go with every request.

    Raises InvalidSettings where that is no address, a file of `tls` cannot be read or a header is not valid.
    """

    def __init__(self, url: str, *, tls: Tls | None = None, headers: Mapping[str, str] | None = None) -> None:
        check_address(url)
        self._headers = {name.lower(): value for name, value in (headers or {}).items()}  # gRPC takes no capitals
        for name, value in self._headers.items():
            if not (re.fullmatch(r"[0-9a-z_.-]+", name) and re.fullmatch(r"[ -~]*", value)):
                raise InvalidSettings(
                    f"the header {name!r} cannot be sent: expected letters, digits, '_', '.' and '-' for its name, and "
                    "printable ASCII for its value"
                )
        self._calls: set[asyncio.Task[Any]] = set()
        self._connection = InferenceServerClient(
            url, creds=tls.credentials() if tls else None, channel_args=_CHANNEL_OPTIONS
        )

    async def ready(self, timeout_s: float) -> bool:
        return bool(await self._ask(self._connection.is_server_ready, client_timeout=timeout_s))

    async def metadata(self, model: str, timeout_s: float) -> Any:
        return await self._ask(self._connection.get_model_metadata, model, client_timeout=timeout_s)

    async def config(self, model: str, timeout_s: float) -> Any:
        return (await self._ask(self._connection.get_model_config, model, client_timeout=timeout_s)).config

    async def infer(self, model: str, inputs: Arrays, outputs: list[str], request_id: str, timeout_s: float) -> Arrays:
        entries = []
        for tensor in MODELS[model].inputs:
            values = inputs[tensor.name]
            entry = InferInput(tensor.name, list(values.shape), tensor.wire_dtype)
            entry.set_data_from_numpy(np.ascontiguousarray(values))
            entries.append(entry)
        call = self._ask(
            self._connection.infer,
            model,
            entries,
            outputs=[InferRequestedOutput(name) for name in outputs],
            request_id=request_id,
            priority=FIRST if model in ONE_LOOK else 0,
            client_timeout=timeout_s + LINGER_S,
        )
        result = await self._finished(call, timeout_s)
        if (answered := result.get_response().id) != request_id:
            raise TransportError("other", f"the answer is to another request, {answered[:40]!r}")
        try:
            return {name: values for name in outputs if (values := result.as_numpy(name)) is not None}
        except Exception as error:  # of a size that does not fit its shape, of a type that there is not ...
            raise TransportError("other", f"the answer cannot be read: {error}") from error

    async def close(self) -> None:
        """Where requests are still with the server, wait for its answers, a while."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=LINGER_S)
        await self._connection.close()

    async def _finished(self, call: Coroutine[Any, Any, Any], timeout_s: float) -> Any:
        """What a call returns. Whoever waits may give up, or be told to: the call itself goes on.

        Triton before 24.11 dies now and then of a request that is cancelled (server#7368).
        """
        task = asyncio.ensure_future(call)
        self._calls.add(task)
        task.add_done_callback(self._forget)
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
        if not done:
            raise TransportError("deadline", f"no answer within {timeout_s:g} s")
        return task.result()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # or Python complains that nobody asked

    async def _ask(self, method: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return await method(*arguments, headers=self._headers, **named)
        except InferenceServerException as error:
            status = _STATUS.get(error.status(), "other")
            # A model has lost its process: whoever looks after the server starts it again.
            lost = status == "other" and _LOST_PROCESS.search(error.message())
            raise TransportError("unavailable" if lost else status, error.message()) from error


def _content(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidSettings(f"{path}: the certificate or key cannot be read: {error.strerror}") from error
    if not content:
        raise InvalidSettings(f"{path}: the file is empty; expected a certificate or key in PEM")
    return content
