"""From a template and trained networks to a model repository that Triton loads."""

from __future__ import annotations

import importlib.resources
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from export.fast_check import check_fast
from export.fidelity import BOUNDS, check_fidelity
from export.graphs import graph_modules, write_graph
from export.identity import manifest_of, write_manifest
from export.model_card import MODEL_CARD, model_card
from export.openvino import Reference, check_openvino
from export.parity import TOLERANCES, check_parity
from export.pipelines import OnnxPipeline, Pipeline, Remembered, TorchPipeline
from export.precision import Precision
from export.quality_check import check_quality, look
from export.reduced import Dialect, write_float16, write_int8
from export.samples import Samples, calibration_inputs
from export.variants import (
    OPENVINO,
    leave_out,
    leave_out_attributes,
    leave_out_fast,
    leave_out_variant,
    write_variants,
)
from qafm.contract import (
    ALPHA_FILE,
    APAN,
    QAFM,
    QAFM_FAST,
    QUALITY,
    REQUIRED,
    TENSORRT_GRAPH_FILE,
    UTILITY,
    graph_path,
)
from qafm.datasets.crops import Crop
from qafm.diagnosis import Diagnosis
from qafm.drawn_picture import drawn_picture
from qafm.errors import InvalidSettings
from qafm.known_answer import KNOWN_ANSWER, known_answer
from qafm.manifest import Manifest
from qafm.openvino import find_openvino
from qafm.utility import Utility
from qafm.weighting import Weighting, save_weighting
from train.networks import Networks
from train.quality.spoilt import Spoilt

TEMPLATE = Path(str(importlib.resources.files("model_repository")))
NOT_SERVED = shutil.ignore_patterns("__init__.py", "__pycache__")
"""What makes the template a package, and is no model."""


def install(
    networks: Networks,
    repository: Path,
    origin: dict[str, Any],
    *,
    weighting: Weighting | None = None,
    utility: Utility | None = None,
    diagnosis: Diagnosis | None = None,
    precisions: Mapping[str, Precision] | None = None,
    samples: Samples | None = None,
    spoilt: Sequence[Spoilt] | None = None,
    tensorrt: bool = False,
    flip: bool = False,
    console: Console | None = None,
) -> Manifest:
    """Export networks into a copy of the template at `repository`, and return the manifest that went with them.

    `origin` says where the networks come from; it becomes part of the manifest. A `weighting` replaces the one of the
    networks. Without a `utility` the models lack that output; a `diagnosis` goes into the manifest. `precisions` is by
    model, float32 where it has none; anything else needs `samples`. What quality tells is measured on the `spoilt`
    pictures, if there are any, and there the network `quality` must say what the 35 views say, or it and `qafm_fast`
    are left out; so is the variant for OpenVINO where that fails a gate. With `tensorrt`, int8 graphs are written in
    its dialect as well. With `flip` both branches see each picture and its mirror image, which the origin should say.
    An earlier repository there, or where a link there leads, is replaced as a whole, once the new one has passed its
    gates. Raises ExportRefused where it does not, InvalidSettings for another `repository` or a lack of samples.
    """
    if not utility:
        # It would say one.
        networks = replace(networks, quality=None)
    modules = graph_modules(networks, flip=flip)
    precisions = {name: (precisions or {}).get(name, "fp32") for name in modules}
    reduced = [name for name, precision in precisions.items() if precision != "fp32"]
    if reduced and samples is None:
        raise InvalidSettings(f"precision of {', '.join(reduced)}: expected samples to calibrate and to judge it with")
    console = console or Console(quiet=True)
    weighting = weighting or networks.weighting.served()
    # A link stays one: whoever serves its target gets the new models.
    repository = repository.resolve()
    _check_replaceable(repository)
    repository.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=repository.parent, prefix=".export-") as folder:
        # Beside its destination, so that moving it there is a rename.
        staged, exact = Path(folder) / "new", Path(folder) / "float32"
        _copy_template(staged, utility=utility is not None, fast=QUALITY in modules, attributes=APAN in modules)
        save_weighting(staged / "alpha" / "1" / ALPHA_FILE, weighting, utility)
        with console.status("exporting and comparing with PyTorch"):
            for name, module in modules.items():
                write_graph(name, module, graph_path(staged, name))
            trained = TorchPipeline(networks, weighting, utility, flip=flip)
            gates: dict[str, Any] = {"differences": _judged(check_parity(trained, OnnxPipeline(staged)))}
        if reduced:
            shutil.copytree(staged, exact)
            for name in track(reduced, "calibrating", console=console):
                _reduce(name, precisions[name], exact, staged, samples, tensorrt)
        gates |= _runtime_gates(trained, exact if reduced else None, staged, samples, tensorrt, console)
        gates |= _quality_gates(staged, spoilt, console) | _known_answer(OnnxPipeline(staged))
        manifest = manifest_of(staged, weighting, utility, precisions, origin=origin, gates=gates, diagnosis=diagnosis)
        _label(staged, manifest)
        _replace(repository, staged, Path(folder) / "old")
    return manifest


