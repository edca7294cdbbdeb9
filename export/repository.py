"""From a template and trained networks to a model repository that Triton loads."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from rich.console import Console
from rich.progress import track
from tritonclient.grpc import model_config_pb2

from export.fidelity import BOUNDS, check_fidelity
from export.graphs import OPSET, graph_modules, write_graph
from export.parity import TOLERANCES, check_parity
from export.pipelines import OnnxPipeline, TorchPipeline
from export.precision import PRECISIONS, Dialect, Precision, write_float16, write_int8
from export.samples import Samples, calibration_inputs
from qafm.contract import (
    ALPHA_FILE,
    ENSEMBLES,
    GRAPHS,
    MANIFEST_PARAMETER,
    REQUIRED,
    TENSORRT_GRAPH_FILE,
    graph_path,
)
from qafm.errors import InvalidSettings
from qafm.weighting import save_weighting
from train.networks import Networks

TEMPLATE = Path(__file__).parent.parent / "model_repository"
DEFAULT_REPOSITORY = Path("build/model_repository")
MANIFEST_FORMAT = 1


def install(
    networks: Networks,
    repository: Path,
    origin: dict[str, Any],
    *,
    precisions: Mapping[str, Precision] | None = None,
    samples: Samples | None = None,
    tensorrt: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Export networks into a copy of the template at `repository`, and return the manifest that went with them.

    `origin` says where the networks come from; it becomes part of the manifest. `precisions` is by model, float32
    where it has none; anything else needs `samples`. With `tensorrt`, int8 graphs are written in its dialect as well.
    An earlier repository at that place is replaced as a whole, and only once the new one has passed its gates.
    Raises ExportRefused where it does not, InvalidSettings where `repository` is something else or samples are needed.
    """
    precisions = dict.fromkeys(GRAPHS, "fp32") | dict(precisions or {})
    reduced = [name for name, precision in precisions.items() if precision != "fp32"]
    if reduced and samples is None:
        raise InvalidSettings(f"precision of {', '.join(reduced)}: expected samples to calibrate and to judge it with")
    console = console or Console(quiet=True)
    _check_replaceable(repository)
    repository.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=repository.parent, prefix=".export-") as folder:
        # Beside its destination, so that moving it there is a rename.
        staged, exact = Path(folder) / "new", Path(folder) / "float32"
        shutil.copytree(TEMPLATE, staged, ignore=shutil.ignore_patterns("__pycache__"))
        save_weighting(staged / "alpha" / "1" / ALPHA_FILE, networks.weighting.served())
        with console.status("exporting and comparing with PyTorch"):
            for name, module in graph_modules(networks).items():
                write_graph(name, module, graph_path(staged, name))
            differences = check_parity(TorchPipeline(networks), OnnxPipeline(staged))
        gates = {
            "differences": {
                name: {
                    "measured": difference,
                    "allowed": TOLERANCES[name].limit,
                    "relative": TOLERANCES[name].relative,
                }
                for name, difference in differences.items()
            }
        }
        if reduced:
            shutil.copytree(staged, exact)
            for name in track(reduced, "calibrating", console=console):
                _reduce(name, precisions[name], exact, staged, samples, tensorrt)
            gates["fidelity"] = _fidelity(exact, staged, samples, tensorrt, console)
        manifest = _manifest(networks, staged, origin, precisions) | gates
        for ensemble in ENSEMBLES:
            _add_parameter(staged / ensemble / "config.pbtxt", MANIFEST_PARAMETER, json.dumps(manifest))
        _replace(repository, staged, Path(folder) / "old")
    return manifest


def _reduce(name: str, precision: Precision, exact: Path, staged: Path, samples: Samples, tensorrt: bool) -> None:
    """Write the graph of reduced precision over the float32 one."""
    source, target = graph_path(exact, name), graph_path(staged, name)
    if precision == "fp16":
        write_float16(source, target)
        return
    targets: dict[Dialect, Path] = {"onnxruntime": target}
    if tensorrt:
        targets["tensorrt"] = target.with_name(TENSORRT_GRAPH_FILE)
    write_int8(source, targets, calibration_inputs(name, samples.calibration))


def _fidelity(exact: Path, staged: Path, samples: Samples, tensorrt: bool, console: Console) -> dict[str, Any]:
    """What the gate of reduced precision measured, and on how many images."""
    pipelines = {"onnxruntime": OnnxPipeline(staged)}
    if tensorrt:
        pipelines["tensorrt"] = OnnxPipeline(staged, tensorrt=True)
    crops = track(samples.held_out, "comparing with float32", console=console)
    found = check_fidelity(OnnxPipeline(exact), pipelines, crops)
    judged = {
        dialect: {name: {"measured": measured[name], "expected": str(bound)} for name, bound in BOUNDS.items()}
        for dialect, measured in found.items()
    }
    return {"images": len(samples.held_out), **judged}


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
    if not all((repository / model / "config.pbtxt").is_file() for model in REQUIRED):
        raise InvalidSettings(f"{repository} is there and no exported model repository; choose another --repository")
    if repository.resolve() == TEMPLATE.resolve():
        raise InvalidSettings(f"{repository} is the template itself; choose another --repository")


def _manifest(
    networks: Networks, repository: Path, origin: dict[str, Any], precisions: Mapping[str, Precision]
) -> dict[str, Any]:
    return {
        "format": MANIFEST_FORMAT,
        "exported": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "origin": origin,
        "graphs": {name: _about(repository, name, precisions[name]) for name in GRAPHS},
        # Of the paper's weighting mu and sigma, of a constant one alpha.
        **{name: float(values) for name, values in networks.weighting.served().arrays().items() if values.ndim == 0},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("qafm", "pillow", "numpy", "onnxruntime", "onnx", "torch")},
        },
    }


def _about(repository: Path, name: str, precision: Precision) -> dict[str, Any]:
    path, for_tensorrt = graph_path(repository, name), graph_path(repository, name, tensorrt=True)
    about = {
        "precision": PRECISIONS[precision],
        "opset": OPSET,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    if for_tensorrt != path:
        about["tensorrt_sha256"] = hashlib.sha256(for_tensorrt.read_bytes()).hexdigest()
    return about


def _add_parameter(config: Path, key: str, value: str) -> None:
    """Append a parameter to a config.pbtxt, its comments kept."""
    addition = model_config_pb2.ModelConfig()
    addition.parameters[key].string_value = value
    config.write_text(f"{config.read_text().rstrip()}\n\n{text_format.MessageToString(addition)}")
