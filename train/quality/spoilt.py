"""Crops made worse in a known way, as if the camera had kept them so; and pictures of people who do not exist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from qafm.datasets.crops import Crop
from qafm.datasets.degradations import Degradation
from qafm.images import decode
from synthetic.camera import record
from synthetic.degradation import degrade
from train.data import read_crop

_WAIST = (0.3, 0.7)
"""Where the upper part of a picture ends, as a part of its height."""


@dataclass(frozen=True)
class Spoilt:
    """A crop, what is done to it, and the seed of what is random in that."""

    crop: Crop
    degradation: Degradation
    seed: int

    def picture(self) -> np.ndarray:
        """uint8 [H,W,3]. Raises InvalidDataset where a crop cannot be read."""
        return decode(self.file()) if self.degradation.strength else read_crop(self.crop)

    def file(self) -> bytes:
        """As it is kept, encoded. Raises InvalidDataset where a crop cannot be read."""
        if not self.degradation.strength:
            read_crop(self.crop)
            return self.crop.path.read_bytes()
        return _worse(read_crop(self.crop), self.degradation, np.random.default_rng(self.seed))


@dataclass(frozen=True)
class Stranger(Spoilt):
    """The upper part of the crop over the lower part of another one, colours exchanged at random, and made worse: a
    person whom no network knows, made of people whom it does."""

    lower: Crop

    def picture(self) -> np.ndarray:
        return decode(self.file())

    def file(self) -> bytes:
        rng = np.random.default_rng(self.seed)
        upper, lower = read_crop(self.crop), read_crop(self.lower)
        height, width, _ = upper.shape
        fitted = np.asarray(Image.fromarray(lower).resize((width, height), Image.Resampling.BILINEAR))
        waist = int(rng.uniform(*_WAIST) * height)
        person = np.concatenate([upper[:waist], fitted[waist:]])[..., rng.permutation(3)]
        return _worse(np.ascontiguousarray(person), self.degradation, rng)


def _worse(picture: np.ndarray, degradation: Degradation, rng: np.random.Generator) -> bytes:
    # A picture gets worse before it is kept: noise that no file has been through is met nowhere.
    return record(degrade(Image.fromarray(picture), degradation, rng), rng)
