"""Pictures as a run describes them: 35 views each, so each set of pictures is kept in a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from rich.console import Console

from qafm.errors import InvalidSettings
from qafm.files import whole_file
from train.checkpoint import checkpoint_path, load_networks, load_run_settings
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
        """The set of pictures called `name`.

        Raises InvalidDataset where a crop cannot be read, InvalidSettings where another set has that name.
        """
        path, key = self.folder / f"{name}.npz", self._key(pictures)
        if not path.is_file():
            self.console.print(f"{name}: {len(pictures)} pictures")
            networks = load_networks(self.run)
            found = learn(networks, pictures, settings=self.settings, fabric=launch(), console=self.console)
            with whole_file(path) as file:
                np.savez(file, key=np.array(key), **{each: _smaller(values) for each, values in vars(found).items()})
        with np.load(path) as stored:
            if str(stored["key"]) != key:
                raise InvalidSettings(f"{path}: it is of another run or other pictures; choose another --out")
            return Lessons(**{field.name: stored[field.name] for field in fields(Lessons)})

    def _key(self, pictures: Sequence[Spoilt]) -> str:
        """What a set of pictures is described by, and which it is."""
        digest = hashlib.sha256()
        for stage in ("iqa", "joint"):
            digest.update(checkpoint_path(self.run, stage).read_bytes())
        for picture in pictures:
            digest.update(f"{picture.crop.path.name} {picture.degradation}\n".encode() + picture.picture().tobytes())
        return digest.hexdigest()[:16]


def _smaller(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) if values.ndim > 1 and values.shape[1] > 100 else values
