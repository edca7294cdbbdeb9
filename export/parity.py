"""The gate: what was exported must compute what was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.pipelines import Pipeline
from qafm.contract import ALPHA, ATTRIBUTES, DESCRIPTOR, FEATURES, IDENTIFIABILITY, SCATTER, SEMANTIC, UTILITY, VISUAL
from qafm.errors import ExportRefused

SAMPLES = 2


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be off: absolutely, or relative to its largest value."""

    limit: float
    relative: bool = False

    def measure(self, expected: np.ndarray, got: np.ndarray) -> float:
        difference = float(np.abs(expected - got).max())
        return difference / float(np.abs(expected).max()) if self.relative else difference


TOLERANCES = {
    DESCRIPTOR.name: Tolerance(1e-4),
    ALPHA.name: Tolerance(1e-4),
    IDENTIFIABILITY.name: Tolerance(1e-3, relative=True),
    SCATTER.name: Tolerance(1e-3, relative=True),
    UTILITY.name: Tolerance(1e-3),
    ATTRIBUTES.name: Tolerance(1e-4),
    VISUAL.name: Tolerance(1e-4, relative=True),
    SEMANTIC.name: Tolerance(1e-4, relative=True),
    FEATURES.name: Tolerance(1e-4, relative=True),
}
"""In float32. README.md promises the first three; the others show which network a fault is in."""


def sample_crops(count: int = SAMPLES, seed: int = 0) -> list[np.ndarray]:
    """Crops uint8 [128,64,3] of coarse blocks under fine noise: edges and texture, and nobody's picture."""
    generator = np.random.default_rng(seed)
    crops = []
    for _ in range(count):
        blocks = generator.integers(0, 256, (8, 4, 3)).repeat(16, axis=0).repeat(16, axis=1)
        crops.append((blocks + generator.normal(0, 12, blocks.shape)).clip(0, 255).astype(np.uint8))
    return crops


def check_parity(expected: Pipeline, exported: Pipeline, crops: Sequence[np.ndarray] | None = None) -> dict[str, float]:
    """The differences between two pipelines, by output.

    `expected` sees the crops (by default `sample_crops()`) one by one and `exported` all in one batch, so that a graph
    which mixes its batch up is noticed too. Raises ExportRefused where a difference exceeds its tolerance or is not a
    number.
    """
    differences = measure_parity(expected, exported, sample_crops() if crops is None else crops)
    if failed := too_far(differences):
        raise ExportRefused(
            f"the exported graphs do not compute what was trained; nothing was installed: {', '.join(failed)}"
        )
    return differences


def too_far(differences: Mapping[str, float]) -> list[str]:
    """In words, the differences that exceed their tolerance or are no numbers."""
    return [
        f"{name} is off by {difference:.2g}, allowed {TOLERANCES[name].limit:.2g}"
        for name, difference in differences.items()
        if not difference <= TOLERANCES[name].limit
    ]


def measure_parity(expected: Pipeline, exported: Pipeline, crops: Sequence[np.ndarray]) -> dict[str, float]:
    """What `check_parity` judges: where there is a network `quality`, the larger difference of both ways to look."""
    looks = [(expected.describe, exported.describe)]
    if expected.has_quality:
        looks.append((expected.describe_fast, exported.describe_fast))
    differences: dict[str, float] = {}
    for one, other in looks:
        singles, batch = [one([crop]) for crop in crops], other(crops)
        for name, tolerance in TOLERANCES.items():
            if name in batch:  # without a utility there is none, and one look has no FEATURES
                difference = tolerance.measure(np.concatenate([single[name] for single in singles]), batch[name])
                # The larger one by Python's max could be the one that is a number.
                differences[name] = float(np.maximum(difference, differences.get(name, 0.0)))
    return differences
