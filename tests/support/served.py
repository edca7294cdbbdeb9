"""What the template serves, and a request to a server without this project's client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import tritonclient.grpc as grpc

from qafm.contract import (
    ALPHA,
    ATTRIBUTES,
    IMAGE,
    MODELS,
    QAFM,
    QAFM_FAST,
    QAFM_FIXED_ALPHA,
    SCATTER,
    SEMANTIC,
    UTILITY,
    Model,
    Tensor,
)

ENSEMBLES = [name for name, model in MODELS.items() if model.parts]
"""Those that the template serves: all of the contract."""
_OF_ATTRIBUTES = (ATTRIBUTES, SEMANTIC)
OPTIONAL = {
    "alpha": (UTILITY, SCATTER),
    QAFM: (*_OF_ATTRIBUTES, UTILITY, SCATTER),
    QAFM_FAST: (*_OF_ATTRIBUTES, UTILITY, SCATTER),
    QAFM_FIXED_ALPHA: _OF_ATTRIBUTES,
}
"""The optional outputs that the template serves, by model."""


def served_outputs(model: str) -> tuple[Tensor, ...]:
    """Every output that the template serves of a model, in the order of its configuration."""
    return (*MODELS[model].outputs, *OPTIONAL.get(model, ()))


def with_attributes(name: str) -> Model:
    """An ensemble of the contract that was trained with attributes, without any other optional output."""
    return replace(MODELS[name], outputs=(*MODELS[name].outputs, *_OF_ATTRIBUTES))


def infer(
    connection: grpc.InferenceServerClient,
    ensemble: str,
    images: Sequence[bytes],
    outputs: Sequence[str] | None = None,
    alpha: float = 0.3,
) -> dict[str, np.ndarray]:
    """The answer of an ensemble by output name; `outputs` None asks for none by name, which is for all."""
    inputs = [grpc.InferInput(IMAGE.name, [len(images), 1], IMAGE.wire_dtype)]
    inputs[0].set_data_from_numpy(np.array(images, dtype=object)[:, None])
    if ensemble == QAFM_FIXED_ALPHA:
        inputs.append(grpc.InferInput(ALPHA.name, [len(images), 1], ALPHA.wire_dtype))
        inputs[1].set_data_from_numpy(np.full((len(images), 1), alpha, np.float32))
    wanted = None if outputs is None else [grpc.InferRequestedOutput(name) for name in outputs]
    answer = connection.infer(ensemble, inputs, outputs=wanted, client_timeout=60)
    return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}
