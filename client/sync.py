"""The client for programs that do without `async`: scripts, notebooks, trackers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

from client.defaults import CONCURRENCY, URL
from client.description import Description, Float32
from client.images import Image
from client.reid import AnyImage, ReidClient, Result
from qafm.contract import QAFM
from qafm.manifest import Manifest

Answer = TypeVar("Answer")


class SyncReidClient:
    """`ReidClient` without `async`; use it as `with SyncReidClient(url) as client`.

    Its work is done by a ReidClient in a thread of its own, so it can be used where an event loop runs already, as in a
    notebook. url, options: as ReidClient takes them. Every method is that of ReidClient, and raises what that raises.
    For one thread at a time.
    """

    def __init__(self, url: str = URL, **options: Any) -> None:
        self._client = ReidClient(url, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<Sync{repr(self._client)[1:]}"

    @property
    def url(self) -> str:
        return self._client.url

    @property
    def manifest(self) -> Manifest:
        """As `ReidClient.manifest`."""
        return self._client.manifest

    @property
    def lacks(self) -> tuple[str, ...]:
        """As `ReidClient.lacks`."""
        return self._client.lacks

    def outputs(self, ensemble: str) -> tuple[str, ...]:
        """As `ReidClient.outputs`."""
        return self._client.outputs(ensemble)

    def __enter__(self) -> SyncReidClient:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="SyncReidClient", daemon=True)
        self._thread.start()
        try:
            self._done(self._client.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._done(self._client.__aexit__(kind, error, trace))
        finally:
            self._stop()

    def confirm_model(self, retry_s: float | None = None) -> None:
        """As `ReidClient.confirm_model`."""
        self._done(self._client.confirm_model(retry_s))

    def describe(self, image: Image, alpha: float | None = None, *, ensemble: str = QAFM) -> Description:
        """As `ReidClient.describe`."""
        return self._done(self._client.describe(image, alpha, ensemble=ensemble))

    @overload
    def describe_many(
        self,
        images: Iterable[AnyImage],
        alpha: float | None = None,
        *,
        ensemble: str = QAFM,
        concurrency: int = CONCURRENCY,
        return_errors: Literal[False] = False,
    ) -> Iterator[tuple[AnyImage, Description]]: ...

    @overload
    def describe_many(
        self,
        images: Iterable[AnyImage],
        alpha: float | None = None,
        *,
        ensemble: str = QAFM,
        concurrency: int = CONCURRENCY,
        return_errors: Literal[True],
    ) -> Iterator[tuple[AnyImage, Result]]: ...

    def describe_many(
        self,
        images: Iterable[AnyImage],
        alpha: float | None = None,
        *,
        ensemble: str = QAFM,
        concurrency: int = CONCURRENCY,
        return_errors: bool = False,
    ) -> Iterator[tuple[AnyImage, Result]]:
        """As `ReidClient.describe_many`: requests are sent ahead of what is consumed, and no further than that says."""
        results = self._client.describe_many(
            images,
            alpha,
            ensemble=ensemble,
            concurrency=concurrency,
            return_errors=return_errors,  # type: ignore[call-overload]
        )

        async def following() -> tuple[AnyImage, Result] | None:
            return await anext(results, None)

        try:
            while (pair := self._done(following())) is not None:
                yield pair
        finally:
            self._done(_closed(results))

    def fuse(self, visual: Float32, semantic: Float32, alpha: Float32, *, concurrency: int = CONCURRENCY) -> Float32:
        """As `ReidClient.fuse`."""
        return self._done(self._client.fuse(visual, semantic, alpha, concurrency=concurrency))

    def _done(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """What becomes of work in the loop's thread. Whoever gives up waiting, as by Ctrl-C, ends it."""
        if self._loop is None or self._loop.is_closed():
            work.close()
            raise RuntimeError("SyncReidClient is not connected; use it as `with SyncReidClient(url) as client`")
        future: Future[Answer] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _stop(self) -> None:
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _closed(results: AsyncGenerator[Any, None]) -> None:
    await results.aclose()
