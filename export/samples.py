"""Real crops for reduced precision: training crops calibrate it, held-out people judge it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qafm.contract import CROP, MODELS, VIEWS
from qafm.datasets.crops import Crop
from qafm.errors import InvalidDataset, InvalidSettings
from qafm.images import resize
from qafm.perturbations import views
from train.checkpoint import DATA_FILE, load_run_settings
from train.data import TrainingData, load_data_of, read_crop

CALIBRATION_CROPS = {CROP: 256, VIEWS: 32}
"""How many crops a graph with that input is calibrated on; a picture has 35 views."""
HELD_OUT_CROPS = 160


@dataclass(frozen=True)
class Samples:
    """calibration: crops that the networks were trained on, in random order. held_out: crops of other people, one
    identity after the other; a run that refits another has trained on these too."""

    calibration: Sequence[Crop]
    held_out: Sequence[Crop]


def load_data(run: Path, data: Path | None) -> TrainingData:
    """The dataset that a run was trained on: at `data`, or where it was then.

    Raises InvalidCheckpoint where `run` is no run, InvalidDataset where that is other data or no longer there,
    InvalidSettings where the run does not say where it was.
    """
    settings = load_run_settings(run)
    trained_on = json.loads((run / DATA_FILE).read_text())
    root = data or (Path(trained_on["folder"]) if "folder" in trained_on else None)
    if root is None:
        raise InvalidSettings(f"{run / DATA_FILE} does not say where the training data is; name it with --data")
    loaded = load_data_of(settings, root)
    if not loaded.is_described_by(trained_on):
        raise InvalidDataset(f"{root}: not the data that {run} was trained on; name that with --data")
    return loaded


def load_samples(run: Path, data: Path | None) -> Samples:
    """The samples of a run. Raises as `load_data`, and InvalidDataset where no held-out person is under two cameras."""
    loaded = load_data(run, data)
    held_out = sorted(loaded.held_out, key=lambda crop: crop.pid)[:HELD_OUT_CROPS]
    if len({(crop.pid, crop.camid) for crop in held_out}) == len({crop.pid for crop in held_out}):
        raise InvalidDataset(
            f"{loaded.folder}: none of the {len(held_out)} held-out crops shows a person that another camera saw too; "
            "reduced precision is judged by finding them, so export in fp32 or train on more cameras"
        )
    order = np.random.default_rng(load_run_settings(run).seed).permutation(len(loaded.crops))
    return Samples(
        calibration=[loaded.crops[row] for row in order[: max(CALIBRATION_CROPS.values())]],
        held_out=held_out,
    )


def calibration_inputs(model: str, crops: Sequence[Crop]) -> Iterator[dict[str, np.ndarray]]:
    """What a graph is calibrated on: its input by name, one crop at a time. Raises InvalidDataset."""
    (tensor,) = MODELS[model].inputs
    prepare = views if tensor == VIEWS else resize
    for crop in crops[: CALIBRATION_CROPS[tensor]]:
        yield {tensor.name: prepare(read_crop(crop))[np.newaxis]}
