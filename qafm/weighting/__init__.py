"""From the quality of a picture to the fusion weight α, in one file a kind."""

from qafm.weighting.files import load_utility, load_weighting, save_weighting
from qafm.weighting.weighting import Weighting

__all__ = ["Weighting", "load_utility", "load_weighting", "save_weighting"]
