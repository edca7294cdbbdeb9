"""The `alpha` model without Triton."""

from pathlib import Path

import numpy as np
import pytest

import tests.support.pb_utils_stand_in as pb
from qafm.quality import measure
from qafm.weighting import save_weighting
from qafm.weighting.perceptron import Perceptron
from tests.support.seeded_repository import seeded_utility

TEMPLATE = Path(__file__).resolve().parents[2] / "model_repository"
rng = np.random.default_rng(0)
WEIGHTING = Perceptron(
    w1=rng.normal(size=(32, 1)),
    b1=rng.normal(size=32),
    w2=rng.normal(size=(1, 32)),
    b2=np.zeros(1),
    mu=np.array(60.0),
    sigma=np.array(5.0),
)
UTILITY = seeded_utility()
OUTPUTS = ["IDENTIFIABILITY", "ALPHA", "SCATTER", "UTILITY"]


@pytest.fixture
def model(tmp_path):
    (tmp_path / "1").mkdir()
    save_weighting(tmp_path / "1" / "alpha.npz", WEIGHTING, UTILITY)
    model = pb.load(TEMPLATE / "alpha" / "1" / "model.py").TritonPythonModel()
    model.initialize({"model_repository": str(tmp_path), "model_version": "1"})
    return model


def features(count: int) -> np.ndarray:
    return rng.normal(size=(count, 35, 2048)).astype(np.float32)


def request(batch: np.ndarray, outputs: list[str] | None = None) -> pb.InferenceRequest:
    return pb.InferenceRequest({"FEATURES": batch}, outputs or OUTPUTS)


def test_answers_are_those_of_the_library(model):
    batches = [features(1), features(3)]
    responses = model.execute([request(batch) for batch in batches])
    for batch, response in zip(batches, responses, strict=True):
        outputs = response.outputs()
        assert {name: (v.dtype, v.shape) for name, v in outputs.items()} == {
            "IDENTIFIABILITY": (np.float32, (len(batch), 1)),
            "ALPHA": (np.float32, (len(batch), 1)),
            "SCATTER": (np.float32, (len(batch), 34)),
            "UTILITY": (np.float32, (len(batch), 1)),
        }
        for row, views in enumerate(batch):
            quality = measure(views)
            assert outputs["IDENTIFIABILITY"][row, 0] == np.float32(quality.identifiability)
            assert outputs["ALPHA"][row, 0] == np.float32(WEIGHTING.alpha(quality))
            np.testing.assert_array_equal(outputs["SCATTER"][row], quality.scatter)
            assert outputs["UTILITY"][row, 0] == np.float32(UTILITY.of(quality))


@pytest.mark.parametrize("wanted", OUTPUTS)
def test_returns_only_what_is_asked_for(model, wanted):
    (response,) = model.execute([request(features(1), [wanted])])
    assert list(response.outputs()) == [wanted]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_fail_their_request_alone(model, value):
    broken = features(2)
    broken[1, 3, 7] = value
    fine, failed, after = model.execute([request(features(1)), request(broken), request(features(1))])
    assert failed.error().code() == pb.TritonError.INTERNAL
    assert failed.error().message().startswith("FEATURES has values that are not finite: the network `iqa` overflows")
    assert fine.error() is None and after.error() is None


def test_what_nobody_foresaw_fails_its_request_alone(model, monkeypatch):
    def out_of_memory(quality):
        raise MemoryError("no room")

    good, bad = features(1), features(1)
    awkward = measure(bad[0]).identifiability

    class Failing:
        def alpha(self, quality):
            return out_of_memory(quality) if quality.identifiability == awkward else WEIGHTING.alpha(quality)

    monkeypatch.setattr(model, "_weighting", Failing())
    failed, fine = model.execute([request(bad), request(good)])
    assert failed.error().code() == pb.TritonError.INTERNAL
    assert failed.error().message() == "alpha failed: MemoryError: no room"
    assert fine.error() is None


def test_the_zeros_of_the_warm_up_have_an_answer(model):
    (response,) = model.execute([request(np.zeros((1, 35, 2048), np.float32))])
    assert all(np.isfinite(values).all() for values in response.outputs().values())


def test_without_a_utility_the_rest_is_answered(tmp_path):
    (tmp_path / "1").mkdir()
    save_weighting(tmp_path / "1" / "alpha.npz", WEIGHTING)
    model = pb.load(TEMPLATE / "alpha" / "1" / "model.py").TritonPythonModel()
    model.initialize({"model_repository": str(tmp_path), "model_version": "1"})
    (response,) = model.execute([request(features(1), OUTPUTS[:3])])
    assert list(response.outputs()) == OUTPUTS[:3]


def test_weights_that_are_missing_fail_the_load(tmp_path):
    model = pb.load(TEMPLATE / "alpha" / "1" / "model.py").TritonPythonModel()
    with pytest.raises(FileNotFoundError, match=r"alpha\.npz"):
        model.initialize({"model_repository": str(tmp_path), "model_version": "1"})
