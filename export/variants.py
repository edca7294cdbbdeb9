"""What the export makes of the template's configurations: other ways to serve a network, so that what they share is
said once, and repositories that lack what there is no network or rule for."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from qafm.contract import (
    ALPHA,
    ALPHA_USED,
    APAN,
    ATTRIBUTES,
    FUSION,
    MODELS,
    QAFM_FAST,
    QUALITY,
    SEMANTIC,
    SEMANTIC_USED,
    Tensor,
)

TENSORRT = "tensorrt"
"""The variant that TensorRT serves from a plan: `python -m server --config-name tensorrt`."""
OPENVINO = "openvino"
"""The variant that ONNX Runtime serves by OpenVINO: `python -m server --config-name openvino`."""


def write_variants(repository: Path) -> None:
    """Write `configs/tensorrt.pbtxt` and `configs/openvino.pbtxt` beside the configuration of every exported network of
    a model repository."""
    for path in sorted(repository.glob("*/config.pbtxt")):
        config = read_config(path)
        if config.backend == "onnxruntime":
            folder = path.parent / "configs"
            folder.mkdir(exist_ok=True)
            for name, variant in ((TENSORRT, tensorrt_variant(config)), (OPENVINO, openvino_variant(config))):
                text = text_format.MessageToString(variant)
                (folder / f"{name}.pbtxt").write_text(f"# Made from ../config.pbtxt by the export.\n{text}")


def leave_out_fast(repository: Path) -> None:
    """Take out what describes a picture by one look."""
    for model in (QUALITY, QAFM_FAST):
        shutil.rmtree(repository / model)


def leave_out(repository: Path, *tensors: Tensor) -> None:
    """Take tensors out of all configurations, in which each has lines of its own."""
    for config in repository.glob("*/config.pbtxt"):
        config.write_text(_without(config.read_text(), *tensors))


def leave_out_attributes(repository: Path) -> None:
    """Take out APAN and what it says: `fusion` has v_a alone, and α, which weighs nothing, goes past it."""
    shutil.rmtree(repository / APAN)
    fusion = repository / FUSION / "config.pbtxt"
    fusion.write_text(_without(fusion.read_text(), ALPHA, ALPHA_USED))
    for ensemble in (name for name, model in MODELS.items() if APAN in model.parts):
        config = repository / ensemble / "config.pbtxt"
        if config.is_file():
            text = _STEP[APAN].sub("", config.read_text())
            text = _STEP[FUSION].sub(lambda step: _without(step[0], ALPHA, ALPHA_USED), text)
            config.write_text(text.replace('value: "alpha"', f'value: "{ALPHA.name}"'))
    leave_out(repository, SEMANTIC, SEMANTIC_USED, ATTRIBUTES)


_STEP = {
    name: re.compile(rf'    \{{\n      model_name: "{name}"\n.*?\n    \}},?\n', re.DOTALL) for name in (APAN, FUSION)
}
"""A step of an ensemble, as the template writes it."""


def _without(text: str, *tensors: Tensor) -> str:
    """A configuration, or a part of one, without the lines that name these tensors as keys, inputs or outputs, nor a
    comma after what is the last of a list then."""
    named = re.compile("|".join(rf'(?:key|name): "{tensor.name}"' for tensor in tensors))
    kept = "".join(line for line in text.splitlines(keepends=True) if not named.search(line))
    return re.sub(r",(\s*\])", r"\1", kept)


def leave_out_variant(repository: Path, name: str) -> None:
    """Take a variant out of a model repository."""
    for path in repository.glob(f"*/configs/{name}.pbtxt"):
        path.unlink()


def tensorrt_variant(config: ModelConfig) -> ModelConfig:
    """The same model on TensorRT: the same tensors, batches and warm-up, on a GPU.

    The parameters are left out: they are ONNX Runtime's.
    """
    variant = ModelConfig()
    variant.CopyFrom(config)
    variant.backend = TENSORRT
    del variant.instance_group[:]
    variant.instance_group.add(count=1, kind=ModelInstanceGroup.KIND_GPU)
    variant.parameters.clear()
    return variant


def openvino_variant(config: ModelConfig) -> ModelConfig:
    """The same model by OpenVINO in ONNX Runtime, on the CPU, with the same parameters."""
    variant = ModelConfig()
    variant.CopyFrom(config)
    for group in variant.instance_group:
        group.kind = ModelInstanceGroup.KIND_CPU
    variant.optimization.execution_accelerators.cpu_execution_accelerator.add(name=OPENVINO)
    return variant


def read_config(path: Path) -> ModelConfig:
    """A `config.pbtxt`."""
    return text_format.Parse(path.read_text(), ModelConfig())
