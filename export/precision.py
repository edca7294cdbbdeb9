"""The arithmetic of an exported graph: float32 as it was trained, float16, or int8 with quantised operators.

int8 has two dialects. ONNX Runtime is fast on a CPU with uint8 activations of any zero point; TensorRT takes only
symmetric int8, and biases in floating point. Both are written from one calibration. Weights have all eight bits: on an
x86 CPU without VNNI, sums of products may saturate, which a gate passed on one that has it does not show.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from qafm.contract import GRAPHS
from qafm.errors import InvalidSettings

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: dict[Precision, str] = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
"""Their names in words, as the manifest has them."""
Dialect = Literal["onnxruntime", "tensorrt"]

FIXED = {"fusion": "fp32"}
"""Fusion hands its inputs on unchanged, and is a thousandth of the work: it stays as it was trained."""

# The mean of the crops' largest values, not the largest of all: docs/performance.md has what that changes.
_RANGES = {"CalibMovingAverage": True}
_DIALECTS: dict[Dialect, dict[str, object]] = {
    "onnxruntime": {"activation_type": QuantType.QUInt8, "extra_options": _RANGES},
    "tensorrt": {
        "activation_type": QuantType.QInt8,
        "extra_options": _RANGES | {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    },
}


def parse_precisions(text: str) -> dict[str, Precision]:
    """`int8,apan=fp16`: a default for the networks, then exceptions by model. `fusion` is always fp32.

    Raises InvalidSettings.
    """
    default, *exceptions = (part.strip() for part in text.split(","))
    chosen = dict.fromkeys(GRAPHS, _precision(default)) | FIXED
    for exception in exceptions:
        model, equals, precision = exception.partition("=")
        if not equals or model not in GRAPHS:
            raise InvalidSettings(
                f"precision {exception!r}: expected MODEL=PRECISION after the default, with a model of "
                f"{', '.join(GRAPHS)}; as in int8,apan=fp16"
            )
        if _precision(precision) != FIXED.get(model, precision):
            raise InvalidSettings(
                f"precision {exception!r}: {model} hands its inputs on unchanged and stays in {FIXED[model]}"
            )
        chosen[model] = precision
    return chosen


def _precision(text: str) -> Precision:
    if text not in PRECISIONS:
        raise InvalidSettings(f"precision {text!r}: expected one of {', '.join(PRECISIONS)}")
    return text


def write_float16(source: Path, target: Path) -> None:
    """A float32 graph in float16, its inputs and outputs as they were: typed, as TensorRT 10 and later want it."""
    model = OnnxModel(convert_float_to_float16(onnx.load(source), keep_io_types=True))
    # The converter appends its casts, and leaves the types that tensors had before.
    model.topological_sort()
    del model.model.graph.value_info[:]
    onnx.save(model.model, target)
    onnx.checker.check_model(str(target), full_check=True)


def write_int8(source: Path, targets: Mapping[Dialect, Path], samples: Iterable[Mapping[str, np.ndarray]]) -> None:
    """A float32 graph in int8, one file a dialect. Calibrated on `samples`, inputs by name, each a batch."""
    with tempfile.TemporaryDirectory(prefix="int8-") as folder, _quiet():
        prepared, ranges = Path(folder) / "prepared.onnx", Path(folder) / "ranges.json"
        # Batch normalisation folded into the convolutions, and the shapes of all tensors.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        for dialect, target in targets.items():
            quantize_static(
                prepared,
                target,
                # Read once: the second dialect finds the ranges.
                _Samples(samples),
                calibration_cache_path=ranges,
                calibrate_method=CalibrationMethod.MinMax,
                per_channel=True,
                weight_type=QuantType.QInt8,
                **_DIALECTS[dialect],
            )
            onnx.checker.check_model(str(target), full_check=True)


class _Samples(CalibrationDataReader):
    def __init__(self, samples: Iterable[Mapping[str, np.ndarray]]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._samples, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser logs advice that is followed here already."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
