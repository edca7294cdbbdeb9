"""Crops made worse in a known way, as if the camera had kept them so."""

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


@dataclass(frozen=True)
class Spoilt:
    """A crop, what is done to it, and the seed of what is random in that."""

    crop: Crop
    degradation: Degradation
    seed: int

    def picture(self) -> np.ndarray:
        """uint8 [H,W,3]. Raises InvalidDataset where the crop cannot be read."""
        return decode(self.file()) if self.degradation.strength else read_crop(self.crop)

    def file(self) -> bytes:
        """As it is kept, encoded. Raises InvalidDataset where the crop cannot be read."""
        crop = read_crop(self.crop)
        if not self.degradation.strength:
            return self.crop.path.read_bytes()
        rng = np.random.default_rng(self.seed)
        # A picture gets worse before it is kept: noise that no file has been through is met nowhere.
        return record(degrade(Image.fromarray(crop), self.degradation, rng), rng)
