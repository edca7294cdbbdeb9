"""What is wrong with a picture, told by how far each perturbation moves its features.

A picture that is dark already does not move like others when it gets brighter, nor a blurred one when it is blurred
more. The rule that knows this is taught (`train.quality.diagnosis`) and travels in the manifest, under "diagnosis".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qafm.contract import PERTURBATION_COUNT
from qafm.errors import InvalidCheckpoint
from qafm.quality import logarithms

DEFECTS: dict[str, tuple[str, ...]] = {
    "blur": ("blur", "low_resolution"),
    "darkness": ("darkness",),
    "noise": ("noise",),
    "occlusion": ("occlusion",),
    "misalignment": ("misalignment",),
}
"""What a picture may suffer from, and the kinds of degradation that are that. Compression costs too little to count."""
DEFECT_OF = {kind: defect for defect, kinds in DEFECTS.items() for kind in kinds}
"""By kind of degradation."""
RELIABLE = 0.75
"""A defect is named to users only where it was right so often, by the lower end of the 95 % interval: of pictures of
people who did not teach it, five of six made worse in some way. Where fewer are bad, more of what is named is wrong."""

_Z = 1.96


@dataclass(frozen=True, eq=False)
class Defect:
    """How one defect shows. Its odds to nothing being wrong are exp(offset + weights · n), n the 34 logarithms of
    `qafm.quality.logarithms`.

    weights: float64 [34]. Of pictures of people who did not teach it, said: how often it was named; right: how often
    it was there, however slightly; people: for how many of them it was named.
    """

    offset: float
    weights: np.ndarray
    said: int = 0
    right: int = 0
    people: int = 0

    @property
    def reliable(self) -> bool:
        """By Wilson's interval of `right` in `said`, as of so many independent pictures as there were people."""
        if not self.people:
            return False
        share, spread = self.right / self.said, _Z**2 / self.people
        margin = _Z * math.sqrt((share * (1 - share) + spread / 4) / self.people)
        return (share + spread / 2 - margin) / (1 + spread) >= RELIABLE


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The rule: all defects by name, those included that are never named, for they are what else it may be."""

    defects: Mapping[str, Defect]

    def of(self, scatter: np.ndarray) -> str | None:
        """The defect of a picture, by the 34 distances, float [34]; None where none is likelier than all else together,
        or not reliably told."""
        (name,) = self.named(logarithms(scatter)[np.newaxis])
        return name if name and self.defects[name].reliable else None

    def named(self, logs: np.ndarray) -> list[str | None]:
        """Of each picture the defect that is likelier than all else together, reliable or not; see `likeliest`."""
        return [name if chance > 0.5 else None for name, chance in self.likeliest(logs)]

    def likeliest(self, logs: np.ndarray) -> list[tuple[str, float]]:
        """Of each picture the likeliest defect, and its probability in [0,1]: nothing being wrong may be likelier.

        logs: float [N,34], the logarithms of the distances.
        """
        logits = np.stack([defect.offset + logs @ defect.weights for defect in self.defects.values()], axis=1)
        # Beside the logit of nothing, which is 0.
        top = np.maximum(logits.max(axis=1, keepdims=True), 0)
        odds = np.exp(logits - top)
        chances = odds / (odds.sum(axis=1, keepdims=True) + np.exp(-top))
        names = list(self.defects)
        return [(names[place], float(row[place])) for row, place in zip(chances, chances.argmax(axis=1), strict=True)]

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            name: {
                "offset": defect.offset,
                "weights": defect.weights.tolist(),
                "said": defect.said,
                "right": defect.right,
                "people": defect.people,
            }
            for name, defect in self.defects.items()
        }

    @classmethod
    def from_content(cls, content: Any) -> Diagnosis:
        """Raises InvalidCheckpoint for anything else than `content` returns."""
        try:
            defects = {
                name: Defect(
                    float(about["offset"]),
                    np.array(about["weights"], np.float64).reshape(PERTURBATION_COUNT),
                    int(about["said"]),
                    int(about["right"]),
                    int(about["people"]),
                )
                for name, about in content.items()
            }
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise InvalidCheckpoint(
                f"not a diagnosis: expected for each defect offset, {PERTURBATION_COUNT} weights, said, right and "
                f"people ({error!r})"
            ) from error
        if not defects or not all(np.isfinite([each.offset, *each.weights]).all() for each in defects.values()):
            raise InvalidCheckpoint("not a diagnosis: no defect in it, or a number that is not finite")
        if not all(0 <= each.people <= each.said >= each.right >= 0 for each in defects.values()):
            raise InvalidCheckpoint("not a diagnosis: expected 0 <= right <= said and 0 <= people <= said")
        return cls(defects)
