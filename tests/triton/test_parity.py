"""What the real server answers against the same pipeline in this process, in PyTorch, on the same bytes."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
import tritonclient.grpc as grpc
from PIL import Image

from client import ReidClient
from export.parity import TOLERANCES, Tolerance, sample_crops
from export.pipelines import TorchPipeline
from qafm.contract import QAFM, QAFM_FAST
from qafm.images import decode
from qafm.openvino import find_openvino
from qafm.record import RECORD
from server import TritonServer
from tests.support.seeded_repository import seeded_networks, seeded_utility
from tests.support.served import infer, served_outputs

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


@pytest.fixture(scope="module", params=["config", "openvino"])
def server(request, exported_repository, triton_server):
    """By ONNX Runtime's own operators, and by OpenVINO's."""
    if request.param == "config":
        yield triton_server
        return
    if not find_openvino():
        pytest.skip("no OpenVINO here: make openvino")
    with TritonServer(exported_repository, config_name="openvino") as served:
        yield served


@pytest.mark.parametrize(
    ("ensemble", "describe"), [(QAFM, TorchPipeline.describe), (QAFM_FAST, TorchPipeline.describe_fast)]
)
def test_served_equals_pytorch_within_the_designs_tolerances(server, ensemble, describe):
    pipeline = TorchPipeline(seeded_networks(), utility=seeded_utility())
    with grpc.InferenceServerClient(server.grpc_url) as connection:
        for image in encoded_images():
            served, expected = infer(connection, ensemble, [image]), describe(pipeline, [decode(image)])
            assert served.keys() == {tensor.name for tensor in served_outputs(ensemble)}
            for name, values in served.items():
                assert TOLERANCES[name].measure(expected[name], values) <= TOLERANCES[name].limit, name


def test_the_client_says_what_the_server_answers(triton_server):
    """Each field of a description against PyTorch's tensor of the same name."""
    images = encoded_images()

    async def described():
        async with ReidClient(triton_server.grpc_url) as client:
            return client.lacks, [await client.describe(image) for image in images]

    lacks, descriptions = asyncio.run(described())
    served = [field for field in RECORD if field.tensor.name not in lacks]
    assert lacks == () and len(served) == len(RECORD)
    pipeline = TorchPipeline(seeded_networks(), utility=seeded_utility())
    for image, description in zip(images, descriptions, strict=True):
        expected = pipeline.describe([decode(image)])
        for field in served:
            tensor = expected[field.tensor.name][0].reshape(field.shape)
            tolerance = TOLERANCES[field.tensor.name]
            assert tolerance.measure(tensor, np.asarray(getattr(description, field.name))) <= tolerance.limit, field


def test_the_tolerances_are_the_designs():
    assert (TOLERANCES["DESCRIPTOR"], TOLERANCES["ALPHA"]) == (Tolerance(1e-4), Tolerance(1e-4))
    assert TOLERANCES["IDENTIFIABILITY"] == Tolerance(1e-3, relative=True)
