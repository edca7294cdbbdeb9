"""A server's answer, held against the contract before anybody uses it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qafm.contract import DESCRIPTOR, MODELS, Tensor

_ROUNDING = 1e-5
"""How far a probability may be beyond its range: a runtime approximates exponentials."""
_LENGTH_TOLERANCE = 1e-3
"""How far a descriptor's length may be from 1: float16 has three digits."""


def complaint(model: str, answer: Mapping[str, NDArray[Any]], outputs: Iterable[str], count: int) -> str | None:
    """What is wrong with the answer of a model to `count` images, in words; None where it is as the contract has it.

    Names, types, sizes, and of every value that it is finite and in its range; descriptors have length 1.
    """
    spec = MODELS[model]
    tensors = {tensor.name: tensor for tensor in (*spec.outputs, *spec.optional_outputs)}
    wrong = [said for name in outputs for said in _wrong(tensors[name], answer.get(name), count)]
    return "; ".join(wrong) or None


def _wrong(tensor: Tensor, values: NDArray[Any] | None, count: int) -> Iterator[str]:
    shape = (count, *tensor.dims)
    if values is None:
        yield f"{tensor.name} is missing"
    elif values.dtype != np.float32 or values.shape != shape:
        yield f"{tensor.name} is {values.dtype} {list(values.shape)}, expected float32 {list(shape)}"
    elif not np.isfinite(values).all():
        yield f"{tensor.name} has a value that is not finite"
    elif not tensor.holds(values, _ROUNDING):
        yield f"{tensor.name} has a value that is not {tensor.range_in_words}"
    elif tensor == DESCRIPTOR:
        lengths = np.linalg.norm(values, axis=1)
        if np.abs(lengths - 1).max(initial=0) > _LENGTH_TOLERANCE:
            yield f"{tensor.name} has length {lengths[np.abs(lengths - 1).argmax()]:.4g}, expected 1"
