"""Other ways to serve an exported network, made from its `config.pbtxt`: what both say is said once."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

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
