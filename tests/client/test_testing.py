"""The stand-in for a server behaves as a server does, seen through the client."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from client import ReidClient
from client.testing import MockTransport, made_up
from qafm.errors import InvalidImage, ModelChanged, RequestFailed, ServerUnreachable


def described(transport, *images, **options):
    async def work():
        async with ReidClient(transport=transport, retry_s=0.2) as client:
            return [result async for _, result in client.describe_many(images, **options)]

    return asyncio.run(work())


def test_the_same_bytes_have_the_same_description():
    transport = MockTransport(manifest={"checkpoint": "abc"})
    one, again, other = described(transport, b"a", b"a", b"b")
    assert np.array_equal(one.descriptor, again.descriptor) and one.alpha == again.alpha
    assert not np.array_equal(one.descriptor, other.descriptor)
    assert np.linalg.norm(one.descriptor) == pytest.approx(1)
    assert all(0 <= value.probability <= 1 for value in one.attributes.values())
    assert transport.images == [b"a", b"a", b"b"]


def test_alpha_can_be_given():
    (found,) = described(MockTransport(), b"a", alpha=0.25)
    assert (found.alpha, found.identifiability) == (0.25, None)


def test_a_test_says_what_an_image_is_like():
    (found,) = described(MockTransport(lambda image: replace(made_up(image), alpha=0.75)), b"a")
    assert found.alpha == 0.75


@pytest.mark.parametrize(
    ("raised", "returned"),
    [(InvalidImage("damaged"), True), (RequestFailed("broken"), True), (ServerUnreachable("gone"), False)],
)
def test_errors_are_those_of_a_server(raised, returned):
    def fail(image):
        raise raised

    with pytest.raises(type(raised), match=str(raised)) as failed:
        described(MockTransport(fail), b"a")
    assert failed.value.model == "qafm" and failed.value.request_id
    if returned:
        (error,) = described(MockTransport(fail), b"a", return_errors=True)
        assert isinstance(error, type(raised))


def test_fusion_depends_on_alpha():
    async def work():
        async with ReidClient(transport=MockTransport()) as client:
            found = await client.describe(b"a")
            visual, semantic = (np.stack([one, one]) for one in (found.visual, found.semantic))
            return found, await client.fuse(visual, semantic, np.array([1, 0], np.float32))

    found, fused = asyncio.run(work())
    for row, only in zip(fused, (found.visual[:1000], found.semantic[:1000]), strict=True):
        np.testing.assert_allclose(row, only / np.linalg.norm(only), rtol=1e-5)


def test_a_server_that_comes_back_with_another_model_is_played_too():
    transport = MockTransport(manifest={"checkpoint": "abc"})

    async def work():
        async with ReidClient(transport=transport) as client:
            await client.describe(b"a")
            transport.manifest = {"checkpoint": "abd"}
            with pytest.raises(ModelChanged, match="has come back with another model"):
                await client.confirm_model()

    asyncio.run(work())


def test_what_a_server_lacks_is_none_and_said():
    async def work(**options):
        async with ReidClient(transport=MockTransport(**options)) as client:
            return client.lacks, await client.describe(b"a")

    lacks, description = asyncio.run(work())
    assert lacks == ("qafm_fast",)
    assert description.scatter.shape == (34,) and 0 <= description.utility <= 1
    lacks, description = asyncio.run(work(lacks=("SCATTER", "UTILITY")))
    assert lacks == ("qafm_fast", "SCATTER", "UTILITY")
    assert description.scatter is None and description.utility is None
