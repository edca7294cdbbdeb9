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
    APAN,
    CROP,
    DESCRIPTOR,
    FEATURES,
    FUSION,
    IDENTIFIABILITY,
    QUALITY,
    SCATTER,
    UTILITY,
    VIEWS,
    Model,
    graph_path,
    model_of,
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
    has_attributes = True
    """Whether it has APAN. Without, there is neither SEMANTIC nor ATTRIBUTES."""
    make_views = staticmethod(views)

    @abstractmethod
    def run(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One graph on a batch: arrays by tensor name, batch first."""

    def describe(self, crops: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Crops, uint8 [H,W,3] each, as one batch. Returns the outputs of the `qafm` ensemble and FEATURES."""
        seen = np.stack([self.make_views(crop) for crop in crops])
        outputs = self.by_branches(seen[:, 0]) | self.run("iqa", {VIEWS.name: seen})
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
        return outputs | self.fused(outputs)

    def describe_fast(self, crops: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The same crops by one look at each: the outputs of the `qafm_fast` ensemble."""
        crop = np.stack([resize(crop) for crop in crops])
        outputs = self.by_branches(crop) | self.run(QUALITY, {CROP.name: crop})
        return outputs | self.fused(outputs)

    def by_branches(self, crop: np.ndarray) -> dict[str, np.ndarray]:
        """What the branches say of a batch of crops, as CROP has them."""
        branches = ("apn", APAN) if self.has_attributes else ("apn",)
        return {name: values for branch in branches for name, values in self.run(branch, {CROP.name: crop}).items()}

    def fused(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """DESCRIPTOR of what the branches say, and ALPHA."""
        inputs = {tensor.name: outputs[tensor.name] for tensor in self.model(FUSION).inputs}
        return {DESCRIPTOR.name: self.run(FUSION, inputs)[DESCRIPTOR.name]}

    def model(self, name: str) -> Model:
        """A model of the contract as it is here."""
        return model_of(name, attributes=self.has_attributes)


class Remembered(Pipeline):
    """Another pipeline, which looks at each picture only once."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.has_attributes = pipeline.has_attributes
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
        self.has_quality, self.has_attributes = (name in self.modules for name in (QUALITY, APAN))
        self.weighting, self.utility = weighting or networks.weighting.served(), utility

    def run(self, model: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        spec = self.model(model)
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
        self.has_quality, self.has_attributes = ((repository / name).is_dir() for name in (QUALITY, APAN))
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
        spec = self.model(model)
        names = [tensor.name for tensor in spec.outputs]
        feeds = {tensor.name: inputs[tensor.name] for tensor in spec.inputs}
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
