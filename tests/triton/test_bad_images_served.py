"""Images that cannot be described fail their own request, with the reason, and nothing else."""

import contextlib
import functools
import http.client
import json
import os
import queue
import signal
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
from PIL import Image
from tritonclient.utils import InferenceServerException

from qafm.contract import MODELS
from tests.support.bad_images import ACCEPTED, GOOD, REFUSED, encoded
from tests.support.hostile_images import REFUSED_BY_STRUCTURE
from tests.support.served import ENSEMBLES

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def connection(triton_server):
    with grpc.InferenceServerClient(triton_server.grpc_url) as client:
        yield client


def request(images, fixed_alpha=False):
    inputs = [grpc.InferInput("IMAGE", [len(images), 1], "BYTES")]
    inputs[0].set_data_from_numpy(np.array(images, dtype=object)[:, None])
    if fixed_alpha:
        inputs.append(grpc.InferInput("ALPHA", [len(images), 1], "FP32"))
        inputs[1].set_data_from_numpy(np.full((len(images), 1), 0.5, np.float32))
    return inputs


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_image_is_refused_with_its_reason(connection, ensemble, name):
    with pytest.raises(InferenceServerException) as caught:
        connection.infer(ensemble, request([REFUSED[name].data], fixed_alpha=ensemble == "qafm_fixed_alpha"))
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert REFUSED[name].refused.lower() in caught.value.message().lower()
    assert connection.is_server_ready()


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_unusual_image_is_described(connection, name):
    answer = connection.infer("qafm", request([ACCEPTED[name].data]))
    assert np.isfinite(answer.as_numpy("DESCRIPTOR")).all()


def test_http_answers_400(triton_server):
    connection = http.client.HTTPConnection(triton_server.http_url, timeout=60)
    image = {"name": "IMAGE", "shape": [1, 1], "datatype": "BYTES", "data": ["not a picture"]}
    connection.request("POST", "/v2/models/qafm/infer", json.dumps({"inputs": [image]}))
    answer = connection.getresponse()
    assert answer.status == 400
    assert "not a JPEG" in json.loads(answer.read())["error"]
    connection.close()


def test_one_bad_image_fails_the_request_it_came_in_and_is_named(connection):
    with pytest.raises(InferenceServerException, match="image 2 of 3 in the request: the image is empty"):
        connection.infer("qafm", request([GOOD, b"", GOOD]))


def test_neighbours_of_bad_requests_succeed(connection):
    """Seven requests wait together, and `views` takes them one by one: a crop alone never waits for a batch."""
    expected = connection.infer("qafm_fixed_alpha", request([GOOD], fixed_alpha=True)).as_numpy("DESCRIPTOR")
    before = largest_call(connection)
    # Views of a large picture keep each process of `views` busy.
    large = encoded(Image.new("RGB", (500, 1000), "grey"), "PNG")
    images = [GOOD, GOOD, REFUSED["truncated"].data, GOOD, REFUSED["text"].data, GOOD, GOOD]
    answers: queue.Queue = queue.Queue()
    for number in (-2, -1):
        connection.async_infer("qafm", request([large]), functools.partial(_put, answers, number))
    for number, image in enumerate(images):
        put = functools.partial(_put, answers, number)
        connection.async_infer("qafm_fixed_alpha", request([image], fixed_alpha=True), put)
    for _ in range(2 + len(images)):
        number, result, error = answers.get(timeout=60)
        if number in (2, 4):
            assert error.status() == "StatusCode.INVALID_ARGUMENT"
        else:
            assert error is None
        if number >= 0 and images[number] is GOOD:
            np.testing.assert_array_equal(result.as_numpy("DESCRIPTOR"), expected)
    assert largest_call(connection) == before


@pytest.mark.parametrize("name", REFUSED_BY_STRUCTURE)
def test_a_hostile_image_is_refused_and_its_neighbour_is_served_as_ever(connection, name):
    make, why = REFUSED_BY_STRUCTURE[name]
    hostile = make()
    expected = connection.infer("qafm_fixed_alpha", request([GOOD], fixed_alpha=True)).as_numpy("DESCRIPTOR")
    answers: queue.Queue = queue.Queue()
    for image in (hostile, GOOD):
        connection.async_infer(
            "qafm_fixed_alpha", request([image], fixed_alpha=True), functools.partial(_put, answers, image is GOOD)
        )
    got = {good: (result, error) for good, result, error in (answers.get(timeout=20) for _ in range(2))}
    assert got[False][1].status() == "StatusCode.INVALID_ARGUMENT" and why in got[False][1].message()
    np.testing.assert_array_equal(got[True][0].as_numpy("DESCRIPTOR"), expected)


def test_processes_that_decode_are_replaced_when_they_are_killed(connection, triton_server):
    expected = connection.infer("qafm_fixed_alpha", request([GOOD], fixed_alpha=True)).as_numpy("DESCRIPTOR")
    for _ in range(3):
        decoding = [
            int(folder.name)
            for folder in Path("/proc").glob("[0-9]*")
            if b"qafm.serving.decoding_process" in _command_line(folder) and _group(folder) == triton_server.pid
        ]
        assert decoding, "of each process of views, once it was asked, one and its worker"
        for pid in decoding:
            os.kill(pid, signal.SIGKILL)
        for _ in range(4):
            answer = connection.infer("qafm_fixed_alpha", request([GOOD], fixed_alpha=True))
            np.testing.assert_array_equal(answer.as_numpy("DESCRIPTOR"), expected)


@pytest.mark.parametrize("alpha", [np.nan, np.inf, -5.0, 1.5])
def test_a_weight_that_is_none_is_refused(connection, alpha):
    inputs = request([GOOD], fixed_alpha=True)
    inputs[1].set_data_from_numpy(np.array([[alpha]], np.float32))
    with pytest.raises(InferenceServerException, match="ALPHA is .*expected a weight from 0 to 1") as caught:
        connection.infer("qafm_fixed_alpha", inputs)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def _command_line(folder: Path) -> bytes:
    with contextlib.suppress(OSError):
        return (folder / "cmdline").read_bytes()
    return b""


def _group(folder: Path) -> int:
    """The process group of a process in /proc."""
    with contextlib.suppress(OSError):
        return int((folder / "stat").read_text().rpartition(")")[2].split()[2])
    return 0


def _put(answers, number, result, error):
    answers.put((number, result, error))


def largest_call(connection) -> int:
    """Of how many images the largest call of `views` was."""
    (statistics,) = connection.get_inference_statistics("views", as_json=True)["model_stats"]
    return max(int(one["batch_size"]) for one in statistics["batch_stats"])


def test_the_server_still_serves_every_model_after_all_that(connection):
    assert connection.is_server_ready()
    assert all(connection.is_model_ready(name) for name in MODELS)
