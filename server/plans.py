"""TensorRT plans: built on the machine that serves them, once, from the graphs of a model repository.

    <model>/1/tensorrt.onnx or model.onnx    the graph, in the precision it was exported in
    <model>/1/model.plan                     what TensorRT makes of it
    <model>/1/model.plan.json                what the plan was made from and for

A plan fits one version of TensorRT and one GPU architecture. One that was made for others, or from another graph, is
built again. `python -m server.plans REPOSITORY MODEL...` does so in a process of its own, whose end frees the GPU's
memory.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from qafm.contract import GRAPHS, MAX_BATCH_SIZE, MODELS, PLAN_FILE, VIEWS, graph_path
from qafm.errors import ServerFailed
from qafm.files import whole_file

SIDECAR_FILE = f"{PLAN_FILE}.json"


@dataclass(frozen=True)
class PlanOrigin:
    """What a plan was made from and for."""

    graph_sha256: str
    tensorrt: str
    compute_capability: str


def ensure_plans(
    repository: Path,
    models: Iterable[str],
    *,
    tensorrt: ModuleType | None = None,
    compute_capability: str | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Build the plans that are missing or do not fit this machine: minutes for each.

    tensorrt, compute_capability ("9.0"): those of this machine, if not given. report: is told what is being built.
    Raises ServerFailed where TensorRT or a GPU is missing, a graph does not build, or the repository is read-only.
    """
    tensorrt = tensorrt or _tensorrt()
    compute_capability = compute_capability or _compute_capability()
    for model in models:
        graph = graph_path(repository, model, tensorrt=True)
        if not graph.is_file():
            raise ServerFailed(f"model '{model}': no graph at {graph} to build a plan from; export the model first")
        digest = hashlib.sha256(graph.read_bytes()).hexdigest()
        wanted = PlanOrigin(digest, tensorrt.__version__, compute_capability)
        plan, sidecar = graph.with_name(PLAN_FILE), graph.with_name(SIDECAR_FILE)
        earlier = _read_origin(sidecar) if plan.is_file() else None
        if earlier == wanted:
            continue
        why = "there is none" if earlier is None else "; ".join(_differences(earlier, wanted))
        try:
            # Written before the minutes of building, so that a read-only folder is noticed now. And an empty sidecar
            # fits no plan: if this is interrupted, the plan is built again, and an old one is never taken for it.
            _write(sidecar, b"")
            report(f"building the TensorRT plan of model '{model}' ({why}); this takes minutes")
            _write(plan, build_plan(tensorrt, graph, model, compute_capability))
            _write(sidecar, json.dumps(asdict(wanted), indent=2).encode())
        except OSError as error:
            raise ServerFailed(
                f"{plan}: the plan cannot be written ({error.strerror}); make the model repository writable, or serve "
                "a copy of it"
            ) from error


def build_plan(tensorrt: ModuleType, graph: Path, model: str, compute_capability: str) -> bytes:
    """A plan for a graph as it is typed, for batches of 1 to MAX_BATCH_SIZE. Raises ServerFailed with the reasons.

    tensorrt: NVIDIA's module of that name, or `tensorrt_rtx`, which builds for a GPU that need not be there.
    """
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    # TensorRT 10 has to be told, later versions know no other way.
    typed = getattr(tensorrt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        reasons = "; ".join(parser.get_error(row).desc() for row in range(parser.num_errors))
        raise ServerFailed(
            f"model '{model}': TensorRT {tensorrt.__version__} cannot parse {graph}: {reasons} "
            "(int8 has another dialect there: export with --tensorrt)"
        )
    config = builder.create_builder_config()
    if hasattr(config, "set_compute_capability"):
        config.num_compute_capabilities = 1
        named = f"SM{compute_capability.replace('.', '')}"
        config.set_compute_capability(getattr(tensorrt.ComputeCapability, named), 0)
    profile = builder.create_optimization_profile()
    # Of those of the contract: `fusion` of a model without attributes has VISUAL alone.
    inputs = {network.get_input(place).name for place in range(network.num_inputs)}
    for tensor in (tensor for tensor in MODELS[model].inputs if tensor.name in inputs):
        # Views come one image at a time; crops share a call when they wait anyway.
        usual = 1 if tensor == VIEWS else MAX_BATCH_SIZE // 2
        profile.set_shape(tensor.name, *((batch, *tensor.dims) for batch in (1, usual, MAX_BATCH_SIZE)))
    config.add_optimization_profile(profile)
    built = builder.build_serialized_network(network, config)
    if built is None:
        raise ServerFailed(f"model '{model}': TensorRT {tensorrt.__version__} cannot build a plan from {graph}")
    return bytes(built)


def _read_origin(sidecar: Path) -> PlanOrigin | None:
    try:
        return PlanOrigin(**json.loads(sidecar.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _differences(earlier: PlanOrigin, wanted: PlanOrigin) -> list[str]:
    wanted_values = asdict(wanted)
    return [
        f"it was made for {name} {value}, here is {wanted_values[name]}"
        for name, value in asdict(earlier).items()
        if value != wanted_values[name]
    ]


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)


def _tensorrt() -> ModuleType:
    # The second is NVIDIA's package without libraries of its own, for where TensorRT is installed.
    reasons = []
    for name in ("tensorrt", "tensorrt_bindings"):
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:
            reasons.append(str(error))
    raise ServerFailed(
        f"TensorRT's Python module, which builds the plans, cannot be imported ({'; '.join(reasons)}); serve in the "
        "image that the Dockerfile makes, or without --config-name"
    )


def _compute_capability() -> str:
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise ServerFailed(f"TensorRT needs a GPU, and {command[0]} finds none: {error}") from error


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m server.plans",
        description="Build the TensorRT plans that are missing or do not fit this machine.",
    )
    parser.add_argument("repository", type=Path, help="a model repository, as `python -m export` writes it")
    parser.add_argument("models", nargs="+", choices=GRAPHS, metavar="model", help=", ".join(GRAPHS))
    options = parser.parse_args(arguments)
    try:
        ensure_plans(options.repository, options.models, report=partial(print, flush=True))
    except ServerFailed as error:
        print(f"server: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
