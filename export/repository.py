"""From a template and trained networks to a model repository that Triton loads."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.graphs import GRAPH_FILE, OPSET, graph_modules, write_graph
from export.parity import TOLERANCES, check_parity
from export.pipelines import OnnxPipeline, TorchPipeline
from qafm.contract import ALPHA_FILE, ENSEMBLES, GRAPHS, MANIFEST_PARAMETER, MODELS
from qafm.errors import InvalidSettings
from train.checkpoint import Networks

TEMPLATE = Path(__file__).parent.parent / "model_repository"
DEFAULT_REPOSITORY = Path("build/model_repository")
MANIFEST_FORMAT = 1


def install(networks: Networks, repository: Path, origin: dict[str, Any]) -> dict[str, Any]:
    """Export networks into a copy of the template at `repository`, and return the manifest that went with them.

    `origin` says where the networks come from; it becomes part of the manifest. An earlier repository at that place
    is replaced as a whole, and only once the new one has passed its gate. Raises ExportRefused where it does not pass,
    InvalidSettings where `repository` is something else.
    """
    _check_replaceable(repository)
    repository.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=repository.parent, prefix=".export-") as folder:
        # Beside its destination, so that moving it there is a rename.
        staged = Path(folder) / "new"
        shutil.copytree(TEMPLATE, staged, ignore=shutil.ignore_patterns("__pycache__"))
        for name, module in graph_modules(networks).items():
            write_graph(name, module, staged / name / "1" / GRAPH_FILE)
        networks.weighting.network().save(staged / "alpha" / "1" / ALPHA_FILE)
        differences = check_parity(TorchPipeline(networks), OnnxPipeline(staged))
        manifest = _manifest(networks, staged, origin, differences)
        for ensemble in ENSEMBLES:
            _add_parameter(staged / ensemble / "config.pbtxt", MANIFEST_PARAMETER, json.dumps(manifest))
        _replace(repository, staged, Path(folder) / "old")
    return manifest


def _replace(repository: Path, new: Path, old: Path) -> None:
    """Put `new` in the place of `repository`, whose content goes to `old`, or leave everything as it was."""
    if repository.exists():
        repository.rename(old)
    try:
        new.rename(repository)
    except OSError:
        if old.exists():
            old.rename(repository)
        raise


def _check_replaceable(repository: Path) -> None:
    """Only what is an exported repository, or nothing at all, may be replaced."""
    if not repository.exists() or (repository.is_dir() and not any(repository.iterdir())):
        return
    if not all((repository / model / "config.pbtxt").is_file() for model in MODELS):
        raise InvalidSettings(f"{repository} is there and no exported model repository; choose another --repository")
    if repository.resolve() == TEMPLATE.resolve():
        raise InvalidSettings(f"{repository} is the template itself; choose another --repository")


def _manifest(
    networks: Networks, repository: Path, origin: dict[str, Any], differences: dict[str, float]
) -> dict[str, Any]:
    graphs = {name: repository / name / "1" / GRAPH_FILE for name in GRAPHS}
    return {
        "format": MANIFEST_FORMAT,
        "exported": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "origin": origin,
        "graphs": {
            name: {
                "precision": "float32",
                "opset": OPSET,
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for name, path in graphs.items()
        },
        "differences": {
            name: {
                "measured": difference,
                "allowed": TOLERANCES[name].limit,
                "relative": TOLERANCES[name].relative,
            }
            for name, difference in differences.items()
        },
        "mu": float(networks.weighting.mu),
        "sigma": float(networks.weighting.sigma),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("qafm", "pillow", "numpy", "onnxruntime", "onnx", "torch")},
        },
    }


def _add_parameter(config: Path, key: str, value: str) -> None:
    """Append a parameter to a config.pbtxt, its comments kept."""
    addition = model_config_pb2.ModelConfig()
    addition.parameters[key].string_value = value
    config.write_text(f"{config.read_text().rstrip()}\n\n{text_format.MessageToString(addition)}")
