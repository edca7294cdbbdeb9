"""Other ways to serve an exported network, made from its `config.pbtxt`: what both say is said once."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

TENSORRT = "tensorrt"
"""The variant that TensorRT serves from a plan: `python -m server --config-name tensorrt`."""


def write_variants(repository: Path) -> None:
    """Write `configs/tensorrt.pbtxt` beside the configuration of every exported network of a model repository."""
    for path in sorted(repository.glob("*/config.pbtxt")):
        config = read_config(path)
        if config.backend == "onnxruntime":
            folder = path.parent / "configs"
            folder.mkdir(exist_ok=True)
            text = text_format.MessageToString(tensorrt_variant(config))
            (folder / f"{TENSORRT}.pbtxt").write_text(f"# Made from ../config.pbtxt by the export.\n{text}")


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


def read_config(path: Path) -> ModelConfig:
    """A `config.pbtxt`."""
    return text_format.Parse(path.read_text(), ModelConfig())
