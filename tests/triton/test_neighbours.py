"""Who asks for one look does not wait for those who ask for 35 views, however many they are."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
from PIL import Image

from client import ReidClient
from qafm.contract import QAFM, QAFM_FAST
from server import TritonServer
from tests.support.bad_images import GOOD
from tests.support.small_repository import make_small_repository

pytestmark = pytest.mark.triton

CROWD = 40


def large_picture() -> bytes:
    """Its views take a tenth of a second."""
    encoded = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (1000, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(encoded, "JPEG")
    return encoded.getvalue()


def test_one_look_goes_before_the_views_that_wait(tmp_path: Path):
    image = grpc.InferInput("IMAGE", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[large_picture()]], dtype=object))
    answered, everyone = [], threading.Event()

    def answer(result, error):
        answered.append(error)
        if len(answered) == CROWD:
            everyone.set()

    async def ask(server, crowd):
        async with ReidClient(server.grpc_url) as client:
            await client.describe(GOOD, ensemble=QAFM_FAST)
            for _ in range(CROWD):
                crowd.async_infer(QAFM, [image], answer)
            await asyncio.sleep(0.3)
            await client.describe(GOOD, ensemble=QAFM_FAST)
            return len(answered)

    with (
        TritonServer(make_small_repository(tmp_path / "models")) as server,
        grpc.InferenceServerClient(server.grpc_url) as crowd,
    ):
        before = asyncio.run(ask(server, crowd))
        assert everyone.wait(60)
    assert before < CROWD / 2 and answered == [None] * CROWD
