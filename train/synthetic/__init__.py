"""A drawn Market-1501: `make_dataset(Recipe(...), out)`, or `python -m train.synthetic --out DIR`.

Needs no torch.
"""

from train.synthetic.dataset import make_dataset
from train.synthetic.recipe import FULL_SIZE, Recipe

__all__ = ["FULL_SIZE", "Recipe", "make_dataset"]
