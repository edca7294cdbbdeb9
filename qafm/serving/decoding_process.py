"""The process in which a server decodes, for `qafm.serving.decoder` alone.

    python -m qafm.serving.decoding_process DESCRIPTOR SECONDS BYTES

It keeps a worker, which it forks, so that one that dies is replaced at once:

    decoder  --a question-->  worker  --an Answer-->  decoder
                   keeper, where the worker died  --an Answer-->  decoder

Pictures and crops lie in shared memory, whose descriptor is the first argument; what travels through the pipes,
standard input and output, is short enough to arrive whole or not at all. The kernel itself bounds the worker: for each
picture its time on a processor, and its memory beside that of the process itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import resource
import signal
import struct
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import BmpImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401

from qafm.errors import InvalidImage
from qafm.images import MAX_BYTES, MAX_SIDE, decode

QUESTION = struct.Struct("=II")
"""The number of a picture, and its size in bytes."""
BEGUN = struct.Struct("=I")
"""In front of the shared memory: the number of the last picture that a worker took up."""
SHARED_BYTES = BEGUN.size + max(MAX_BYTES, MAX_SIDE * MAX_SIDE * 3)

_PR_SET_PDEATHSIG = 1
_MOST_WORDS = 1000


@dataclass(frozen=True)
class Answer:
    """What became of the picture of a number.

    A crop of this height and width in shared memory, words that say why it is refused, or the signal that ended its
    worker.
    """

    number: int
    height: int = 0
    width: int = 0
    signal: int = 0
    refused: str = ""

    _FORM: ClassVar[struct.Struct] = struct.Struct("=IHHHH")

    def packed(self) -> bytes:
        words = self.refused[:_MOST_WORDS].encode(errors="replace")
        return self._FORM.pack(self.number, self.height, self.width, self.signal, len(words)) + words

    @classmethod
    def read(cls, pipe: int) -> Answer | None:
        """The next one from a pipe, None at its end."""
        head = os.read(pipe, cls._FORM.size)
        if not head:
            return None
        number, height, width, ended_by, length = cls._FORM.unpack(head)
        return cls(number, height, width, ended_by, os.read(pipe, length).decode() if length else "")


UP = Answer(0)
"""What the keeper says first: everything is loaded."""


def main(descriptor: int, cpu_s: float, memory_bytes: int) -> None:
    """Keep a worker until nobody asks any more."""
    shared = mmap.mmap(descriptor, SHARED_BYTES)
    keeper = os.getpid()
    warnings.simplefilter("ignore")  # of Pillow, about pictures: as many as somebody sends
    os.write(sys.stdout.fileno(), UP.packed())
    while True:
        worker = os.fork()
        if not worker:
            try:
                _bound(keeper, memory_bytes)
                _work(shared, cpu_s)
            finally:
                os._exit(0)
        _, status = os.waitpid(worker, 0)
        if not os.WIFSIGNALED(status):
            return
        (number,) = BEGUN.unpack_from(shared)
        os.write(sys.stdout.fileno(), Answer(number, signal=os.WTERMSIG(status)).packed())


def _bound(keeper: int, memory_bytes: int) -> None:
    """Limits that a worker cannot lift."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != keeper:
        os._exit(0)
    memory = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE + memory_bytes
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = memory if most == resource.RLIM_INFINITY else min(memory, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _work(shared: mmap.mmap, cpu_s: float) -> None:
    while asked := os.read(sys.stdin.fileno(), QUESTION.size):
        number, size = QUESTION.unpack(asked)
        BEGUN.pack_into(shared, 0, number)
        # When it rings nobody listens, and the kernel ends the process, in whatever loop it is.
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        answer = _decoded(number, shared, size)
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(sys.stdout.fileno(), answer.packed())


def _decoded(number: int, shared: mmap.mmap, size: int) -> Answer:
    try:
        crop = decode(shared[BEGUN.size : BEGUN.size + size])
    except InvalidImage as error:
        return Answer(number, refused=str(error))
    except MemoryError:
        return Answer(number, refused="the image takes more memory to decode than it may")
    shared[BEGUN.size : BEGUN.size + crop.nbytes] = crop.tobytes()
    return Answer(number, *crop.shape[:2])


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
