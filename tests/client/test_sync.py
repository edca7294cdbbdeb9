"""The client without `async`: the same answers, also where an event loop runs already."""

from __future__ import annotations

import asyncio
import inspect
import threading

import numpy as np
import pytest

from client import ReidClient, SyncReidClient, crops_of
from client.testing import MockTransport, made_up
from qafm.errors import InvalidImage, ServerUnreachable

FRAME = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def place(description) -> int:
    return int(description.descriptor.argmax())


def test_it_has_what_the_other_has():
    def public(kind):
        return {name: member for name, member in vars(kind).items() if not name.startswith("_")}

    assert public(SyncReidClient).keys() - {"url"} == public(ReidClient).keys()
    for name, member in public(ReidClient).items():
        if inspect.isfunction(member):
            asked, given = (inspect.signature(each, eval_str=False) for each in (member, vars(SyncReidClient)[name]))
            assert list(asked.parameters.values()) == list(given.parameters.values()), name


def test_it_describes(peer):
    with SyncReidClient(peer.url) as client:
        assert client.manifest.content == {"checkpoint": "abc"} and client.url == peer.url
        assert place(client.describe(b"7 x")) == 7
        assert [(image, place(found)) for image, found in client.describe_many([b"3 x", b"1 x"])] == [
            (b"3 x", 3),
            (b"1 x", 1),
        ]
        assert client.fuse(*np.zeros((2, 1, 1024), np.float32), np.zeros(1, np.float32)).shape == (1, 1000)
        client.confirm_model()
        assert "DESCRIPTOR" in client.outputs("qafm")
    assert not [thread for thread in threading.enumerate() if thread.name == "SyncReidClient"]


def test_within_an_event_loop(peer):
    async def notebook():
        with SyncReidClient(peer.url) as client:
            return place(client.describe(b"5 x"))

    assert asyncio.run(notebook()) == 5


def test_a_consumer_that_stops_or_is_slow_bounds_what_is_sent(peer):
    with SyncReidClient(peer.url) as client:
        results = client.describe_many((b"%d x" % number for number in range(1000)), concurrency=2)
        assert place(next(results)[1]) == 0
        results.close()
    assert len(peer.requests) <= 10


def test_errors_are_those_of_the_other(peer, closed_url):
    with SyncReidClient(peer.url) as client:
        with pytest.raises(InvalidImage, match="the image is damaged"):
            client.describe(b"bad")
        outcomes = [outcome for _, outcome in client.describe_many([b"bad", b"2 x"], return_errors=True)]
        assert isinstance(outcomes[0], InvalidImage) and place(outcomes[1]) == 2
    with pytest.raises(ServerUnreachable), SyncReidClient(closed_url, connect_timeout_s=0.2):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "SyncReidClient"]


def test_it_is_connected_only_inside(peer):
    client = SyncReidClient(peer.url)
    with pytest.raises(RuntimeError, match="use it as `with SyncReidClient"):
        client.describe(b"1 x")
    with client:
        pass
    with pytest.raises(RuntimeError, match="use it as `with SyncReidClient"):
        client.describe(b"1 x")


def test_the_people_in_a_frame():
    transport = MockTransport()
    with SyncReidClient(transport=transport) as client:
        crops = crops_of(FRAME, [[0, 0, 20, 40], [30, 0, 31, 40], [20, 5, 40, 35]])
        found = [outcome for _, outcome in client.describe_many(crops, return_errors=True)]
    assert isinstance(found[1], InvalidImage) and len(transport.images) == 2
    np.testing.assert_array_equal(found[2].descriptor, made_up(transport.images[1]).descriptor)
