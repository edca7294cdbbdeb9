"""The client library: one connection to a QAFM server, over asynchronous gRPC."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

import numpy as np

from client.answers import complaint
from client.defaults import CONCURRENCY, CONNECT_TIMEOUT_S, REQUEST_TIMEOUT_S, RETRY_S, URL
from client.description import Description, Float32
from client.ensembles import ensemble_for, require_two_branches
from client.handshake import Served, read_manifest, shake_hands
from client.images import Image, read_image, subject_of
from client.server import Server
from client.transport import Arrays, GrpcTransport, Tls, Transport
from qafm.contract import (
    ALPHA,
    DESCRIPTOR,
    FUSION,
    IMAGE,
    MAX_BATCH_SIZE,
    QAFM,
    SEMANTIC,
    VISUAL,
)
from qafm.errors import ContractMismatch, InvalidImage, ModelChanged, RequestFailed, RequestRefused
from qafm.manifest import Manifest

_LOOKAHEAD = 4
"""Results wait for their turn in input order: this many times `concurrency` may be ahead of the consumer."""

AnyImage = TypeVar("AnyImage", bound=Image)
Known = TypeVar("Known")
Result = Description | InvalidImage | RequestFailed


class ReidClient:
    """An asynchronous client of one QAFM server; use it as `async with ReidClient(url) as client`.

    On entering, it waits until the server is ready and compares its ensembles with the contract. `manifest` then says
    what is served, and `lacks` which optional ensembles and outputs are not. A request is tried again, after growing
    random pauses, only while the server answers UNAVAILABLE or not at all; after that, and in `confirm_model`, the
    manifest is read again: a server that came back with another model raises ModelChanged, and nothing is mixed.

    url: HOST:PORT of the server's gRPC endpoint. connect_timeout_s: wait for the server to be ready.
    request_timeout_s: wait for the answer to one attempt. retry_s: stop trying again after so long. tls: encrypt, and
    trust as it says. headers: sent with every request, such as {"authorization": "Bearer ..."}. transport: speak
    through this instead, such as a `client.testing.MockTransport`.
    Entering raises ServerUnreachable, ContractMismatch, RequestFailed where the server refuses this client, or
    InvalidSettings for what cannot be sent. Every error has `url`, `model` and `request_id` where they are known; the
    server's log has the same.
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
        self._server: Server | None = None
        self._served: Served | None = None
        self._asked: set[str] = set()
        self._confirmed_outages = 0
        self._confirming = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}{'' if self._served else ', not connected'}>"

    @property
    def manifest(self) -> Manifest:
        """What is served, as the export wrote it: checkpoint, data, measured differences, versions, fingerprints."""
        return self._known().manifest

    @property
    def lacks(self) -> tuple[str, ...]:
        """Optional ensembles, and optional outputs of QAFM, of the contract that this server does not have."""
        return self._known().lacks

    def outputs(self, ensemble: str) -> tuple[str, ...]:
        """The names of the outputs that the server gives. Raises ContractMismatch where it lacks the ensemble."""
        outputs = self._known().outputs
        if ensemble not in outputs:
            raise ContractMismatch(
                f"the server at {self.url} does not serve {ensemble!r}; it serves {', '.join(outputs)}. "
                "Ask for one of these, or export and serve a repository that has it",
                url=self.url,
                model=ensemble,
            )
        return outputs[ensemble]

    async def __aenter__(self) -> ReidClient:
        self._server = server = Server(
            self._given_transport or GrpcTransport(self.url, tls=self._tls, headers=self._headers),
            self.url,
            connect_timeout_s=self.connect_timeout_s,
            request_timeout_s=self.request_timeout_s,
            retry_s=self.retry_s,
        )
        try:
            await server.wait_until_ready()
            self._served = await shake_hands(server, self.url)
            self._confirmed_outages = server.outages
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def confirm_model(self, retry_s: float | None = None) -> None:
        """Ask the server whether it still serves what it did when this client connected.

        gRPC reconnects unseen: call it before results are written somewhere. retry_s: how long to try again while it is
        away, if not as long as with requests. Raises ModelChanged where it serves something else, ServerUnreachable
        where it is gone.
        """
        server = self._connected()
        async with self._confirming:
            outages = server.outages
            config = await server.config_again(QAFM, self.retry_s if retry_s is None else retry_s)
            before, now = self.manifest.fingerprints, read_manifest(QAFM, config, self.url).fingerprints
            # What nobody asked may change.
            for name in sorted(self._asked or {QAFM}):
                if now.get(name) != before[name]:
                    raise ModelChanged(
                        f"the server at {self.url} has come back with another model: first it served "
                        f"{before[name]}/{name}, now {now.get(name, 'nothing as')}/{name}. Results of the two do not "
                        "mix, so this ends here, and what was kept of the first stays. Serve it again to go on, or "
                        "begin anew with the other",
                        url=self.url,
                        model=name,
                    )
            self._confirmed_outages = outages

    async def describe(self, image: Image, alpha: float | None = None, *, ensemble: str = QAFM) -> Description:
        """Describe one image: the encoded bytes of a JPEG, PNG, WebP or BMP file, or the path of one.

        alpha: a weight in [0,1] for the visual branch, instead of the one that the image's quality gives. It
        saves the quality network, nine tenths of the work. ensemble: which one weighs by quality, where the server has
        several. Raises InvalidImage when the image cannot be read or described, RequestFailed when the server answers
        with another error, not in time, or with what is not in the contract, ServerUnreachable when there is no server
        any more, ModelChanged when another model has taken its place, ContractMismatch for an ensemble that it lacks.
        """
        ensemble = ensemble_for(alpha, ensemble)
        outputs, model = self.outputs(ensemble), self.manifest.model(ensemble, alpha)
        inputs = {IMAGE.name: np.array([[read_image(image)]], dtype=np.object_)}
        if alpha is not None:
            inputs[ALPHA.name] = np.array([[alpha]], dtype=np.float32)
        self._asked.add(ensemble)
        answer = await self._infer(ensemble, inputs, outputs, subject_of(image))
        return Description.of(answer, model, alpha, self.manifest.taught)

    @overload
    def describe_many(
        self,
        images: Iterable[AnyImage],
        alpha: float | None = None,
        *,
        ensemble: str = QAFM,
        concurrency: int = CONCURRENCY,
        return_errors: Literal[False] = False,
    ) -> AsyncGenerator[tuple[AnyImage, Description], None]: ...

    @overload
    def describe_many(
        self,
        images: Iterable[AnyImage],
        alpha: float | None = None,
        *,
        ensemble: str = QAFM,
        concurrency: int = CONCURRENCY,
        return_errors: Literal[True],
    ) -> AsyncGenerator[tuple[AnyImage, Result], None]: ...

    async def describe_many(
        self,
        images: Iterable[AnyImage],
        alpha: float | None = None,
        *,
        ensemble: str = QAFM,
        concurrency: int = CONCURRENCY,
        return_errors: bool = False,
    ) -> AsyncGenerator[tuple[AnyImage, Result], None]:
        """Describe many images, one request each, and yield (image, result) in the order of the images.

        At most `concurrency` requests are in flight. Images are taken from `images`, and files read, only as
        results are consumed: a slow consumer slows the requests, and memory stays bounded. With return_errors
        the result of an image that fails is its InvalidImage or RequestFailed, instead of raising it and ending the
        iteration; RequestRefused, which all others would get too, ends it. Raises otherwise as `describe` does.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; expected at least 1")
        slots = asyncio.Semaphore(concurrency)

        async def described(image: AnyImage) -> tuple[AnyImage, Result]:
            async with slots:
                try:
                    return image, await self.describe(image, alpha, ensemble=ensemble)
                except (InvalidImage, RequestFailed) as error:
                    if return_errors and not isinstance(error, RequestRefused):
                        return image, error
                    raise

        pending: deque[asyncio.Task[tuple[AnyImage, Result]]] = deque()
        try:
            for image in images:
                pending.append(asyncio.create_task(described(image)))
                if len(pending) >= _LOOKAHEAD * concurrency:
                    yield await pending.popleft()
            while pending:
                yield await pending.popleft()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def fuse(
        self, visual: Float32, semantic: Float32, alpha: Float32, *, concurrency: int = CONCURRENCY
    ) -> Float32:
        """What the server's fusion makes of vectors that it gave before, with other weights. Sends no image.

        visual, semantic: float32 [N,1024], as `describe` gives them. alpha: float32 [N], in [0,1]. concurrency: how
        many requests, of up to eight vectors each, are in flight at once. Returns float32 [N,1000], of length 1. Raises
        as `describe` does, and ContractMismatch of a model without attributes, which has one branch alone.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; expected at least 1")
        require_two_branches(self.outputs(QAFM), self.url)
        # Fusion is a part of every ensemble: whichever was asked for the vectors would change with it.
        columns = {
            name: np.asarray(values, np.float32)
            for name, values in ((VISUAL.name, visual), (SEMANTIC.name, semantic), (ALPHA.name, alpha[:, None]))
        }
        descriptors = np.empty((len(visual), *DESCRIPTOR.dims), dtype=np.float32)
        starts = iter(range(0, len(visual), MAX_BATCH_SIZE))

        async def fuse_in_turn() -> None:
            for start in starts:
                rows = slice(start, start + MAX_BATCH_SIZE)
                inputs = {name: column[rows] for name, column in columns.items()}
                answer = await self._infer(FUSION, inputs, (DESCRIPTOR.name,), "vectors")
                descriptors[rows] = answer[DESCRIPTOR.name]

        await _all_or_first_error([fuse_in_turn() for _ in range(concurrency)])
        return descriptors

    async def _infer(self, model: str, inputs: Arrays, outputs: tuple[str, ...], subject: str | None) -> Arrays:
        server = self._connected()
        answer = await server.infer(model, inputs, list(outputs), subject)
        if server.outages != self._confirmed_outages:
            await self.confirm_model()
        if wrong := complaint(model, answer, outputs, len(next(iter(inputs.values())))):
            raise server.failure(model, f"{wrong}; nothing of this answer is used", subject)
        return answer

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    def _connected(self) -> Server:
        return _entered(self._server)

    def _known(self) -> Served:
        return _entered(self._served)


def _entered(value: Known | None) -> Known:
    if value is None:
        raise RuntimeError("ReidClient is not connected; use it as `async with ReidClient(url) as client`")
    return value


async def _all_or_first_error(works: list[Coroutine[Any, Any, None]]) -> None:
    """Run them side by side; the first error ends all of them."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
