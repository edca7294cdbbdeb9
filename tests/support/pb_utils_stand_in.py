"""What `triton_python_backend_utils` gives a model inside Triton, as far as this project's models use it.

`load` imports a `model.py` against it, so that a model is tested without a server.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np


class Tensor:
    def __init__(self, name: str, values: np.ndarray) -> None:
        assert values.flags.c_contiguous, f"{name}: Triton copies a tensor as it lies in memory"
        self._name, self._values = name, values

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._values


class InferenceRequest:
    def __init__(self, inputs: dict[str, np.ndarray], outputs: list[str]) -> None:
        self._inputs = [Tensor(name, values) for name, values in inputs.items()]
        self._outputs = outputs

    def inputs(self) -> list[Tensor]:
        return self._inputs

    def requested_output_names(self) -> list[str]:
        return self._outputs


class TritonError:
    INTERNAL, INVALID_ARG, UNAVAILABLE = 1, 3, 4

    def __init__(self, message: str, code: int = INTERNAL) -> None:
        self._message, self._code = message, code

    def message(self) -> str:
        return self._message

    def code(self) -> int:
        return self._code


class TritonModelException(Exception):  # noqa: N818  (Triton's name)
    pass


class InferenceResponse:
    def __init__(self, output_tensors: list[Tensor] | None = None, error: TritonError | None = None) -> None:
        self._tensors, self._error = output_tensors or [], error

    def error(self) -> TritonError | None:
        return self._error

    def outputs(self) -> dict[str, np.ndarray]:
        """By name; not of Triton's interface, for the tests."""
        return {tensor.name(): tensor.as_numpy() for tensor in self._tensors}


class Logger:
    messages: list[str] = []

    @classmethod
    def log_error(cls, message: str) -> None:
        cls.messages.append(message)

    log_warn = log_info = log_error


def get_input_tensor_by_name(request: InferenceRequest, name: str) -> Tensor | None:
    return next((tensor for tensor in request.inputs() if tensor.name() == name), None)


def load(path: Path) -> ModuleType:
    """Import a Triton model by its path, with this module in the place of Triton's."""
    before = sys.modules.get("triton_python_backend_utils")
    sys.modules["triton_python_backend_utils"] = sys.modules[__name__]
    try:
        spec = importlib.util.spec_from_file_location(f"_triton_model_{path.parent.parent.name}_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        if before is None:
            del sys.modules["triton_python_backend_utils"]
        else:
            sys.modules["triton_python_backend_utils"] = before
