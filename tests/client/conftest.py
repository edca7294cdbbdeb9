"""A small gRPC server that speaks Triton's protocol, for what a real one does not do on request."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
import trustme
from tritonclient.grpc import service_pb2, service_pb2_grpc

from client.commands.app import main
from qafm.contract import ENSEMBLES, FUSION, MANIFEST_PARAMETER
from tests.support.pictures import PICTURES
from tests.support.served import with_attributes


@dataclass
class PeerServer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers a request whose image is b"N ..." with a descriptor that is one at place N, after `delay_s`.

    Its attributes are what a test sets before connecting; `most_in_flight` is what it saw.
    """

    ready: bool = True
    models: dict = field(default_factory=lambda: {name: with_attributes(name) for name in ENSEMBLES})
    manifest: str | None = '{"checkpoint": "abc"}'
    delay_s: float = 0.0
    unavailable: int = 0
    """How many requests are still to be answered UNAVAILABLE."""
    fail_late: int = 0
    """How many requests are still to be answered UNAVAILABLE after their `delay_s`."""
    requests: list[str] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of every call, in order."""
    refuse: bool = False
    """Answer every call with UNAUTHENTICATED."""
    refuse_after: int | None = None
    """Answer so many requests, and every later one with PERMISSION_DENIED."""
    lost: int = 0
    """How many requests are still to be answered as by a model whose process has died."""
    slow: bytes | None = None
    """Images that begin so are answered after a second."""
    spoil: Callable[[service_pb2.ModelInferResponse], None] | None = None
    """Changes each answer."""
    answered: int = 0
    """How many requests were answered to their end, whether or not anybody waited."""
    not_finite: str | None = None
    """The output that has a value which is not finite."""
    late_configs: int = 0
    """How many configurations are still to be answered too late."""
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""

    async def called(self, context):
        self.headers.append(dict(context.invocation_metadata()))
        if self.refuse:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    async def ServerReady(self, request, context):  # noqa: N802, the protocol's name
        await self.called(context)
        return service_pb2.ServerReadyResponse(ready=self.ready)

    async def ModelMetadata(self, request, context):  # noqa: N802
        await self.called(context)
        model = self.models.get(request.name)
        if model is None:
            message = f"Request for unknown model: '{request.name}' is not found"
            await context.abort(grpc.StatusCode.NOT_FOUND, message)
        tensor = service_pb2.ModelMetadataResponse.TensorMetadata
        return service_pb2.ModelMetadataResponse(
            name=model.name,
            inputs=[
                tensor(name=entry.name, datatype=entry.wire_dtype, shape=(-1, *entry.dims)) for entry in model.inputs
            ],
            outputs=[
                tensor(name=entry.name, datatype=entry.wire_dtype, shape=(-1, *entry.dims))
                for entry in reversed(model.outputs)
            ],
        )

    async def ModelConfig(self, request, context):  # noqa: N802
        await self.called(context)
        if self.late_configs:
            self.late_configs -= 1
            await asyncio.sleep(1)
        response = service_pb2.ModelConfigResponse()
        if self.manifest is not None:
            response.config.parameters[MANIFEST_PARAMETER].string_value = self.manifest
        return response

    async def ModelInfer(self, request, context):  # noqa: N802
        self.requests.append(request.model_name)
        self.request_ids.append(request.id)
        await self.called(context)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.unavailable:
                self.unavailable -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
            if self.refuse_after is not None and len(self.requests) > self.refuse_after:
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
            if self.lost:
                self.lost -= 1
                message = "Failed to process the request(s), message: Stub process 'iqa_0_0' is not healthy."
                await context.abort(grpc.StatusCode.INTERNAL, message)
            await asyncio.sleep(self.delay_s)
            self.answered += 1
            if self.fail_late:
                self.fail_late -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            if request.model_name == FUSION:
                return self._fused(request)
            image = request.raw_input_contents[0][4:]
            if self.slow and image.startswith(self.slow):
                await asyncio.sleep(1)
            if image.startswith(b"bad"):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the image is damaged")
            if image.startswith(b"broken"):
                await context.abort(grpc.StatusCode.INTERNAL, "a stub has died")
            return self._answer(request, int(image.split()[0]))
        finally:
            self.in_flight -= 1

    def _answer(self, request, place):
        response = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
        asked = {entry.name for entry in request.outputs}
        for tensor in self.models[request.model_name].outputs:
            values = np.full((1, *tensor.dims), 0.75, dtype=np.float32)
            if tensor.name == "DESCRIPTOR":
                values[:] = np.arange(tensor.dims[0]) == place
            if tensor.name not in asked:
                continue
            if tensor.name == self.not_finite:
                values[0, 0] = np.nan
            response.outputs.add(name=tensor.name, datatype="FP32", shape=values.shape)
            response.raw_output_contents.append(values.tobytes())
        if self.spoil:
            self.spoil(response)
        return response

    def _fused(self, request):
        """A descriptor that is one at the place that the first number of VISUAL names."""
        places = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(-1, 1024)[:, 0].astype(int)
        values = np.eye(1000, dtype=np.float32)[places]
        response = service_pb2.ModelInferResponse(model_name=FUSION, id=request.id)
        response.outputs.add(name="DESCRIPTOR", datatype="FP32", shape=values.shape)
        response.raw_output_contents.append(values.tobytes())
        return response


@contextmanager
def running(servicer: PeerServer, credentials: grpc.ServerCredentials | None = None) -> Iterator[PeerServer]:
    """The server in a thread of its own, so that a command run in the test can reach it."""
    loop = asyncio.new_event_loop()

    async def start():
        server = grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
        if credentials:
            servicer.url = f"localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
        else:
            servicer.url = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        return server

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    yield servicer
    asyncio.run_coroutine_threadsafe(server.stop(0), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def peer() -> Iterator[PeerServer]:
    with running(PeerServer()) as servicer:
        yield servicer


@dataclass(frozen=True)
class Certificates:
    """PEM files: who vouches for the server and the client, and what the client has to show."""

    root: Path
    chain: Path
    key: Path


@pytest.fixture
def certificates(tmp_path) -> Certificates:
    return Certificates(tmp_path / "root.pem", tmp_path / "chain.pem", tmp_path / "key.pem")


@pytest.fixture
def guarded_peer(certificates) -> Iterator[PeerServer]:
    """A peer that speaks TLS only, and only to clients that show a certificate."""
    authority = trustme.CA()
    own, theirs = authority.issue_cert("localhost"), authority.issue_cert("client.test")
    authority.cert_pem.write_to_path(certificates.root)
    theirs.private_key_pem.write_to_path(certificates.key)
    theirs.cert_chain_pems[0].write_to_path(certificates.chain)
    credentials = grpc.ssl_server_credentials(
        [(own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())], authority.cert_pem.bytes(), True
    )
    with running(PeerServer(), credentials) as servicer:
        yield servicer


@pytest.fixture
def dataset(tmp_path):
    """Pictures that the peer has descriptors for."""
    for name, picture in PICTURES.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(picture)
    return tmp_path / "data"


@pytest.fixture
def closed_url() -> str:
    """An address at which nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{reserved.getsockname()[1]}"


@pytest.fixture
def client(monkeypatch, capsys, tmp_path_factory):
    """Runs the command in this process: (exit code, standard output, standard error). It knows no picture yet."""
    monkeypatch.setenv("QAFM_CACHE", str(tmp_path_factory.mktemp("cache")))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["client", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return ended.value.code or 0, output.out, output.err

    return run
