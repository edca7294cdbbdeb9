"""From a finished run to a model repository."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from export.precision import Precision
from export.quality_check import spoil
from export.repository import install
from export.samples import load_data, load_samples
from export.tables import print_gates
from qafm.datasets.degradations import undegraded
from qafm.errors import InvalidDataset, InvalidSettings
from qafm.files import sha256_of
from train.checkpoint import DATA_FILE, checkpoint_path, load_networks, load_run_settings
from train.quality.spoilt import Spoilt
from train.quality.teaching import load_diagnosis, load_fitted_weighting, load_utility, unfitted


def export_run(
    run: Path,
    repository: Path,
    *,
    best: bool,
    flip: bool,
    precisions: Mapping[str, Precision],
    data: Path | None,
    tensorrt: bool,
    console: Console,
) -> None:
    """What `python -m export` does; its `--help` says what the arguments are.

    Raises InvalidCheckpoint, InvalidDataset, InvalidSettings, and ExportRefused where a gate is not passed.
    """
    if best and load_run_settings(run).refits:
        raise InvalidSettings(f"{run}: nothing is validated in a refit, so no epoch is the best; leave --best away")
    spoilt = _spoilt(run, data, console)
    # What one look says is served only where it was judged.
    networks = load_networks(run, best=best, quality=bool(spoilt))
    if warning := unfitted(run, best=best):
        console.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True)
    reduced = any(chosen != "fp32" for chosen in precisions.values())
    manifest = install(
        networks,
        repository,
        origin_of(run, best=best, flip=flip),
        weighting=load_fitted_weighting(run),
        utility=load_utility(run),
        diagnosis=load_diagnosis(run),
        precisions=precisions,
        samples=load_samples(run, data) if reduced else None,
        spoilt=spoilt,
        tensorrt=tensorrt,
        flip=flip,
        console=console,
    )
    print_gates(manifest.content, console)


def _spoilt(run: Path, data: Path | None, console: Console) -> list[Spoilt]:
    """The pictures that quality is checked on; none where nobody named the data and it is no longer where it was."""
    try:
        loaded = load_data(run, data)
    except (InvalidDataset, InvalidSettings) as error:
        if data:
            raise
        console.print(
            f"[yellow]warning:[/] no qafm_fast, and what quality tells is not checked: {escape(str(error))}",
            soft_wrap=True,
        )
        return []
    return spoil(undegraded(loaded.held_out, loaded.root), load_run_settings(run).seed)


def origin_of(run: Path, *, best: bool = False, flip: bool = False) -> dict[str, Any]:
    """Where exported networks come from: settings, data, the hashes of the checkpoints, and whether each picture is
    described together with its mirror image. No folders of this machine: a manifest is shown to whoever asks the
    server."""
    settings = load_run_settings(run).model_dump(mode="json")
    data = json.loads((run / DATA_FILE).read_text())
    return {
        "run": run.resolve().name,
        "settings": settings
        | {"weights": _weights(settings["weights"])}
        | {name: Path(settings[name]).name for name in ("fine_tunes", "refits") if settings[name]},
        "data": {key: value for key, value in data.items() if key != "folder"},
        "checkpoints": {
            path.name: sha256_of(path)
            for path in (checkpoint_path(run, "iqa"), checkpoint_path(run, "joint", best=best))
        },
        "flip": flip,
    }


def _weights(setting: str) -> str:
    """What the trunks started from: a word, or a file by its content, or by its name where it is no longer there."""
    if setting in ("imagenet", "none"):
        return setting
    path = Path(setting)
    try:
        return f"file:{sha256_of(path)}"
    except OSError:
        return path.name
