"""`python -m server` as people start it, and the processes below it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qafm.errors import QafmError
from server.health import children_of


@dataclass(frozen=True)
class Served:
    """A server that is ready. pid: process id of the command, which nobody attacks."""

    pid: int
    grpc_url: str
    http_url: str

    @property
    def tritonserver(self) -> int:
        """Process id of the Triton server that the command keeps. Raises StopIteration while there is none."""
        return next(pid for pid in below(self.pid) if name_of(pid) == "tritonserver")


@contextmanager
def served(repository: Path, log: Path, before: Sequence[str] = (), more: Sequence[str] = ()) -> Iterator[Served]:
    """The command, until the block ends. log: what it says of restarts. before: words in front of it, of a command that
    becomes it; more: options of it."""
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "server", "--repository", str(repository), *ports, *more],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            ready = re.search(r"gRPC (\S+), HTTP (\S+),", process.stdout.readline())
            if ready is None:
                raise QafmError(f"the server did not start: {log.read_text()}")
            yield Served(process.pid, ready[1], ready[2])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def below(pid: int) -> Iterator[int]:
    """The processes below one, each before those below it."""
    for child in children_of(pid):
        yield child
        yield from below(child)


def name_of(pid: int) -> str:
    """What a process below the command is called: the model of a stub, or what it runs."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    model = next((word for word in words if re.fullmatch(r"\w+_\d+_\d+", word)), None)
    known = ("qafm.serving.decoding_process", "supervisor.py", "tritonserver")
    return model or next((part for part in known for word in words if word.endswith(part)), Path(words[0]).name)
