"""The `views` model without Triton."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tests.support.pb_utils_stand_in as pb
from qafm.errors import NotAvailable
from qafm.images import decode, resize
from qafm.perturbations import views
from tests.support.bad_images import ACCEPTED, GOOD, REFUSED, encoded, picture

TEMPLATE = Path(__file__).resolve().parents[2] / "model_repository"
OTHER = encoded(picture().rotate(180), "PNG")


@pytest.fixture(scope="module")
def model():
    loaded = pb.load(TEMPLATE / "views" / "1" / "model.py").TritonPythonModel()
    loaded.initialize({})
    yield loaded
    loaded.finalize()


def request(*images: bytes, outputs=("CROP", "VIEWS"), **inputs):
    return pb.InferenceRequest({"IMAGE": np.array(images, dtype=object)[:, None], **inputs}, list(outputs))


def test_crop_and_views_are_those_of_the_library(model):
    (response,) = model.execute([request(GOOD)])
    outputs = response.outputs()
    assert {name: (values.dtype, values.shape) for name, values in outputs.items()} == {
        "CROP": (np.uint8, (1, 384, 128, 3)),
        "VIEWS": (np.uint8, (1, 35, 384, 128, 3)),
    }
    np.testing.assert_array_equal(outputs["CROP"][0], resize(decode(GOOD)))
    np.testing.assert_array_equal(outputs["VIEWS"][0], views(decode(GOOD)))


@pytest.mark.parametrize("wanted", [["CROP"], ["VIEWS"], ["VIEWS", "CROP"]])
def test_returns_what_is_asked_for_and_nothing_else(model, wanted):
    (response,) = model.execute([request(GOOD, outputs=wanted)])
    assert sorted(response.outputs()) == sorted(wanted)


def test_makes_no_views_when_only_the_crop_is_asked_for(model, monkeypatch):
    def fail(crop):
        raise AssertionError("views were made that nobody asked for")

    monkeypatch.setitem(type(model).execute.__globals__, "views", fail)
    (response,) = model.execute([request(GOOD, outputs=["CROP"])])
    np.testing.assert_array_equal(response.outputs()["CROP"][0], resize(decode(GOOD)))


def test_a_request_of_several_images_keeps_their_order(model):
    (response,) = model.execute([request(GOOD, OTHER, GOOD)])
    for row, data in enumerate([GOOD, OTHER, GOOD]):
        np.testing.assert_array_equal(response.outputs()["VIEWS"][row], views(decode(data)))
        np.testing.assert_array_equal(response.outputs()["CROP"][row], resize(decode(data)))


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_image_fails_its_own_request_and_says_why(model, name):
    responses = model.execute([request(GOOD), request(REFUSED[name].data), request(OTHER, outputs=["CROP"])])
    error = responses[1].error()
    assert error.code() == pb.TritonError.INVALID_ARG
    assert REFUSED[name].refused.lower() in error.message().lower()
    assert [response.error() for response in (responses[0], responses[2])] == [None, None]
    np.testing.assert_array_equal(responses[2].outputs()["CROP"][0], resize(decode(OTHER)))


def test_a_bad_image_among_several_of_one_request_is_named_by_its_place(model):
    (response,) = model.execute([request(GOOD, b"", GOOD)])
    assert response.error().message().startswith("image 2 of 3 in the request: ")


def test_images_without_a_batch_are_refused(model):
    (response,) = model.execute([pb.InferenceRequest({"IMAGE": np.array([GOOD], dtype=object)}, ["CROP"])])
    assert response.error().code() == pb.TritonError.INVALID_ARG
    assert response.error().message() == "IMAGE has shape [1]; expected [batch,1]"


@pytest.mark.parametrize("name", ACCEPTED)
def test_unusual_images_are_described(model, name):
    (response,) = model.execute([request(ACCEPTED[name].data, outputs=["CROP"])])
    assert response.error() is None


@pytest.mark.parametrize("alpha", [0, 0.75, 1])
def test_a_weight_of_the_callers_changes_nothing_here(model, alpha):
    (response,) = model.execute([request(GOOD, outputs=["CROP"], ALPHA=np.array([[alpha]], np.float32))])
    np.testing.assert_array_equal(response.outputs()["CROP"][0], resize(decode(GOOD)))


@pytest.mark.parametrize("alpha", [np.nan, np.inf, -np.inf, -5, -1e-6, 1.0001])
def test_what_is_no_weight_is_refused_and_named(model, alpha):
    alphas = np.array([[0.5], [alpha]], np.float32)
    (response,) = model.execute([request(GOOD, GOOD, outputs=["CROP"], ALPHA=alphas)])
    assert response.error().code() == pb.TritonError.INVALID_ARG
    assert f"ALPHA is {alphas[1, 0]:g}" in response.error().message()


def test_a_process_that_cannot_decode_now_is_no_fault_of_the_image(model, monkeypatch):
    def away(data):
        raise NotAvailable("no answer")

    monkeypatch.setattr(model, "_decoder", SimpleNamespace(decode=away))
    (response,) = model.execute([request(GOOD)])
    assert (response.error().code(), response.error().message()) == (pb.TritonError.UNAVAILABLE, "no answer")


def test_a_failure_that_is_not_the_images_fault_stays_with_its_request(model, monkeypatch):
    def out_of_memory(crop):
        raise MemoryError("no room")

    monkeypatch.setitem(type(model).execute.__globals__, "views", out_of_memory)
    failed, fine = model.execute([request(GOOD), request(GOOD, outputs=["CROP"])])
    assert failed.error().code() == pb.TritonError.INTERNAL
    assert "MemoryError: no room" in failed.error().message()
    assert fine.error() is None
