"""What an export says of its models: the manifest of a repository, and where it travels."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.graphs import OPSET
from export.precision import PRECISIONS, Precision
from export.variants import read_config
from qafm.attributes import COLUMNS
from qafm.contract import APAN, ATTRIBUTES, MANIFEST_PARAMETER, SCATTER, graph_path, graphs_in
from qafm.diagnosis import Diagnosis
from qafm.drawn_picture import digest_of_views
from qafm.files import sha256_of
from qafm.manifest import Manifest, digest_of_arrays
from qafm.perturbations import PERTURBATIONS
from qafm.utility import Utility
from qafm.weighting import Weighting


def manifest_of(
    repository: Path,
    weighting: Weighting,
    utility: Utility | None,
    precisions: Mapping[str, Precision],
    *,
    origin: Mapping[str, Any],
    gates: Mapping[str, Any],
    diagnosis: Diagnosis | None = None,
) -> Manifest:
    """The manifest of a repository whose graphs are written.

    weighting, utility: those that its model `alpha` serves. precisions: by model. origin: where the networks come from.
    gates: what the gates of the export measured. These two go into the manifest unchanged. diagnosis: what tells what
    is wrong with a picture, which travels here alone.
    """
    graphs = {name: _about_graph(repository, name, precisions[name]) for name in graphs_in(repository)}
    digests = {name: _digest(graph) for name, graph in graphs.items()}
    arrays = weighting.arrays()
    taught = utility.arrays() if utility else {}
    digests["alpha"] = digest_of_arrays({"kind": np.array(weighting.kind), **arrays, **taught})
    digests["views"] = digest_of_views()
    tensors = {
        config.name: [tensor.name for tensor in (*config.input, *config.output)]
        for config in map(read_config, _ensembles(repository))
    }
    about = {
        "exported": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "origin": origin,
        "graphs": graphs,
        # Of the paper's weighting mu and sigma, of a constant one its alpha, of one fitted for retrieval its offset.
        "weighting": {
            "kind": weighting.kind,
            **{name: float(values) for name, values in arrays.items() if values.ndim == 0},
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("qafm", "pillow", "numpy", "onnxruntime", "onnx", "torch")},
        },
        # Without attributes there is no APAN, and no such column.
        "columns": {
            **({ATTRIBUTES.name: list(COLUMNS)} if APAN in graphs else {}),
            SCATTER.name: [perturbation.name for perturbation in PERTURBATIONS],
        },
        "diagnosis": diagnosis.content() if diagnosis else None,
        **gates,
    }
    return Manifest.of(digests, tensors, about)


def write_manifest(repository: Path, manifest: Manifest) -> None:
    """Put a manifest into every ensemble of a repository, as a parameter; the comments there are kept."""
    parameter = ModelConfig()
    parameter.parameters[MANIFEST_PARAMETER].string_value = manifest.json()
    for config in _ensembles(repository):
        config.write_text(f"{config.read_text().rstrip()}\n\n{text_format.MessageToString(parameter)}")


def _ensembles(repository: Path) -> list[Path]:
    """Their configurations."""
    configs = sorted(repository.glob("*/config.pbtxt"))
    return [config for config in configs if read_config(config).platform == "ensemble"]


def _about_graph(repository: Path, name: str, precision: Precision) -> dict[str, Any]:
    path, for_tensorrt = graph_path(repository, name), graph_path(repository, name, tensorrt=True)
    about = {
        "precision": PRECISIONS[precision],
        "opset": OPSET,
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
    }
    if for_tensorrt != path:
        about["tensorrt_sha256"] = sha256_of(for_tensorrt)
    return about


def _digest(graph: Mapping[str, Any]) -> str:
    """Of a network: of its graph, and of the one in TensorRT's dialect where it has one of its own."""
    digests = [graph[key] for key in ("sha256", "tensorrt_sha256") if key in graph]
    return digests[0] if len(digests) == 1 else hashlib.sha256(json.dumps(digests).encode()).hexdigest()
