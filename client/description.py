"""What the server says about one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qafm.attributes import SCHEMA, predicted
from qafm.record import RECORD, Field

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class AttributeValue:
    """The likeliest value of one attribute, and its probability in [0,1]. Reads "gender: female 0.93"."""

    name: str
    value: str
    probability: float

    def __str__(self) -> str:
        return f"{self.name}: {self.value} {self.probability:.2f}"


@dataclass(frozen=True, eq=False, repr=False)
class Description:
    """One described image: the fields of `qafm.record.RECORD`, and `model`, the name of what made them.

    descriptor: float32 [1000], of length 1. alpha: weight of the visual branch in [0,1].
    identifiability: Q, higher is worse; None where alpha was given, for then it is not computed.
    scatter: float32 [34], how far each perturbation moves the picture's features. utility: in [0,1], higher is
    better. Both are None where the server does not give them. visual, semantic: float32 [1024], the branches' vectors.
    attribute_probabilities: float32 [30], laid out as `qafm.attributes.SCHEMA` says; it and semantic are None where the
    model was trained without attributes. taught: the names of the attributes that it learnt; None for all. model:
    `FINGERPRINT/ENSEMBLE`, with `@ALPHA` where alpha was given; descriptors of two models are not comparable.
    """

    descriptor: Float32
    alpha: float
    identifiability: float | None
    visual: Float32
    semantic: Float32 | None = None
    attribute_probabilities: Float32 | None = None
    scatter: Float32 | None = None
    utility: float | None = None
    taught: tuple[str, ...] | None = None
    model: str | None = None

    @classmethod
    def of(
        cls,
        answer: Mapping[str, NDArray[Any]],
        model: str,
        alpha: float | None = None,
        taught: tuple[str, ...] | None = None,
    ) -> Description:
        """From the tensors of one image, each [1, *dims]; alpha: the weight that was given, if one was."""
        values = {
            field.name: _value(field, answer[field.tensor.name]) for field in RECORD if field.tensor.name in answer
        }
        if alpha is not None:
            values |= {"alpha": alpha, "identifiability": None}
        return cls(**values, model=model, taught=taught)

    def __repr__(self) -> str:
        """In a line: the arrays have thousands of numbers."""
        utility = "" if self.utility is None else f", utility {self.utility:.2f}"
        gender = self.attributes.get("gender")
        told = f"{gender}, " if gender else ""
        return f"<Description by {self.model}: {told}alpha {self.alpha:.3f}{utility}>"

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """The likeliest value of each attribute that the model learnt, by name; none of a model without."""
        probabilities = self.attribute_probabilities
        if probabilities is None:
            return {}
        chosen = predicted(probabilities)
        values = {}
        for attribute, index in zip(SCHEMA, chosen.tolist(), strict=True):
            if self.taught is not None and attribute.name not in self.taught:
                continue
            columns = probabilities[attribute.columns].tolist()
            probability = columns[index] if not attribute.binary else columns[0] if index else 1 - columns[0]
            values[attribute.name] = AttributeValue(attribute.name, attribute.values[index], probability)
        return values

    def summary(self) -> dict[str, Any]:
        """Alpha, identifiability, utility and attributes with plain numbers and words, for JSON."""
        return {
            "alpha": self.alpha,
            "identifiability": self.identifiability,
            "utility": self.utility,
            "attributes": {
                name: {"value": attribute.value, "probability": attribute.probability}
                for name, attribute in self.attributes.items()
            },
            "model": self.model,
        }


def _value(field: Field, tensor: NDArray[Any]) -> Any:
    return tensor[0] if field.shape else float(tensor[0, 0])
