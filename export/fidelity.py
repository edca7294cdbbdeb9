"""The gate of reduced precision: results must stay what float32 gives, on people that no network was trained on. (Those
of a refit were; it says so.)"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from export.pipelines import Pipeline, stacked
from qafm.attributes import predicted
from qafm.contract import ALPHA, ATTRIBUTES, DESCRIPTOR, IDENTIFIABILITY
from qafm.datasets.crops import Crop
from qafm.errors import ExportRefused
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate
from train.data import read_crop


@dataclass(frozen=True)
class Bound:
    """A measured value must be at most `limit`, or with `least` at least that. NaN is always out of bounds."""

    limit: float
    least: bool = False

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit

    def __str__(self) -> str:
        return f"at {'least' if self.least else 'most'} {self.limit:g}"


BOUNDS = {
    "descriptor_cosine": Bound(0.995, least=True),
    "identifiability_spearman": Bound(0.99, least=True),
    "alpha_difference": Bound(0.01),
    "mAP_difference": Bound(0.005),
    "attribute_agreement": Bound(0.9, least=True),
}
"""Of what `fidelity` measures. The last one only where there are attributes."""


def check_fidelity(
    exact: Pipeline, reduced: Mapping[str, Pipeline], crops: Iterable[Crop]
) -> dict[str, dict[str, float]]:
    """What `measure_fidelity` measures. Raises as it does, and ExportRefused where a value is out of its bound."""
    images = 0

    def counted() -> Iterator[Crop]:
        nonlocal images
        for images, crop in enumerate(crops, start=1):  # noqa: B007
            yield crop

    measures = measure_fidelity(exact, reduced, counted())
    failed = [
        f"{measure} is {measured[measure]:.4g} in {name}, expected {bound}"
        for name, measured in measures.items()
        for measure, bound in BOUNDS.items()
        if measure in measured and not bound.holds(measured[measure])
    ]
    if failed:
        raise ExportRefused(
            f"the reduced precision changes the results on {images} held-out images; nothing was installed: "
            f"{'; '.join(failed)}. Keep the model that it comes from in a higher precision, as in "
            "--precision int8,iqa=fp32"
        )
    return measures


def measure_fidelity(
    exact: Pipeline, reduced: Mapping[str, Pipeline], crops: Iterable[Crop]
) -> dict[str, dict[str, float]]:
    """Run crops one by one through all pipelines, and return the `fidelity` of each reduced one, by its name.

    Raises ExportRefused where an output is not finite, InvalidDataset where a file cannot be read.
    """
    seen: list[Crop] = []
    expected: list[dict[str, np.ndarray]] = []
    got: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in reduced}
    for crop in crops:
        pixels = read_crop(crop)
        seen.append(crop)
        expected.append(exact.describe([pixels]))
        for name, pipeline in reduced.items():
            outputs = pipeline.describe([pixels])
            if broken := [tensor for tensor, values in outputs.items() if not np.isfinite(values).all()]:
                raise ExportRefused(
                    f"the reduced precision overflows in {name}: {', '.join(broken)} of {crop.path.name} is not "
                    "finite; nothing was installed. Keep the model that it comes from in a higher precision"
                )
            got[name].append(outputs)
    pids, camids = (np.array([getattr(crop, name) for crop in seen]) for name in ("pid", "camid"))
    exactly = stacked(expected)
    return {name: fidelity(exactly, stacked(outputs), pids, camids) for name, outputs in got.items()}


def fidelity(
    exact: Mapping[str, np.ndarray], reduced: Mapping[str, np.ndarray], pids: np.ndarray, camids: np.ndarray
) -> dict[str, float]:
    """How near the outputs of N images are, as arrays [N,...] by the contract's names.

    descriptor_cosine, identifiability_spearman: mean cosine of the descriptors, rank correlation of Q.
    alpha_difference: mean absolute difference of α. mAP_difference: absolute difference of mAP, a fraction, with every
    image as a query to all. attribute_agreement: the fraction of attribute values that stay the same, where there are
    attributes.
    """
    mean_ap = [
        evaluate(images, images).mAP
        for images in (Descriptors(outputs[DESCRIPTOR.name], pids, camids) for outputs in (exact, reduced))
    ]
    q, reduced_q = (outputs[IDENTIFIABILITY.name].ravel() for outputs in (exact, reduced))
    found = {
        "descriptor_cosine": float((exact[DESCRIPTOR.name] * reduced[DESCRIPTOR.name]).sum(axis=1).mean()),
        "identifiability_spearman": float(np.corrcoef(q.argsort().argsort(), reduced_q.argsort().argsort())[0, 1]),
        "alpha_difference": float(np.abs(exact[ALPHA.name] - reduced[ALPHA.name]).mean()),
        "mAP_difference": abs(mean_ap[0] - mean_ap[1]),
    }
    if ATTRIBUTES.name in exact:
        same = predicted(exact[ATTRIBUTES.name]) == predicted(reduced[ATTRIBUTES.name])
        found["attribute_agreement"] = float(same.mean())
    return found
