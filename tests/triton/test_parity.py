"""What the real server answers against the same pipeline in this process, in PyTorch, on the same bytes."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
from PIL import Image

from client import ReidClient
from export.parity import sample_crops
from export.pipelines import TorchPipeline
from qafm.images import decode
from tests.support.seeded_repository import seeded_networks

pytestmark = pytest.mark.triton


def encoded_images() -> list[bytes]:
    """JPEG, PNG and WebP files of several sizes."""
    images = []
    sizes = [(64, 128), (64, 128), (211, 500), (48, 100)]
    for crop, size, form in zip(sample_crops(4), sizes, ("JPEG", "PNG", "WEBP", "JPEG"), strict=True):
        buffer = io.BytesIO()
        Image.fromarray(crop).resize(size).save(buffer, form, quality=90)
        images.append(buffer.getvalue())
    return images


def test_served_equals_pytorch_within_the_designs_tolerances(triton_server):
    images = encoded_images()

    async def describe():
        async with ReidClient(triton_server.grpc_url) as client:
            return [await client.describe(image) for image in images]

    served = asyncio.run(describe())
    pipeline = TorchPipeline(seeded_networks())
    for image, description in zip(images, served, strict=True):
        expected = {name: values[0] for name, values in pipeline.describe([decode(image)]).items()}
        assert np.abs(description.descriptor - expected["DESCRIPTOR"]).max() <= 1e-4
        assert description.identifiability == pytest.approx(expected["IDENTIFIABILITY"][0], rel=1e-3)
        assert description.alpha == pytest.approx(expected["ALPHA"][0], abs=1e-4)
        assert np.abs(description.attribute_probabilities - expected["ATTRIBUTES"]).max() <= 1e-4
        assert np.abs(description.visual - expected["VISUAL"]).max() <= 1e-4 * np.abs(expected["VISUAL"]).max()
        assert np.abs(description.semantic - expected["SEMANTIC"]).max() <= 1e-4 * np.abs(expected["SEMANTIC"]).max()
