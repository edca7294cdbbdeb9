"""The networks as ONNX graphs with the contract's tensors: pixels in, normalisation inside, any batch size."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from google.protobuf.message import Message
from torch import Tensor, nn

from qafm.contract import APAN, FUSION, QUALITY, VIEW_COUNT, model_of
from qafm.contract import Tensor as Spec
from train.networks import IQA, DescriptorHead, FromPixels, Networks, Pixels
from train.networks.apan import attribute_probabilities

OPSET = 18
"""Old enough for the ONNX Runtime and TensorRT of every supported server."""
_METADATA = ("metadata_props", "doc_string")
"""Of a graph, its nodes and its tensors."""


class APANGraph(nn.Module):
    def __init__(self, apan: FromPixels) -> None:
        super().__init__()
        self.apan = apan

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor]:
        semantic, logits = self.apan(crop)
        return semantic, attribute_probabilities(logits)


class IQAGraph(nn.Module):
    def __init__(self, iqa: IQA) -> None:
        super().__init__()
        self.pixels, self.iqa = Pixels(), iqa

    def forward(self, views: Tensor) -> Tensor:
        # Cast before the reshape: TensorRT reshapes no uint8.
        folded = self.pixels(views.float().flatten(0, 1))
        return self.iqa(folded).unflatten(0, (-1, VIEW_COUNT))


class FusionGraph(nn.Module):
    """Passes its inputs through, for the ensembles to publish (see the contract)."""

    def __init__(self, fusion: DescriptorHead) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, visual: Tensor, semantic: Tensor, alpha: Tensor) -> tuple[Tensor, ...]:
        descriptor = self.fusion(visual, semantic, alpha.squeeze(1))
        return descriptor, visual.clone(), semantic.clone(), alpha.clone()


class VisualFusionGraph(nn.Module):
    """The same without v_s and α, of networks without attributes."""

    def __init__(self, fusion: DescriptorHead) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, visual: Tensor) -> tuple[Tensor, Tensor]:
        return self.fusion(visual, visual, visual[:, 0]), visual.clone()


def graph_modules(networks: Networks, *, flip: bool = False) -> dict[str, nn.Module]:
    """The graphs as PyTorch modules, by model name: contract tensors, batch first, in and out.

    flip: whether both branches see each picture together with its mirror image.
    """
    modules: dict[str, nn.Module] = {"apn": FromPixels(networks.apn, flip=flip)}
    if networks.apan:
        modules[APAN] = APANGraph(FromPixels(networks.apan, flip=flip))
    modules["iqa"] = IQAGraph(networks.iqa)
    modules[FUSION] = FusionGraph(networks.fusion) if networks.apan else VisualFusionGraph(networks.fusion)
    if networks.quality:
        modules[QUALITY] = FromPixels(networks.quality)
    return {name: module.eval() for name, module in modules.items()}


def write_graph(name: str, module: nn.Module, path: Path) -> None:
    """Export one module to an ONNX file, float32, with the contract's names and a dynamic batch."""
    model = model_of(name, attributes=not isinstance(module, VisualFusionGraph))
    batch = torch.export.Dim("batch", min=1, max=64)
    with _quiet():
        program = torch.onnx.export(
            module.cpu(),
            tuple(_example(spec) for spec in model.inputs),
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.name for spec in model.inputs],
            output_names=[spec.name for spec in model.outputs],
            dynamic_shapes=tuple({0: batch} for _ in model.inputs),
            verbose=False,
        )
    save_graph(program.model_proto, path)


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a checked graph without its metadata, in which the exporter notes the folders of its code. So the same
    networks also give the same bytes, wherever they are exported."""
    _strip(model)
    onnx.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)


def _strip(message: Message) -> None:
    for field, value in message.ListFields():
        if field.name in _METADATA:
            message.ClearField(field.name)
        elif field.message_type:
            for part in (value,) if isinstance(value, Message) else value:
                _strip(part)


def _example(spec: Spec) -> Tensor:
    # Two in the batch: a size of one would be taken for a constant.
    dtype = torch.uint8 if spec.dtype == "UINT8" else torch.float32
    return torch.zeros((2, *spec.dims), dtype=dtype)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells its own developers much that users of this project can do nothing about."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
