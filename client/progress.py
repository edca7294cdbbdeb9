"""How long work reports its progress. The program decides what that looks like: `client.commands.progress`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""Called with the name of the work and its number of images; gives a function to call after each image."""


@contextmanager
def quiet(name: str, total: int) -> Iterator[Callable[[], None]]:
    """Says nothing."""
    yield lambda: None
