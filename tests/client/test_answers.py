"""A server that answers what it should not, and a client that believes nothing."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from client import ReidClient
from client.answers import complaint
from client.evaluate import evaluate_dataset
from qafm.contract import MODELS
from qafm.errors import RequestFailed, RequestRefused, ServerUnreachable


def answer(count=2, **changes):
    """What `qafm` answers to so many images; `changes` by tensor."""
    values = {
        tensor.name: np.full((count, *tensor.dims), 0.5, np.float32)
        for tensor in (*MODELS["qafm"].outputs, *MODELS["qafm"].optional_outputs)
    }
    values["DESCRIPTOR"] = np.full((count, 1000), 1000**-0.5, np.float32)
    return values | changes


def said(changed, outputs=("DESCRIPTOR", "ALPHA", "ATTRIBUTES", "SCATTER")):
    return complaint("qafm", changed, outputs, 2)


def column(value, size=1):
    return np.full((2, size), value, np.float32)


def test_an_answer_of_the_contract_is_no_complaint():
    assert said(answer()) is None
    assert said(answer(ALPHA=column(0), SCATTER=column(2.5, 34))) is None
    assert said(answer(DESCRIPTOR=answer()["DESCRIPTOR"] * np.float32(1.0009))) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DESCRIPTOR": np.ones((1, 1), np.float32)}, "DESCRIPTOR is float32 [1, 1], expected float32 [2, 1000]"),
        ({"DESCRIPTOR": np.ones((1, 1000), np.float32)}, "DESCRIPTOR is float32 [1, 1000], expected float32 [2, 1000]"),
        ({"DESCRIPTOR": np.ones((2, 1000))}, "DESCRIPTOR is float64 [2, 1000], expected float32 [2, 1000]"),
        ({"DESCRIPTOR": np.full((2, 1000), b"x", object)}, "DESCRIPTOR is object [2, 1000], expected float32"),
        ({"DESCRIPTOR": np.zeros((2, 1000), np.float32)}, "DESCRIPTOR has length 0, expected 1"),
        ({"DESCRIPTOR": answer()["DESCRIPTOR"] * np.float32([[1], [1.01]])}, "DESCRIPTOR has length 1.01, expected 1"),
        ({"ALPHA": column(np.nan)}, "ALPHA has a value that is not finite"),
        ({"ALPHA": column(1.5)}, "ALPHA has a value that is not from 0 to 1"),
        ({"ATTRIBUTES": column(-0.1, 30)}, "ATTRIBUTES has a value that is not from 0 to 1"),
        ({"SCATTER": column(-1, 34)}, "SCATTER has a value that is not at least 0"),
    ],
)
def test_what_is_not_of_the_contract_is_named(changes, words):
    assert said(answer(**changes)).startswith(words)


def test_what_is_missing_is_named_with_all_else_that_is_wrong():
    broken = answer(ALPHA=column(2))
    del broken["DESCRIPTOR"]
    assert said(broken) == "DESCRIPTOR is missing; ALPHA has a value that is not from 0 to 1"


# --- over gRPC
# ------------------------------------------------------------------------------------------------


def described(url, **options):
    async def ask():
        async with ReidClient(url, retry_s=0, **options) as client:
            return await client.describe(b"7")

    return asyncio.run(ask())


def cut(response):
    response.raw_output_contents[0] = response.raw_output_contents[0][:-4]


def reshape(response):
    del response.outputs[0].shape[:]
    response.outputs[0].shape.extend([1, 1])
    response.raw_output_contents[0] = response.raw_output_contents[0][:4]


def of_another_type(response):
    response.outputs[0].datatype = "FP64"


def of_no_type(response):
    response.outputs[0].datatype = "FP7"


def as_text(response):
    response.outputs[0].datatype = "BYTES"


def without_values(response):
    del response.raw_output_contents[:]


def without_one(response):
    del response.outputs[0]
    del response.raw_output_contents[0]


def of_another_request(response):
    response.id = "another"


def doubled(response):
    response.raw_output_contents[0] *= 2


@pytest.mark.parametrize(
    "spoil",
    [
        *(cut, reshape, of_another_type, of_no_type, as_text, without_values),
        *(without_one, of_another_request, doubled),
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_answer_fails_its_image_in_one_sentence(peer, spoil):
    peer.spoil = spoil
    with pytest.raises(RequestFailed, match="the model 'qafm' at .* failed: ") as caught:
        described(peer.url)
    assert "\n" not in str(caught.value)


def test_a_model_that_has_lost_its_process_is_waited_for(peer):
    peer.lost = 2

    async def ask():
        async with ReidClient(peer.url, retry_s=10) as client:
            return await client.describe(b"7")

    assert asyncio.run(ask()).descriptor.argmax() == 7 and len(peer.requests) == 3


# --- what goes on when nobody waits any more
# ------------------------------------------------------------------------------------------------


def test_a_request_that_nobody_waits_for_any_more_is_not_cancelled(peer):
    """Triton before 24.11 may die of it."""
    peer.delay_s = 0.5

    async def ask():
        async with ReidClient(peer.url) as client:
            task = asyncio.create_task(client.describe(b"7"))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(ask())
    assert (peer.answered, peer.in_flight) == (1, 0)


def test_neither_is_one_whose_time_is_over(peer):
    peer.delay_s = 0.5
    with pytest.raises(RequestFailed, match=r"no answer within 0\.1 s"):
        described(peer.url, request_timeout_s=0.1)
    assert (peer.answered, peer.in_flight) == (1, 0)


def test_of_many_only_those_that_were_sent_go_on(peer):
    peer.delay_s = 0.3

    async def ask():
        async with ReidClient(peer.url) as client:
            async for _ in client.describe_many([b"1"] * 50, concurrency=4):
                break

    asyncio.run(ask())
    assert peer.answered == len(peer.requests) <= 8


# --- a server that is of no use any more
# ------------------------------------------------------------------------------------------------


def described_all(url, images, **options):
    async def ask():
        async with ReidClient(url, retry_s=0, **options) as client:
            many = client.describe_many(images, concurrency=4, return_errors=True)
            return [result async for _, result in many]

    return asyncio.run(ask())


def test_a_server_that_begins_to_refuse_is_not_asked_for_every_image(peer):
    peer.refuse_after = 6
    with pytest.raises(RequestRefused, match="refuses this client"):
        described_all(peer.url, [b"1"] * 100)
    assert len(peer.requests) < 20


def test_a_server_that_answers_nothing_is_given_up(peer):
    peer.delay_s = 3
    with pytest.raises(ServerUnreachable, match="answered none of 16 requests in a row within 0.05 s"):
        described_all(peer.url, [b"1"] * 100, request_timeout_s=0.05)
    assert len(peer.requests) < 40


def test_one_late_answer_among_others_is_no_reason(peer):
    peer.slow = b"slow"
    images = [b"1", b"slow"] * 20
    results = described_all(peer.url, images, request_timeout_s=0.2)
    assert sum(isinstance(result, RequestFailed) for result in results) == 20


def test_an_evaluation_ends_where_the_server_refuses(peer, dataset, tmp_path):
    peer.refuse_after = 1

    async def evaluate():
        async with ReidClient(peer.url, retry_s=0) as client:
            await evaluate_dataset(client, dataset, tmp_path / "report")

    with pytest.raises(RequestRefused):
        asyncio.run(evaluate())
