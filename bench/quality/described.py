"""Pictures as a run describes them: 35 views each, so each set of pictures is kept in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from qafm.files import whole_file
from train.checkpoint import load_networks, load_run_settings
from train.launch import launch
from train.quality.lessons import learn
from train.quality.spoilt import Spoilt
from train.quality.utility import Lessons


class Described:
    """What a finished run says of pictures; `folder` has what it said before."""

    def __init__(self, run: Path, folder: Path, console: Console) -> None:
        self.run, self.folder, self.console = run, folder, console
        self.settings = load_run_settings(run)
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, name: str, pictures: Sequence[Spoilt]) -> Lessons:
        """The set of pictures called `name`. Raises InvalidDataset where a crop cannot be read."""
        path = self.folder / f"{name}.npz"
        if not path.is_file():
            self.console.print(f"{name}: {len(pictures)} pictures")
            networks = load_networks(self.run)
            found = learn(networks, pictures, settings=self.settings, fabric=launch(), console=self.console)
            with whole_file(path) as file:
                np.savez(file, **{key: _smaller(values) for key, values in vars(found).items()})
        with np.load(path) as stored:
            return Lessons(**{key: stored[key] for key in stored.files})


def _smaller(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) if values.ndim > 1 and values.shape[1] > 100 else values
