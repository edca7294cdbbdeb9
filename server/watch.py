"""Starting a server again that died, or whose models did."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from qafm.errors import ServerFailed
from server.triton_server import TritonServer

POLL_S = 0.25
CALM_S = 60.0
"""Faults further apart than this do not make the pause grow."""
_LONGEST_PAUSE_S, _LONGEST_PAUSE_WITHOUT_A_START_S = 4.0, 60.0


class Watch:
    """Looks after a server that is ready.

    It is started again at once; where that happens often, after a pause that grows to a few seconds, and where it does
    not come up any more, to a minute.
    """

    def __init__(self, server: TritonServer, ready_timeout_s: float) -> None:
        self._server, self._ready_timeout_s = server, ready_timeout_s
        self._health = server.health()
        self._faults: list[float] = []

    def look(self, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Start the server again where something is wrong with it. Returns once it is ready.

        goes_on: whether anybody still wants it; asked before each try.
        """
        self._server.trim_log()
        if complaint := self._health.complaint():
            self._restart(complaint, goes_on)

    def _restart(self, complaint: str, goes_on: Callable[[], bool]) -> None:
        begun = time.monotonic()
        failures = 0
        while goes_on():
            pause_s = self._pause_s(failures)
            later = f" in {pause_s:g} s" if pause_s else ""
            print(f"server: {complaint}; it is started again{later}", file=sys.stderr, flush=True)
            try:
                self._server.restart(pause_s, self._ready_timeout_s)
            except (ServerFailed, OSError) as error:  # of a machine that has no memory or process left, say
                failures += 1
                complaint = str(error)
            else:
                self._health = self._server.health()
                print(f"server: ready again after {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
                return

    def _pause_s(self, failures: int) -> float:
        now = time.monotonic()
        self._faults = [*(fault for fault in self._faults if now - fault < CALM_S), now]
        if failures:
            return min(2.0 ** min(failures - 1, 10), _LONGEST_PAUSE_WITHOUT_A_START_S)
        return min(0.5 * (len(self._faults) - 1), _LONGEST_PAUSE_S)