def _copy_template(staged: Path, *, utility: bool, fast: bool, attributes: bool) -> None:
    """The template with its variants, without what there is no network or rule for."""
    shutil.copytree(TEMPLATE, staged, ignore=NOT_SERVED)
    if not fast:
        leave_out_fast(staged)
    if not utility:
        leave_out(staged, UTILITY)
    if not attributes:
        leave_out_attributes(staged)
    write_variants(staged)


def _judged(differences: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """What the gate of parity measured, and what it allows."""
    return {
        name: {
            "measured": difference,
            "allowed": TOLERANCES[name].limit,
            "relative": TOLERANCES[name].relative,
        }
        for name, difference in differences.items()
    }


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


def _runtime_gates(
    trained: TorchPipeline, exact: Path | None, staged: Path, samples: Samples | None, tensorrt: bool, console: Console
) -> dict[str, Any]:
    """Whether graphs of reduced precision, and OpenVINO, stay near what was trained.

    exact: the float32 graphs, where those that are staged were reduced. Where OpenVINO fails, its variant is left out.
    """
    gates: dict[str, Any] = {"openvino": None}
    reference = Remembered(OnnxPipeline(exact)) if exact else None
    held_out = samples.held_out if samples else []
    if reference:
        gates["fidelity"] = _fidelity(reference, staged, held_out, tensorrt, console)
    if folder := find_openvino():
        with console.status("comparing OpenVINO with it"):
            gates["openvino"] = check_openvino(staged, folder, Reference(trained, reference, held_out))
        if not gates["openvino"]["installed"]:
            leave_out_variant(staged, OPENVINO)
    else:
        console.print(
            "no OpenVINO here: its variant is installed without being judged; `make openvino` and export again to have "
            "it judged",
            soft_wrap=True,
        )
    return gates


def _fidelity(
    reference: Pipeline, staged: Path, held_out: Sequence[Crop], tensorrt: bool, console: Console
) -> dict[str, Any]:
    """What the gate of reduced precision measured, and on how many images."""
    pipelines = {"onnxruntime": OnnxPipeline(staged)}
    if tensorrt:
        pipelines["tensorrt"] = OnnxPipeline(staged, tensorrt=True)
    crops = track(held_out, "comparing with float32", console=console)
    measures = check_fidelity(reference, pipelines, crops)
    judged = {
        dialect: {name: {"measured": value, "expected": str(BOUNDS[name])} for name, value in measured.items()}
        for dialect, measured in measures.items()
    }
    return {"images": len(held_out), **judged}


def _quality_gates(staged: Path, spoilt: Sequence[Spoilt] | None, console: Console) -> dict[str, Any]:
    """What quality tells, and whether one look tells it too, which else is taken out; without pictures, nothing."""
    if not spoilt:
        return {"quality": None, "fast": None}
    pipeline = OnnxPipeline(staged)
    looked = look(pipeline, track(spoilt, "checking what quality tells", console=console))
    fast = check_fast(looked) if looked.fast else None
    if fast and not fast["installed"]:
        leave_out_fast(staged)
    return {"quality": check_quality(pipeline, looked), "fast": fast}


def _label(staged: Path, manifest: Manifest) -> None:
    """For programs and for people, what it is."""
    write_manifest(staged, manifest)
    (staged / MODEL_CARD).write_text(model_card(manifest), encoding="utf-8")


def _known_answer(pipeline: Pipeline) -> dict[str, Any]:
    """What the exported graphs say of the drawn picture."""
    answers = {QAFM: pipeline.describe([drawn_picture()])}
    if pipeline.has_quality:
        answers[QAFM_FAST] = pipeline.describe_fast([drawn_picture()])
    return {KNOWN_ANSWER: known_answer(answers)}


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
