"""A stand-in for the server, for the tests of programs that use ReidClient.

async with ReidClient(transport=MockTransport()) as client:
    description = await client.describe(b"any bytes")
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from tritonclient.grpc import model_config_pb2, service_pb2  # type: ignore[import-untyped]

from client.description import Description
from client.transport import Arrays, TransportError
from qafm.attributes import SCHEMA
from qafm.contract import (
    ALPHA,
    ATTRIBUTE_SIZE,
    DESCRIPTOR,
    DESCRIPTOR_SIZE,
    FUSION,
    IMAGE,
    MANIFEST_PARAMETER,
    MODELS,
    PERTURBATION_COUNT,
    SEMANTIC,
    VECTOR_SIZE,
    VISUAL,
)
from qafm.errors import InvalidImage, RequestFailed, ServerUnreachable
from qafm.record import RECORD


def made_up(image: bytes) -> Description:
    """A description without meaning, of the right types, sizes and ranges. The same bytes always give the same one."""
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(image).digest()[:8], "little"))
    probabilities = generator.random(ATTRIBUTE_SIZE, dtype=np.float32)
    for attribute in SCHEMA:
        if not attribute.binary:
            probabilities[attribute.columns] /= probabilities[attribute.columns].sum()
    descriptor = generator.standard_normal(DESCRIPTOR_SIZE, dtype=np.float32)
    return Description(
        descriptor=descriptor / np.linalg.norm(descriptor),
        alpha=float(generator.random(dtype=np.float32)),
        identifiability=float(generator.random(dtype=np.float32)),
        visual=generator.standard_normal(VECTOR_SIZE, dtype=np.float32),
        semantic=generator.standard_normal(VECTOR_SIZE, dtype=np.float32),
        attribute_probabilities=probabilities,
        scatter=generator.random(PERTURBATION_COUNT, dtype=np.float32),
        utility=float(generator.random(dtype=np.float32)),
    )


class MockTransport:
    """A `transport` for ReidClient that asks a function instead of a server.

    describe: is called with the encoded bytes of every image. What it returns is the answer, with α as it was asked
    for. If it raises InvalidImage, RequestFailed or ServerUnreachable, the client raises the same as with a server (the
    last one after `retry_s`). manifest: what is served, as JSON has it; `manifest` may be set later, as when a server
    comes back with another model. lacks: optional outputs that are not served. images: those that were sent, in order.
    """

    def __init__(
        self,
        describe: Callable[[bytes], Description] = made_up,
        manifest: dict[str, Any] | None = None,
        lacks: Collection[str] = (),
    ) -> None:
        self.images: list[bytes] = []
        self.manifest = manifest or {"checkpoint": "mock"}
        self._describe = describe
        self._lacks = lacks

    async def ready(self, timeout_s: float) -> bool:
        return True

    async def metadata(self, model: str, timeout_s: float) -> Any:
        def listed(tensors: Any) -> list[Any]:
            about = service_pb2.ModelMetadataResponse.TensorMetadata
            return [about(name=entry.name, datatype=entry.wire_dtype, shape=(-1, *entry.dims)) for entry in tensors]

        contract = MODELS[model]
        optional = (tensor for tensor in contract.optional_outputs if tensor.name not in self._lacks)
        return service_pb2.ModelMetadataResponse(
            name=model, inputs=listed(contract.inputs), outputs=listed([*contract.outputs, *optional])
        )

    async def config(self, model: str, timeout_s: float) -> Any:
        config = model_config_pb2.ModelConfig(name=model)
        config.parameters[MANIFEST_PARAMETER].string_value = json.dumps(self.manifest)
        return config

    async def infer(self, model: str, inputs: Arrays, outputs: list[str], request_id: str, timeout_s: float) -> Arrays:
        answer: Arrays
        if model == FUSION:
            answer = {DESCRIPTOR.name: _fused(*(inputs[tensor.name] for tensor in (VISUAL, SEMANTIC, ALPHA)))}
        else:
            answer = self._answer(bytes(inputs[IMAGE.name][0, 0]))
        return {name: answer[name] for name in outputs}

    async def close(self) -> None:
        pass

    def _answer(self, image: bytes) -> Arrays:
        self.images.append(image)
        try:
            description = self._describe(image)
        except InvalidImage as error:
            raise TransportError("invalid", str(error)) from error
        except RequestFailed as error:
            raise TransportError("other", str(error)) from error
        except ServerUnreachable as error:
            raise TransportError("unavailable", str(error)) from error
        values = {field.tensor: getattr(description, field.name) for field in RECORD}
        return {
            tensor.name: np.asarray(value, np.float32).reshape(1, *tensor.dims)
            for tensor, value in values.items()
            if value is not None
        }


def _fused(visual: np.ndarray, semantic: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Not what a trained fusion does, but it depends on α in the same way: at 1 only `visual` counts."""
    mixed = (alpha * visual + (1 - alpha) * semantic)[:, :DESCRIPTOR_SIZE]
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float32)
