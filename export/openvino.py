"""The exported graphs by OpenVINO, as `python -m server --config-name openvino` serves them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType

import numpy as np

from export.pipelines import OnnxPipeline
from qafm.contract import MODELS, graph_path
from qafm.errors import ExportRefused

_WORKER = Path(__file__).resolve().with_name("openvino_worker.py")


class OpenVinoPipeline(OnnxPipeline):
    """The exported graphs of a model repository, by OpenVINO in another process, which ends with the `with` block.

    folder: as `qafm.openvino.find_openvino` finds it. `run` raises ExportRefused where OpenVINO cannot run a graph.
    """

    def __init__(self, repository: Path, folder: Path) -> None:
        super().__init__(repository)
        self._connection, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-I", str(_WORKER), str(folder), str(theirs.fileno())]
            self._worker = subprocess.Popen(command, pass_fds=[theirs.fileno()])

    def run(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [tensor.name for tensor in MODELS[model].outputs]
        feeds = {tensor.name: inputs[tensor.name] for tensor in MODELS[model].inputs}
        try:
            self._connection.send((str(graph_path(self.repository, model)), names, feeds))
            answer = self._connection.recv()
        except (EOFError, OSError):
            answer = f"its process ended with {self._worker.wait()}; what it said stands above"
        if isinstance(answer, str):
            raise ExportRefused(f"model '{model}': OpenVINO cannot run it: {answer}")
        return dict(zip(names, answer, strict=True))

    def __enter__(self) -> OpenVinoPipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._worker.wait()
