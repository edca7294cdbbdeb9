"""Decoding pictures of strangers: in a process of its own, so that one that is made to harm costs itself alone."""

from __future__ import annotations

import mmap
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from qafm.errors import InvalidImage, NotAvailable
from qafm.images import MAX_BYTES, decode
from qafm.serving.decoding_process import BEGUN, QUESTION, SHARED_BYTES, UP, Answer

CPU_S = 0.9
"""The time on a processor that one picture may take. One of twelve megapixels takes 0.2 to 0.6."""
MEMORY_BYTES = 256 * 2**20
"""The memory that decoding may take, beside that of the process itself."""
START_S = 60.0
"""How long the process may take to start. Where this machine has no time for it, starting it again would not help."""
WAIT_S = 5.0
"""After so long without an answer the process is replaced: it is stopped, or this machine has no time for it."""

_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)


class Decoder:
    """`qafm.images.decode` in a process with bounds on time and memory, which is replaced when it ends.

    cpu_s: seconds on a processor that one picture may take. memory_bytes: what decoding may take beside the process
    itself. wait_s: seconds until a process without an answer is replaced. Not for several threads at once.
    """

    def __init__(self, *, cpu_s: float = CPU_S, memory_bytes: int = MEMORY_BYTES, wait_s: float = WAIT_S) -> None:
        self._cpu_s, self._memory_bytes, self._wait_s = cpu_s, memory_bytes, wait_s
        descriptor = os.memfd_create("qafm-pictures")
        try:
            os.ftruncate(descriptor, SHARED_BYTES)
            self._shared = mmap.mmap(descriptor, SHARED_BYTES)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._number = 0
        self._up = False
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    @property
    def keeper(self) -> int:
        """Process id of what keeps the worker, which is started where it is gone."""
        return self._kept().pid

    @property
    def worker(self) -> int | None:
        """Process id of the one that decodes; None while there is none yet."""
        children = Path(f"/proc/{self.keeper}/task/{self.keeper}/children").read_text().split()
        return int(children[0]) if children else None

    def decode(self, data: bytes) -> np.ndarray:
        """The crop of an encoded picture, uint8 [H,W,3], as `qafm.images.decode` gives it.

        Raises InvalidImage, also where decoding takes more time or memory than it may or ends in a crash, and
        NotAvailable where the process was ended from outside or does not answer: another is then there.
        """
        if not 0 < len(data) <= MAX_BYTES:
            return decode(data)  # refused before anything is read
        # Ended from outside once, say by a kernel that is out of memory, the picture may be innocent.
        answer = self._asked(data) or self._asked(data)
        if answer is None:
            raise NotAvailable("the process that decodes was ended, and again when the image was tried once more")
        if answer.refused:
            raise InvalidImage(answer.refused)
        if answer.signal == signal.SIGPROF:
            raise InvalidImage(f"the image takes over {self._cpu_s:g} s to decode; a picture takes a few milliseconds")
        if answer.signal:
            raise InvalidImage(f"the image makes the decoder crash ({signal.Signals(answer.signal).name})")
        shape = (answer.height, answer.width, 3)
        return np.frombuffer(self._shared, np.uint8, np.prod(shape), BEGUN.size).reshape(shape).copy()

    def close(self) -> None:
        """End the process."""
        self._stop()
        self._shared.close()
        os.close(self._descriptor)

    def _asked(self, data: bytes) -> Answer | None:
        """What the worker, or what keeps it, says of a picture; None where it was ended from outside."""
        process = self._kept()
        if not self._up:
            self._wait_until_up()
        self._number = self._number % (2**32 - 1) + 1
        self._shared[BEGUN.size : BEGUN.size + len(data)] = data
        try:
            os.write(process.stdin.fileno(), QUESTION.pack(self._number, len(data)))
            answer = self._answer()
        except BrokenPipeError:
            answer = None
        if answer is None:
            self._stop()
            return None
        return answer if answer.signal in (0, signal.SIGPROF, *_CRASHES) else None

    def _kept(self) -> subprocess.Popen[bytes]:
        """The keeper's process. One that was killed may have left its worker the time for an answer."""
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        if self._process is None:
            self._start()
        return self._process

    def _wait_until_up(self) -> None:
        pipe = self._process.stdout.fileno()
        if not select.select([pipe], [], [], START_S)[0]:
            self._stop()
            raise NotAvailable(f"the process that decodes did not start within {START_S:g} s")
        self._up = Answer.read(pipe) == UP

    def _answer(self) -> Answer | None:
        pipe = self._process.stdout.fileno()
        if not select.select([pipe], [], [], self._wait_s)[0]:
            self._stop()
            raise NotAvailable(f"the process that decodes gave no answer within {self._wait_s:g} s")
        answer = Answer.read(pipe)
        # One of an earlier number is of a worker that was ended when it had nothing to do. Nobody knows whether it took
        # this question with it: a process that is killed in a read may have emptied its pipe.
        return answer if answer and answer.number == self._number else None

    def _start(self) -> None:
        self._up = False
        try:
            self._process = subprocess.Popen(
                [
                    *(_python(), "-I", "-m", "qafm.serving.decoding_process"),
                    *map(str, (self._descriptor, self._cpu_s, self._memory_bytes)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                pass_fds=[self._descriptor],
            )
        except OSError as error:  # no memory or process is left
            raise NotAvailable(f"the process that decodes cannot be started: {error.strerror}") from error

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            # The worker goes with its keeper. Either may be stopped, and would then not notice that its pipe is closed.
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def _python() -> str:
    """This interpreter. Embedded in a server it may not know its own name."""
    if Path(sys.executable or "").name.startswith("python"):
        return sys.executable
    return str(Path(sys.prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"))
