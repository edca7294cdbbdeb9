"""Whether a running server lives: its processes, and that it answers.

Triton keeps saying that it is ready when a process of one of its models is gone, and then fails every request that
needs it. Busy is not dead: a server whose queue is long answers something.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from server.endpoint import Endpoint, NoAnswer

SILENT_S = 30.0
"""After so long without an answer from a model, though requests wait for it, a server is dead."""
_COMPUTING = 10
"""One that computes meanwhile has so many times as long: a large batch on a slow machine takes its time."""
GONE = (None, "Z", "X")
"""What `state_of` says of a process that has ended."""
_ASK_EVERY_S = 2.0
_ITSELF = "the server itself"
_PROCESS = "the process of model "
_PENDING = "pending_request_count"
_COUNTS = re.compile(
    rf'^nv_inference_(?P<of>request_success|request_failure|{_PENDING})\{{(?:.*,)?model="(?P<model>\w+)".*\}} '
    r"(?P<count>\S+)$",
    re.MULTILINE,
)


@dataclass
class _Silence:
    """How long a model has answered nothing while requests waited, and how long it computed in that time."""

    answered: int = -1
    waited_s: float = 0.0
    computed_s: float = 0.0
    cpu_s: float = 0.0


class Health:
    """What is wrong with a server that was ready when this was made.

    pids: of its processes, by what to call them. metrics: its endpoint of metrics. silent_s: as SILENT_S.
    """

    def __init__(self, pids: dict[int, str], metrics: Endpoint, silent_s: float = SILENT_S) -> None:
        self._pids, self._metrics, self._silent_s = pids, metrics, silent_s
        self._stopped: set[int] = set()
        self._silences: defaultdict[str, _Silence] = defaultdict(_Silence)
        self._asked = time.monotonic()

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
        # Not by the clock: a machine that was paused has not waited.
        passed_s, self._asked = min(now - self._asked, 2 * _ASK_EVERY_S), now
        try:
            counts = _counts(self._metrics.get("/metrics", timeout_s=_ASK_EVERY_S).decode())
            counts[_ITSELF] = (0, False)
        except NoAnswer:
            counts = {_ITSELF: (0, True)}
        for model, (answered, waiting) in counts.items():
            silence, cpu_s = self._silences[model], self._cpu_s(model)
            if answered != silence.answered or not waiting:
                self._silences[model] = _Silence(answered, cpu_s=cpu_s)
                continue
            silence.waited_s += passed_s
            silence.computed_s += cpu_s - silence.cpu_s
            silence.cpu_s = cpu_s
            patience_s = self._silent_s * (_COMPUTING if silence.computed_s > silence.waited_s / 10 else 1)
            if silence.waited_s >= patience_s:
                return f"{model} has answered nothing for {silence.waited_s:.0f} s, though it was asked"
        return None

    def _cpu_s(self, model: str) -> float:
        """How long the processes of a model have computed."""
        own = [pid for pid, name in self._pids.items() if name.startswith(f"{_PROCESS}{model}_")]
        return sum(map(_cpu_s, own))


def processes_of(server: int) -> dict[int, str]:
    """A server and the processes of its models, by what to call them."""
    return {server: "the Triton server", **{pid: f"{_PROCESS}{_model(pid)}" for pid in children_of(server)}}


def children_of(pid: int) -> Iterator[int]:
    """Of a process, whichever of its threads started them; none of one that has ended."""
    with contextlib.suppress(OSError):  # it ends meanwhile
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # of a thread that has ended
                yield from map(int, children.read_text().split())


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


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
