"""Comparing a live server with the contract, before any image is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from client.server import Server
from qafm.contract import ENSEMBLES, MANIFEST_PARAMETER, MODELS, QAFM, Model, Tensor
from qafm.errors import ContractMismatch
from qafm.manifest import Manifest


@dataclass(frozen=True)
class Served:
    """What a server has of the contract. outputs: by ensemble, the names of those that it gives."""

    manifest: Manifest
    outputs: Mapping[str, tuple[str, ...]]

    @property
    def lacks(self) -> tuple[str, ...]:
        """Optional ensembles, and optional outputs of QAFM, that it does not have."""
        ensembles = (name for name, model in MODELS.items() if model.parts and name not in self.outputs)
        optional = (tensor.name for tensor in MODELS[QAFM].optional_outputs)
        return (*ensembles, *(name for name in optional if name not in self.outputs[QAFM]))


async def shake_hands(server: Server, url: str) -> Served:
    """Hold a server that is ready against the contract. Raises ContractMismatch, or as `Server` does."""
    outputs = {name: check_metadata(MODELS[name], await server.metadata(name), url) for name in ENSEMBLES}
    manifest = read_manifest(QAFM, await server.config(QAFM), url)
    for name in sorted(manifest.fingerprints.keys() & MODELS.keys() - outputs.keys()):
        outputs[name] = check_metadata(MODELS[name], await server.metadata(name), url)
    return Served(manifest, outputs)


def check_metadata(model: Model, metadata: Any, url: str) -> tuple[str, ...]:
    """The names of the outputs of the contract that the server gives, from its ModelMetadataResponse of a model.

    Names, types and sizes of all inputs and outputs are compared, in any order. Optional outputs may be absent, and
    outputs that this client does not know are passed over: a newer server has them. Raises ContractMismatch.
    """
    inputs = _table([(entry.name, entry.datatype, tuple(entry.shape)) for entry in metadata.inputs])
    outputs = _table([(entry.name, entry.datatype, tuple(entry.shape)) for entry in metadata.outputs])
    optional = [tensor for tensor in model.optional_outputs if tensor.name in outputs]
    known = [*model.outputs, *optional]
    for kind, tensors, got in (
        ("inputs", model.inputs, inputs),
        ("outputs", known, {tensor.name: outputs[tensor.name] for tensor in known if tensor.name in outputs}),
    ):
        expected = _table([_expected(tensor) for tensor in tensors])
        if expected != got:
            raise ContractMismatch(
                f"the model {model.name!r} at {url} does not fit this client: its {kind} differ: "
                f"{_difference(expected, got)}. Serve a repository made by this version's `python -m export`",
                url=url,
                model=model.name,
            )
    return tuple(tensor.name for tensor in known)


def read_manifest(model_name: str, config: Any, url: str) -> Manifest:
    """The manifest in the server's ModelConfig of an ensemble. Raises ContractMismatch where it cannot be read."""
    parameters = config.parameters
    text = parameters[MANIFEST_PARAMETER].string_value if MANIFEST_PARAMETER in parameters else ""
    try:
        return Manifest.parse(text)
    except ContractMismatch as error:
        raise ContractMismatch(
            f"the model {model_name!r} at {url} has no manifest that this client can read, in its parameter "
            f"{MANIFEST_PARAMETER!r}: {error}. Serve a repository made by `python -m export`",
            url=url,
            model=model_name,
        ) from error


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
