"""Holding a live server against the contract, once, before anything is asked of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from qafm.contract import MANIFEST_PARAMETER, Model, Tensor
from qafm.errors import ContractMismatch


def check_metadata(model: Model, metadata: Any, url: str) -> None:
    """Raise ContractMismatch unless `metadata`, the server's ModelMetadataResponse, has the contract's
    tensors.

    Names, types and sizes of all inputs and outputs are compared, in any order.
    """
    for kind, tensors, found in (
        ("inputs", model.inputs, metadata.inputs),
        ("outputs", model.outputs, metadata.outputs),
    ):
        expected = _table([_expected(tensor) for tensor in tensors])
        got = _table([(entry.name, entry.datatype, tuple(entry.shape)) for entry in found])
        if expected != got:
            raise ContractMismatch(
                f"the model {model.name!r} at {url} does not fit this client: its {kind} differ: "
                f"{_difference(expected, got)}. Serve a repository made by this version's `python -m export`",
                url=url,
                model=model.name,
            )


def read_manifest(model_name: str, config: Any, url: str) -> dict[str, Any]:
    """The manifest in the server's ModelConfig of an ensemble. Raises ContractMismatch when it has none."""
    parameters = config.parameters
    text = parameters[MANIFEST_PARAMETER].string_value if MANIFEST_PARAMETER in parameters else ""
    try:
        manifest = json.loads(text)
    except json.JSONDecodeError:
        manifest = None
    if not isinstance(manifest, dict):
        got = f"{text[:60]!r}" if text else "none"
        raise ContractMismatch(
            f"the model {model_name!r} at {url} has no manifest: expected a JSON object in its parameter "
            f"{MANIFEST_PARAMETER!r}, got {got}. Serve a repository made by `python -m export`",
            url=url,
            model=model_name,
        )
    return manifest


def _expected(tensor: Tensor) -> tuple[str, str, tuple[int, ...]]:
    return tensor.name, tensor.wire_dtype, (-1, *tensor.dims)


def _table(tensors: Sequence[tuple[str, str, tuple[int, ...]]]) -> dict[str, str]:
    return {name: f"{name} {datatype} [{','.join(map(str, shape))}]" for name, datatype, shape in tensors}


def _difference(expected: dict[str, str], got: dict[str, str]) -> str:
    """The tensors that differ, each as "expected X, got Y"."""
    names = [*expected, *(name for name in got if name not in expected)]
    return "; ".join(
        f"expected {expected.get(name, 'no ' + name)}, got {got.get(name, 'no ' + name)}"
        for name in names
        if expected.get(name) != got.get(name)
    )
