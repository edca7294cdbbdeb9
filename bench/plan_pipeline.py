"""The TensorRT plans of a model repository, run on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from export.pipelines import Pipeline
from qafm.contract import ALPHA_FILE, APAN, PLAN_FILE, QUALITY, graphs_in
from qafm.errors import ServerFailed
from qafm.weighting import load_weighting


class PlanPipeline(Pipeline):
    """As `export.pipelines.OnnxPipeline`, by the plans that `server.plans` has built."""

    def __init__(self, repository: Path, tensorrt: ModuleType) -> None:
        self.weighting = load_weighting(repository / "alpha" / "1" / ALPHA_FILE)
        # It has to outlive the engines that it makes.
        self.runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        self.contexts: dict[str, Any] = {}
        for model in graphs_in(repository):
            engine = self.runtime.deserialize_cuda_engine((repository / model / "1" / PLAN_FILE).read_bytes())
            if engine is None:
                raise ServerFailed(f"model '{model}': TensorRT {tensorrt.__version__} cannot load its plan")
            self.contexts[model] = engine.create_execution_context()
            if self.contexts[model] is None:
                raise ServerFailed(f"model '{model}': the GPU has no memory left for its plan")
        self.has_quality, self.has_attributes = (name in self.contexts for name in (QUALITY, APAN))

    def run(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        spec, context, device = self.model(model), self.contexts[model], torch.device("cuda")
        given = {tensor.name: torch.from_numpy(inputs[tensor.name]).contiguous().to(device) for tensor in spec.inputs}
        batch = len(next(iter(given.values())))
        made = {tensor.name: torch.empty((batch, *tensor.dims), device=device) for tensor in spec.outputs}
        shaped = [context.set_input_shape(name, tuple(values.shape)) for name, values in given.items()]
        placed = [context.set_tensor_address(name, values.data_ptr()) for name, values in (given | made).items()]
        if not all(shaped + placed):
            raise ServerFailed(f"model '{model}': its plan has other tensors, or takes no batch of {batch}")
        # On torch's own stream, after the copies.
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise ServerFailed(f"model '{model}': TensorRT could not run its plan on a batch of {batch}")
        return {name: values.cpu().numpy() for name, values in made.items()}
