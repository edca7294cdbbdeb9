"""Runs one command and lets nothing of it outlive the process that asked for it.

A server must go when the program that started it goes, whichever way that ends: a plain exit, Ctrl-C, SIGTERM
or SIGKILL. No handler inside that program can promise it, so this small process stands between the two:

    program  --stdin-->  supervisor  --starts-->  command, in a process group of its own

The program holds the write end of the supervisor's standard input. When that closes, on purpose or because
the program is gone, the command gets SIGTERM, and after the grace period its whole group SIGKILL. Once the
command has ended, in whichever way, what is left of its group is killed and its shared memory removed.

Called with the grace period in seconds, a prefix of names in /dev/shm, and the command. It prints the
command's process id, and ends with its exit status. Standard library only: it is started by file name, to be
up at once.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_DESCRIPTORS = 65_536


def main(grace_s: float, shm_prefix: str, command: list[str]) -> int:
    # Orphans of the command become children of this process, which can then wait for the last of them.
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _may_open_many_files()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
        # Should this process itself be killed, the kernel tells the command.
        preexec_fn=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),
    )
    ended = threading.Event()

    def stop() -> None:
        if ended.is_set():
            return
        # To the command alone: it knows in which order its own children go.
        os.kill(process.pid, signal.SIGTERM)
        if not ended.wait(grace_s):
            _kill_group(process.pid)

    def stop_when_stdin_closes() -> None:
        # Unbuffered: a buffered reader still waiting in a thread would abort the interpreter as it ends.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop()

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stop, daemon=True).start())
    threading.Thread(target=stop_when_stdin_closes, daemon=True).start()
    print(process.pid, flush=True)
    # Without reaping the command: while it stays a zombie, its id cannot belong to another group.
    while (one := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)).si_pid != process.pid:
        os.waitpid(one.si_pid, 0)  # an orphan of the command
    ended.set()
    _kill_group(process.pid)
    status = process.wait()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    remove_shared_memory(shm_prefix)
    return status if status >= 0 else 128 - status


def remove_shared_memory(prefix: str) -> None:
    """What processes that are gone have left there under names that begin so."""
    for region in Path("/dev/shm").glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def _may_open_many_files() -> None:
    """A connection is a descriptor: Triton without any left writes gigabytes of log, and answers nobody."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Where there is no limit, programs that close all that they may have open would take minutes.
    enough = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2], sys.argv[3:]))
