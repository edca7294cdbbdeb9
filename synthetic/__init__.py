"""A drawn Market-1501: `make_dataset(Recipe(...), out)`, or `python -m synthetic --out DIR`.

Needs no torch.
"""

from synthetic.dataset import make_dataset
from synthetic.recipe import SIZES, Recipe

__all__ = ["SIZES", "Recipe", "make_dataset"]
