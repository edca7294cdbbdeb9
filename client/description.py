"""What the server says about one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qafm.attributes import SCHEMA, predicted

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class AttributeValue:
    """The likeliest value of one attribute, and its probability in [0,1]. Reads "gender: female 0.93"."""

    name: str
    value: str
    probability: float

    def __str__(self) -> str:
        return f"{self.name}: {self.value} {self.probability:.2f}"


@dataclass(frozen=True, eq=False)
class Description:
    """One described image.

    descriptor: float32 [1000], of length 1. alpha: weight of the visual branch in [0,1].
    identifiability: Q, higher is worse; None where alpha was given, for then it is not computed.
    visual, semantic: float32 [1024], the branches' vectors. attribute_probabilities: float32 [30], laid out
    as `qafm.attributes.SCHEMA` says.
    """

    descriptor: Float32
    alpha: float
    identifiability: float | None
    visual: Float32
    semantic: Float32
    attribute_probabilities: Float32

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """The likeliest value of each of the twelve attributes, by name."""
        probabilities = self.attribute_probabilities
        chosen = predicted(probabilities)
        values = {}
        for attribute, index in zip(SCHEMA, chosen.tolist(), strict=True):
            columns = probabilities[attribute.columns].tolist()
            probability = columns[index] if not attribute.binary else columns[0] if index else 1 - columns[0]
            values[attribute.name] = AttributeValue(attribute.name, attribute.values[index], probability)
        return values

    def summary(self) -> dict[str, Any]:
        """Alpha, identifiability and attributes with plain numbers and words, for JSON."""
        return {
            "alpha": self.alpha,
            "identifiability": self.identifiability,
            "attributes": {
                name: {"value": found.value, "probability": found.probability}
                for name, found in self.attributes.items()
            },
        }
