"""Crops made worse in a known way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from qafm.datasets.crops import Crop
from qafm.datasets.degradations import Degradation
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
        whole = Image.fromarray(read_crop(self.crop))
        return np.asarray(degrade(whole, self.degradation, np.random.default_rng(self.seed)))
