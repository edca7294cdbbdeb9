"""What a server writes: kept for error messages, in a file of bounded size."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

from qafm.errors import ServerFailed

TAIL_LINES = 25
MOST_BYTES = 64 * 2**20


class Log:
    """The log of a server, over all its starts.

    place: None for a file without a name, gone with this program however it ends; "inherit" for standard error; or the
    path of a file, which is begun anew. Raises ServerFailed where it cannot be written.
    """

    def __init__(self, place: Path | str | None) -> None:
        self._path = None if place in (None, "inherit") else Path(place)
        self.file: BinaryIO | None = None
        """Where the server is to write; None for standard error."""
        if place is None:
            self.file = tempfile.TemporaryFile("a+b")  # noqa: SIM115  (close() closes it)
        elif self._path:
            try:
                # Appended to, so that it can be cut while the server writes.
                self.file = self._path.open("ab+")
                if self._path.is_file():
                    self.file.truncate(0)
            except OSError as error:
                raise ServerFailed(
                    f"the log {self._path} cannot be written: {error.strerror}; name a file in a folder that is there"
                ) from error

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines, and before them the errors that scrolled out of those."""
        if self.file is None:
            return ""
        # Read without moving the position at which the server writes.
        size = os.fstat(self.file.fileno()).st_size
        text = os.pread(self.file.fileno(), MOST_BYTES, max(0, size - MOST_BYTES)).decode(errors="replace").splitlines()
        errors = [line for line in text[:-lines] if re.match(r"E\d{4} ", line)]
        return "\n".join([*errors[-5:], *text[-lines:]])

    def trim(self) -> None:
        """Begin anew where it has become too long; what is in a file with a name is then in NAME.1."""
        if self.file is None or os.fstat(self.file.fileno()).st_size <= MOST_BYTES:  # a pipe or a device has no size
            return
        if self._path:
            # A full disk is no reason to let it grow on, nor to stop serving.
            with contextlib.suppress(OSError):
                shutil.copyfile(self._path, self._path.with_name(f"{self._path.name}.1"))
        os.ftruncate(self.file.fileno(), 0)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None
