"""The exported graphs by OpenVINO, as `python -m server --config-name openvino` serves them, and their gate."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from export.fidelity import BOUNDS, Bound, measure_fidelity
from export.parity import measure_parity, sample_crops, too_far
from export.pipelines import OnnxPipeline, Pipeline
from qafm.contract import DESCRIPTOR, graph_path
from qafm.datasets.crops import Crop
from qafm.errors import ExportRefused

_WORKER = Path(__file__).resolve().with_name("openvino_worker.py")
_END_S = 10.0


class OpenVinoPipeline(OnnxPipeline):
    """The exported graphs of a model repository, by OpenVINO in another process, which ends with the `with` block.

    folder: as `qafm.openvino.find_openvino` finds it. Raises ExportRefused where OpenVINO does not start, and so does
    `run` where it cannot run a graph.
    """

    def __init__(self, repository: Path, folder: Path) -> None:
        super().__init__(repository)
        self._connection, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-I", str(_WORKER), str(folder), str(theirs.fileno())]
            self._worker = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        try:
            self.version: str = self._connection.recv()
        except (EOFError, OSError) as error:
            self._end()
            raise ExportRefused(f"OpenVINO in {folder} does not start; what it said stands above") from error

    def run(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        spec = self.model(model)
        names = [tensor.name for tensor in spec.outputs]
        feeds = {tensor.name: inputs[tensor.name] for tensor in spec.inputs}
        try:
            self._connection.send((str(graph_path(self.repository, model)), names, feeds))
            answer = self._connection.recv()
        except (EOFError, OSError):
            answer = "its process has ended; what it said stands above"
        if isinstance(answer, str):
            raise ExportRefused(f"model '{model}': OpenVINO cannot run it: {answer}")
        return dict(zip(names, answer, strict=True))

    def __enter__(self) -> OpenVinoPipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._connection.close()
        try:
            self._worker.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.wait()


@dataclass(frozen=True)
class Reference:
    """What OpenVINO is to compute: `trained` in float32; of reduced precision, what is near enough to `exact` on the
    held-out crops."""

    trained: Pipeline
    exact: Pipeline | None
    held_out: Sequence[Crop]


def check_openvino(staged: Path, folder: Path, reference: Reference) -> dict[str, Any]:
    """Whether OpenVINO passes the gates that ONNX Runtime's own operators pass, for the manifest: `installed`, the
    `version`, what was measured, and where it fails the `reason`."""
    found: dict[str, Any] = {}
    try:
        with OpenVinoPipeline(staged, folder) as openvino:
            found["version"] = openvino.version
            if reference.exact is None:
                measured = measure_parity(reference.trained, openvino, sample_crops())
                failed = too_far(measured)
            else:
                (measured,) = measure_fidelity(reference.exact, {"openvino": openvino}, reference.held_out).values()
                measured |= _one_look(OnnxPipeline(staged), openvino)
                failed = [
                    f"{name} is {value:.4g}, expected {_bound(name)}"
                    for name, value in measured.items()
                    if not _bound(name).holds(value)
                ]
        found["measured"] = measured
    except ExportRefused as error:
        failed = [str(error)]
    return found | ({"installed": False, "reason": "; ".join(failed)} if failed else {"installed": True})


def _one_look(own: Pipeline, openvino: Pipeline) -> dict[str, float]:
    """How near one look by OpenVINO is to one by ONNX Runtime's own operators, where there is such a network."""
    if not own.has_quality:
        return {}
    one, other = (pipeline.describe_fast(sample_crops())[DESCRIPTOR.name] for pipeline in (own, openvino))
    return {"one_look_descriptor_cosine": float((one * other).sum(axis=1).mean())}


def _bound(name: str) -> Bound:
    return BOUNDS[name.removeprefix("one_look_")]
