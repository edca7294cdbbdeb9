"""Runs exported graphs by OpenVINO, for `export.openvino`, in a process of its own.

ONNX Runtime with OpenVINO and the one without are packages of the same name, and a process can have either. Called with
the folder of the former, and the number of a file descriptor that a `multiprocessing` connection is at. Each message is
a graph's path, the outputs that are wanted, and the inputs by name; the answer is the outputs, or an error as a string.
"""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection


def main(folder: str, descriptor: int) -> None:
    sys.path.insert(0, folder)
    import onnxruntime

    # As `server/onnxruntime_backend.py` has it.
    provider = ("OpenVINOExecutionProvider", {"device_type": "CPU", "precision": "FP32", "num_streams": "1"})
    sessions: dict[str, onnxruntime.InferenceSession] = {}
    connection = Connection(descriptor)
    while True:
        try:
            graph, outputs, inputs = connection.recv()
        except EOFError:
            return
        try:
            if graph not in sessions:
                options = onnxruntime.SessionOptions()
                options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
                sessions[graph] = onnxruntime.InferenceSession(graph, options, providers=[provider])
            answer = sessions[graph].run(outputs, inputs)
        except Exception as error:
            answer = str(error)
        connection.send(answer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
