"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from client.commands import console

LINE_EVERY_S = 10.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} images/s")


@contextmanager
def progress(name: str, total: int) -> Iterator[Callable[[], None]]:
    """Gives a function to call after each of `total` images. `name` says what is done with them."""
    if not console.errors().is_terminal:
        yield _lines(name, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console.errors()) as bar:
        task = bar.add_task(name, total=total)
        yield lambda: bar.advance(task)


def _lines(name: str, total: int) -> Callable[[], None]:
    """A line every ten seconds, and one at the end."""
    start = time.monotonic()
    done, last_line = 0, start

    def step() -> None:
        nonlocal done, last_line
        done += 1
        now = time.monotonic()
        if done < total and now - last_line < LINE_EVERY_S:
            return
        last_line = now
        rate = done / max(now - start, 1e-9)
        console.errors().print(
            f"{name}: {done}/{total} images, {rate:.1f} images/s, {(total - done) / rate:.0f} s left",
            soft_wrap=True,
            highlight=False,
        )

    return step
