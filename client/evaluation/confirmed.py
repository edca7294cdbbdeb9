"""Descriptions are kept once the server has confirmed that they are all of one model."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Literal, Protocol

from client.description import Description
from client.reid import ReidClient, Result
from qafm.errors import InvalidImage, QafmError, RequestFailed

OnError = Literal["skip", "fail"]

_CONFIRM_EVERY = 16
_CONFIRM_AFTER_S = 1.0
"""After so many descriptions, or so much time, the server is asked whether it still serves the same model, and they are
kept. A process that is killed loses at most these."""


class Keeper(Protocol):
    def add(self, described: Sequence[tuple[bytes, Description]]) -> None:
        """Keep descriptions of images, by their keys."""


async def keep(
    results: AsyncGenerator[tuple[Path, Result], None],
    rows: Sequence[int],
    keys: Sequence[bytes],
    pending: Unconfirmed,
    on_error: OnError,
    step: Callable[[], None],
) -> dict[int, InvalidImage | RequestFailed]:
    """Keep the descriptions of some images as they come, in the order of `rows`. Returns what failed, by row.

    keys: of all images. on_error: "skip" goes on after an image that fails, "fail" raises its error. step: is called
    after each.
    """
    failed: dict[int, InvalidImage | RequestFailed] = {}
    numbers = iter(rows)
    async with aclosing(results):
        try:
            async for _, result in results:
                row = next(numbers)
                if isinstance(result, Description):
                    await pending.add(keys[row], result)
                elif on_error == "fail":
                    raise result
                else:
                    failed[row] = result
                step()
        except BaseException:
            # What ends this matters more than that the last few results can no longer be confirmed.
            with suppress(QafmError):
                await pending.keep(retry_s=0)
            raise
        await pending.keep()
    return failed


class Unconfirmed:
    """Descriptions that wait for the server to confirm that they are all of one model. keeper: takes them then."""

    def __init__(self, client: ReidClient, keeper: Keeper) -> None:
        self._client = client
        self._keeper = keeper
        self._described: list[tuple[bytes, Description]] = []
        self._since = time.monotonic()

    async def add(self, key: bytes, description: Description) -> None:
        self._described.append((key, description))
        if len(self._described) >= _CONFIRM_EVERY or time.monotonic() - self._since > _CONFIRM_AFTER_S:
            await self.keep()

    async def keep(self, retry_s: float | None = None) -> None:
        """Raises ModelChanged, and keeps none of them, where the server serves another model now."""
        described, self._described = self._described, []
        if described:
            await self._client.confirm_model(retry_s)
            self._keeper.add(described)
        self._since = time.monotonic()
