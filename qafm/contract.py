"""The tensor contract: the one place that names models, tensors, types and sizes.

Tests compare the model repository, the exported graphs, the server and the client with it, and the client compares a
live server with it on connecting. A server may lack what is optional: the client works with the rest, and says what is
missing when it is asked for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np  # which `client --help` does without

HEIGHT, WIDTH = 384, 128
"""Size in pixels at which every network sees a crop."""

PERTURBATION_COUNT = 34
VIEW_COUNT = 1 + PERTURBATION_COUNT
"""View 0 is the crop itself; views 1 to 34 are its perturbations, in the order of `qafm.perturbations`."""

VECTOR_SIZE = 1024
"""Length of the visual vector v_a and of the semantic vector v_s."""
FEATURE_SIZE = 2048
"""Length of the features whose scatter is the identifiability score."""
DESCRIPTOR_SIZE = 1000
ATTRIBUTE_SIZE = 30
"""Nine sigmoids, then softmaxes over 4 ages, 8 upper and 9 lower colours: see `qafm.attributes`."""

FIRST = 1
"""The priority that lets a request for a crop alone go before those for its 35 views, in the queue of `views`."""
MAX_BATCH_SIZE = 8
"""Of every model and every variant: an ensemble may not allow more than its parts."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DataType = Literal["UINT8", "FP32", "STRING"]


@dataclass(frozen=True)
class Tensor:
    """A tensor of one model, without its batch dimension. `dtype` is Triton's name for the type.

    least, most: the smallest and the largest value that it may have, where there is one.
    """

    name: str
    dtype: DataType
    dims: tuple[int, ...]
    least: float | None = None
    most: float | None = None

    @property
    def wire_dtype(self) -> str:
        """The type as the inference protocol writes it: a STRING travels as BYTES."""
        return "BYTES" if self.dtype == "STRING" else self.dtype

    @property
    def range_in_words(self) -> str:
        """Of its values, such as "from 0 to 1"."""
        words = {"at least": self.least, "at most": self.most}
        if None not in words.values():
            return f"from {self.least:g} to {self.most:g}"
        return " ".join(f"{word} {bound:g}" for word, bound in words.items() if bound is not None) or "any number"

    def holds(self, values: np.ndarray, beyond: float = 0.0) -> bool:
        """Whether all of some numbers are in its range, or beyond it by that much. NaN is in none."""
        least, most = (-math.inf if self.least is None else self.least), (math.inf if self.most is None else self.most)
        return bool(((values >= least - beyond) & (values <= most + beyond)).all())


@dataclass(frozen=True)
class Model:
    """A model of the repository.

    backend: what its `config.pbtxt` names. outputs: those that every server gives; optional_outputs: those that some
    give. optional_inputs: those that a request may leave out. optional: whether a repository may lack the model. parts:
    of an ensemble, the models it is made of; without attributes all but `apan`.
    """

    name: str
    backend: Literal["python", "onnxruntime", "ensemble"]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    optional_outputs: tuple[Tensor, ...] = ()
    optional_inputs: tuple[Tensor, ...] = ()
    optional: bool = False
    parts: tuple[str, ...] = ()


IMAGE = Tensor("IMAGE", "STRING", (1,))
CROP = Tensor("CROP", "UINT8", (HEIGHT, WIDTH, 3))
VIEWS = Tensor("VIEWS", "UINT8", (VIEW_COUNT, HEIGHT, WIDTH, 3))
VISUAL = Tensor("VISUAL", "FP32", (VECTOR_SIZE,))
SEMANTIC = Tensor("SEMANTIC", "FP32", (VECTOR_SIZE,))
ATTRIBUTES = Tensor("ATTRIBUTES", "FP32", (ATTRIBUTE_SIZE,), 0, 1)
FEATURES = Tensor("FEATURES", "FP32", (VIEW_COUNT, FEATURE_SIZE))
IDENTIFIABILITY = Tensor("IDENTIFIABILITY", "FP32", (1,), 0)
SCATTER = Tensor("SCATTER", "FP32", (PERTURBATION_COUNT,), 0)
UTILITY = Tensor("UTILITY", "FP32", (1,), 0, 1)
ALPHA = Tensor("ALPHA", "FP32", (1,), 0, 1)
DESCRIPTOR = Tensor("DESCRIPTOR", "FP32", (DESCRIPTOR_SIZE,))
# The fusion passes its inputs through: an ensemble output that also feeds a step deadlocks a request that
# asks for only some of the outputs, so the ensembles publish these instead.
VISUAL_USED = Tensor("VISUAL_USED", "FP32", VISUAL.dims)
SEMANTIC_USED = Tensor("SEMANTIC_USED", "FP32", SEMANTIC.dims)
ALPHA_USED = Tensor("ALPHA_USED", "FP32", ALPHA.dims)

