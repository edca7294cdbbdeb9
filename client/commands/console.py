"""Where the `client` command prints: results on standard output, everything else on standard error.

Rich is loaded with the first line that is printed: `--help` does without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@cache
def output() -> Console:
    """For results."""
    from client.commands.safe_console import SafeConsole

    # In a file or a pipe a table has no terminal to fit.
    return SafeConsole(highlight=False, width=None if sys.stdout.isatty() else 120)


@cache
def errors() -> Console:
    """For errors, warnings and progress."""
    from client.commands.safe_console import SafeConsole

    return SafeConsole(stderr=True, highlight=False)


def warn(message: str) -> None:
    """Print one line that stands out; the command goes on."""
    errors().print(f"client: warning: {message}", style="yellow", markup=False, soft_wrap=True)


def say_error(message: str) -> None:
    """Print what failed; the exit code is the caller's."""
    errors().print(f"client: {message}", style="red", markup=False, soft_wrap=True)


@contextmanager
def interruptible(kept: Callable[[], str]) -> Iterator[None]:
    """Say what is kept where Ctrl-C ends the block. The command still ends with 130, as shells have it."""
    try:
        yield
    except KeyboardInterrupt:
        say_error(f"interrupted: {kept()}")
        raise
