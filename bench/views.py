"""`python -m bench.views`: the 35 views of a crop against a plain loop over NumPy and Pillow, on one thread."""

from __future__ import annotations

import os

# Before NumPy is loaded: as the server runs its Python models.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bench import views_loop
from bench.measure import ROUNDS, Out, Rounds, compare
from qafm.perturbations import views

SIZES = ((64, 128), (400, 1000))
"""Width and height: Market-1501's own, and a large one."""


def main(
    rounds: Rounds = ROUNDS,
    crops: Annotated[int, typer.Option(min=1, help="Different crops in each round.")] = 20,
    out: Out = Path("build/bench/views.json"),
) -> None:
    """Time the views against the loop."""
    generator = np.random.default_rng(0)
    drawn = {
        f"{width}x{height}": generator.integers(0, 256, (crops, height, width, 3), dtype=np.uint8)
        for width, height in SIZES
    }
    compare(
        {
            f"{name}, {size}": partial(_each, make, pixels)
            for size, pixels in drawn.items()
            for name, make in (("loop", views_loop.views), ("views", views))
        },
        rounds,
        title="one crop, one thread",
        ratios=[(f"loop, {size}", f"views, {size}", "at least 3") for size in drawn],
        out=out,
        packages=("numpy", "pillow"),
        per=crops,
    )


def _each(make: Callable[[np.ndarray], np.ndarray], crops: np.ndarray) -> None:
    for crop in crops:
        make(crop)


if __name__ == "__main__":
    typer.run(main)
