"""The whole pipeline in one process, in PyTorch and in ONNX Runtime: what the served ensemble is compared with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from export.graphs import graph_modules
from qafm.contract import (
    ALPHA,
    ALPHA_FILE,
    CROP,
    DESCRIPTOR,
    FEATURES,
    FUSION,
    IDENTIFIABILITY,
    MODELS,
    QUALITY,
    SCATTER,
    UTILITY,
    VIEWS,
    graph_path,
)
from qafm.errors import ExportRefused
from qafm.images import resize
from qafm.perturbations import views
from qafm.quality import measure
from qafm.utility import Utility
from qafm.weighting import Weighting, load_utility, load_weighting
from train.networks import Networks

_CUDA = "CUDAExecutionProvider"


class Pipeline(ABC):
    """Crops to the ensemble's outputs. `run` is one network, by the contract's tensors."""

    weighting: Weighting
    utility: Utility | None = None
    has_quality = False
    """Whether it has the network `quality`, by which `describe_fast` looks."""
    make_views = staticmethod(views)

    @abstractmethod
    def run(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One graph on a batch: arrays by tensor name, batch first."""

    def describe(self, crops: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Crops, uint8 [H,W,3] each, as one batch. Returns the outputs of the `qafm` ensemble and FEATURES."""
        seen = np.stack([self.make_views(crop) for crop in crops])
        outputs = self._by_both_branches(seen[:, 0]) | self.run("iqa", {VIEWS.name: seen})
        qualities = [measure(features) for features in outputs[FEATURES.name]]
        alphas = [self.weighting.alpha(quality) for quality in qualities]
        outputs |= {
            IDENTIFIABILITY.name: np.array([[quality.identifiability] for quality in qualities], np.float32),
            SCATTER.name: np.stack([quality.scatter for quality in qualities]),
            ALPHA.name: np.array(alphas, np.float32)[:, None],
        }
        if self.utility:
            utilities = [self.utility.of(quality) for quality in qualities]
            outputs[UTILITY.name] = np.array(utilities, np.float32)[:, None]
        return self._fused(outputs)

    def describe_fast(self, crops: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The same crops by one look at each: the outputs of the `qafm_fast` ensemble."""
        crop = np.stack([resize(crop) for crop in crops])
        return self._fused(self._by_both_branches(crop) | self.run(QUALITY, {CROP.name: crop}))

    def _by_both_branches(self, crop: np.ndarray) -> dict[str, np.ndarray]:
        return {**self.run("apn", {CROP.name: crop}), **self.run("apan", {CROP.name: crop})}

    def _fused(self, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        fused = self.run(FUSION, {tensor.name: outputs[tensor.name] for tensor in MODELS[FUSION].inputs})
        return outputs | {DESCRIPTOR.name: fused[DESCRIPTOR.name]}


class Remembered(Pipeline):
    """Another pipeline, which looks at each picture only once."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._known: dict[tuple[bytes, ...], dict[str, np.ndarray]] = {}

    def describe(self, crops: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        seen = tuple(crop.tobytes() for crop in crops)
        if seen not in self._known:
            self._known[seen] = self.pipeline.describe(crops)
        return self._known[seen]

    def run(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.pipeline.run(model, inputs)


def stacked(outputs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Several answers as one: arrays by tensor name, batch after batch."""
    return {name: np.concatenate([answer[name] for answer in outputs]) for name in outputs[0]}


class TorchPipeline(Pipeline):
    """The trained networks as they are, float32, eager. flip: as `export.graphs.graph_modules` has it."""

    def __init__(
        self,
        networks: Networks,
        weighting: Weighting | None = None,
        utility: Utility | None = None,
        *,
        flip: bool = False,
    ) -> None:
        self.modules = graph_modules(networks, flip=flip)
        self.has_quality = QUALITY in self.modules
        self.weighting, self.utility = weighting or networks.weighting.served(), utility

    def run(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        spec = MODELS[model]
        with torch.inference_mode():
            outputs = self.modules[model](*(torch.from_numpy(inputs[tensor.name]) for tensor in spec.inputs))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return {tensor.name: output.float().numpy() for tensor, output in zip(spec.outputs, outputs, strict=True)}


class OnnxPipeline(Pipeline):
    """The exported graphs of a model repository, in ONNX Runtime on the CPU; with `tensorrt`, those for TensorRT.

    gpu: on CUDA, set as the server sets it. Raises ExportRefused where this ONNX Runtime has none.
    """

    def __init__(self, repository: Path, *, tensorrt: bool = False, gpu: bool = False) -> None:
        self.repository = repository
        self.has_quality = (repository / QUALITY).is_dir()
        self.tensorrt = tensorrt
        self.providers = [*([_CUDA] if gpu else []), "CPUExecutionProvider"]
        if missing := set(self.providers) - set(onnxruntime.get_available_providers()):
            raise ExportRefused(
                f"ONNX Runtime {onnxruntime.__version__} has no {missing.pop()}; onnxruntime-gpu has it"
            )
        alpha = repository / "alpha" / "1" / ALPHA_FILE
        self.weighting, self.utility = load_weighting(alpha), load_utility(alpha)
        self.sessions: dict[str, onnxruntime.InferenceSession] = {}

    def run(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        session = self.sessions.get(model) or self.sessions.setdefault(model, self._session(model))
        names = [tensor.name for tensor in MODELS[model].outputs]
        feeds = {tensor.name: inputs[tensor.name] for tensor in MODELS[model].inputs}
        return dict(zip(names, session.run(names, feeds), strict=True))

    def _session(self, model: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        # As the server is set: threads that spin take the cores from the other networks.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = graph_path(self.repository, model, tensorrt=self.tensorrt)
        session = onnxruntime.InferenceSession(path, options, providers=self.providers)
        if session.get_providers() != self.providers:  # it warns, and takes the CPU
            reason = f"ONNX Runtime cannot use {self.providers[0]}; what it said stands above"
            raise ExportRefused(f"model '{model}': {reason}")
        return session
