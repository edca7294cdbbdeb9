"""Runs exported graphs by OpenVINO, for `export.openvino`, in a process of its own.

ONNX Runtime with OpenVINO and the one without are packages of the same name, and a process can have either. Called with
the folder of the former, and the number of a file descriptor that a `multiprocessing` connection is at. It first says
its version. Then each message is a graph's path, the outputs that are wanted, and the inputs by name; the answer is the
outputs, or an error as a string.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any


def providers() -> list[Any]:
    """As `server/onnxruntime_backend.py` has them."""
    threads = str(len(os.sched_getaffinity(0)))
    options = {"device_type": "CPU", "precision": "FP32", "num_of_threads": threads, "num_streams": "1"}
    return [("OpenVINOExecutionProvider", options)]


def main(folder: str, descriptor: int) -> None:
    sys.path.insert(0, folder)
    import onnxruntime

    sessions: dict[str, onnxruntime.InferenceSession] = {}

    def run(graph: str, outputs: list[str], inputs: dict[str, Any]) -> list[Any]:
        if graph not in sessions:
            options = onnxruntime.SessionOptions()
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            sessions[graph] = onnxruntime.InferenceSession(graph, options, providers=providers())
        return sessions[graph].run(outputs, inputs)

    # Whoever asked may be gone at any time.
    with Connection(descriptor) as connection, suppress(EOFError, OSError):
        connection.send(str(onnxruntime.__version__))
        while True:
            asked = connection.recv()
            try:
                answer: Any = run(*asked)
            except Exception as error:
                answer = str(error)
            connection.send(answer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
