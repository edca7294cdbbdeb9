"""Whether a running server lives: its processes, and that it answers.

Triton keeps saying that it is ready when a process of one of its models is gone, and then fails every request that
needs it. Busy is not dead: a server whose queue is long answers something.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from server.endpoint import Endpoint, NoAnswer

SILENT_S = 30.0
"""After so long without an answer from a model, though requests wait for it, a server is dead."""
GONE = (None, "Z", "X")
"""What `state_of` says of a process that has ended."""
_ASK_EVERY_S = 2.0
_ITSELF = "the server itself"
_COUNTS = re.compile(
    r'^nv_inference_(?P<of>request_success|request_failure|pending_request_count)\{(?:.*,)?model="(?P<model>\w+)".*\} '
    r"(?P<count>\S+)$",
    re.MULTILINE,
)


class Health:
    """What is wrong with a server that was ready when this was made.

    pids: of its processes, by what to call them. metrics: its endpoint of metrics. silent_s: as SILENT_S.
    """

    def __init__(self, pids: dict[int, str], metrics: Endpoint, silent_s: float = SILENT_S) -> None:
        self._pids, self._metrics, self._silent_s = pids, metrics, silent_s
        self._stopped: set[int] = set()
        self._answered: dict[str, int] = {}
        self._asked = time.monotonic()
        self._moved: dict[str, float] = {}

    def complaint(self) -> str | None:
        """What is wrong, in words; None where nothing is. To be asked again and again."""
        states = {pid: state_of(pid) for pid in self._pids}
        for pid, state in states.items():
            if state in GONE:
                return f"{self._pids[pid]} (process {pid}) is gone"
        stopped = {pid for pid, state in states.items() if state == "T"}
        # A debugger may stop one for a moment.
        if again := stopped & self._stopped:
            return f"{self._pids[min(again)]} (process {min(again)}) is stopped"
        self._stopped = stopped
        return self._silence()

    def _silence(self) -> str | None:
        now = time.monotonic()
        if now - self._asked < _ASK_EVERY_S:
            return None
        self._asked = now
        try:
            counts = _counts(self._metrics.get("/metrics", timeout_s=self._silent_s / 2).decode())
            counts[_ITSELF] = (0, False)
        except NoAnswer:
            counts = {_ITSELF: (0, True)}
        for model, (answered, waiting) in counts.items():
            if answered != self._answered.get(model) or not waiting:
                self._answered[model], self._moved[model] = answered, now
            elif now - self._moved[model] >= self._silent_s:
                return f"{model} has answered nothing for {self._silent_s:g} s, though requests wait"
        return None


def processes_of(server: int) -> dict[int, str]:
    """A server and the processes of its models, by what to call them."""
    return {server: "the Triton server", **{pid: f"the process of model {_model(pid)}" for pid in _children(server)}}


def _counts(metrics: str) -> dict[str, tuple[int, bool]]:
    """By model, how many requests it has answered, well or not, and whether any waits for it."""
    answered: Counter[str] = Counter()
    waiting = set()
    for found in _COUNTS.finditer(metrics):
        count = int(float(found["count"]))
        if found["of"] != "pending_request_count":
            answered[found["model"]] += count
        elif count:
            waiting.add(found["model"])
    return {model: (count, model in waiting) for model, count in answered.items()}


def _children(pid: int) -> Iterator[int]:
    """Of a process, whichever of its threads started them."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # of a thread that has ended
            yield from map(int, children.read_text().split())


def _model(stub: int) -> str:
    """The instance of a model that a stub process runs, such as views_0_1."""
    try:
        arguments = Path(f"/proc/{stub}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        arguments = []
    return next((one for one in arguments if re.fullmatch(r"\w+_\d+_\d+", one)), "?")


def state_of(pid: int) -> str | None:
    """The letter of /proc: S sleeping, T stopped, Z ended ...; None where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