QUALITY = "quality"
FUSION = "fusion"
QAFM = "qafm"
QAFM_FAST = "qafm_fast"
QAFM_FIXED_ALPHA = "qafm_fixed_alpha"
APAN = "apan"
_DESCRIBED = (DESCRIPTOR, ALPHA, IDENTIFIABILITY, VISUAL)
_OF_ATTRIBUTES = (ATTRIBUTES, SEMANTIC)

_MODELS = (
    # It hands on no ALPHA: it refuses one that is no weight before anything is computed with it.
    Model("views", "python", (IMAGE,), (CROP, VIEWS), optional_inputs=(ALPHA,)),
    Model("apn", "onnxruntime", (CROP,), (VISUAL,)),
    Model(APAN, "onnxruntime", (CROP,), (SEMANTIC, ATTRIBUTES), optional=True),
    Model("iqa", "onnxruntime", (VIEWS,), (FEATURES,)),
    Model("alpha", "python", (FEATURES,), (IDENTIFIABILITY, ALPHA), optional_outputs=(SCATTER, UTILITY)),
    Model(QUALITY, "onnxruntime", (CROP,), (IDENTIFIABILITY, ALPHA, SCATTER, UTILITY), optional=True),
    Model(
        FUSION,
        "onnxruntime",
        (VISUAL, SEMANTIC, ALPHA),
        (DESCRIPTOR, VISUAL_USED, SEMANTIC_USED, ALPHA_USED),
    ),
    Model(
        QAFM,
        "ensemble",
        (IMAGE,),
        _DESCRIBED,
        optional_outputs=(*_OF_ATTRIBUTES, SCATTER, UTILITY),
        parts=("views", "iqa", "apn", APAN, "alpha", FUSION),
    ),
    Model(
        QAFM_FAST,
        "ensemble",
        (IMAGE,),
        _DESCRIBED,
        optional_outputs=(*_OF_ATTRIBUTES, SCATTER, UTILITY),
        optional=True,
        parts=("views", "apn", APAN, QUALITY, FUSION),
    ),
    Model(
        QAFM_FIXED_ALPHA,
        "ensemble",
        (IMAGE, ALPHA),
        (DESCRIPTOR, VISUAL),
        optional_outputs=_OF_ATTRIBUTES,
        parts=("views", "apn", APAN, FUSION),
    ),
)

MODELS: dict[str, Model] = {model.name: model for model in _MODELS}
VISUAL_FUSION = Model(FUSION, "onnxruntime", (VISUAL,), (DESCRIPTOR, VISUAL_USED))
"""The fusion of a repository without `apan`, of which no attributes were learnt: it has v_a alone, and needs no α."""
GRAPHS: tuple[str, ...] = tuple(model.name for model in _MODELS if model.backend == "onnxruntime")
"""The models that are exported networks: apn, iqa, fusion, and where a repository has them apan and quality."""
ONE_LOOK: tuple[str, ...] = (QAFM_FAST, QAFM_FIXED_ALPHA)
"""The ensembles that look at the crop alone."""
ENSEMBLES: tuple[str, ...] = (QAFM, QAFM_FIXED_ALPHA)
"""The ensembles of every repository. One with `quality` has QAFM_FAST too."""
REQUIRED: tuple[str, ...] = tuple(model.name for model in _MODELS if not model.optional)
"""The models of every repository, its ensembles among them."""

MANIFEST_PARAMETER = "manifest"
"""Name of the `parameters` entry of every ensemble that carries the manifest (JSON): `qafm.manifest`."""
ALPHA_FILE = "alpha.npz"
"""The weighting (`qafm.weighting`), in the version folder of the `alpha` model."""
GRAPH_FILE = "model.onnx"
"""An exported network, in the version folder of its model."""
TENSORRT_GRAPH_FILE = "tensorrt.onnx"
"""Beside it where TensorRT needs another dialect of the same network."""
PLAN_FILE = "model.plan"
"""What TensorRT made of one of the two, for the machine it is served on."""

HEATMAPS_FILE = "heatmaps.json"
"""Which heat map is of which image, in a folder of `python -m export.heatmaps`."""


def model_of(name: str, *, attributes: bool) -> Model:
    """A model as a repository has it that was trained with attributes, or without."""
    return MODELS[name] if attributes or name != FUSION else VISUAL_FUSION


def graphs_in(repository: Path) -> list[str]:
    """The models of a model repository that are exported networks."""
    return [name for name in GRAPHS if (repository / name / "config.pbtxt").is_file()]


def graph_path(repository: Path, model: str, *, tensorrt: bool = False) -> Path:
    """Where a model repository has the graph of a model; with `tensorrt`, the one that a plan is built from."""
    folder = repository / model / "1"
    own = folder / TENSORRT_GRAPH_FILE
    return own if tensorrt and own.is_file() else folder / GRAPH_FILE
