"""The `alpha` model without Triton."""

from pathlib import Path

import numpy as np
import pytest

import tests.support.pb_utils_stand_in as pb
from qafm.quality import measure
from qafm.weighting import save_weighting
from qafm.weighting.perceptron import Perceptron

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


@pytest.fixture
def model(tmp_path):
    (tmp_path / "1").mkdir()
    save_weighting(tmp_path / "1" / "alpha.npz", WEIGHTING)
    model = pb.load(TEMPLATE / "alpha" / "1" / "model.py").TritonPythonModel()
    model.initialize({"model_repository": str(tmp_path), "model_version": "1"})
    return model


def features(count: int) -> np.ndarray:
    return rng.normal(size=(count, 35, 2048)).astype(np.float32)


def test_scores_and_weights_are_those_of_the_library(model):
    batches = [features(1), features(3)]
    responses = model.execute(
        [pb.InferenceRequest({"FEATURES": batch}, ["IDENTIFIABILITY", "ALPHA"]) for batch in batches]
    )
    for batch, response in zip(batches, responses, strict=True):
        outputs = response.outputs()
        assert {name: (v.dtype, v.shape) for name, v in outputs.items()} == {
            "IDENTIFIABILITY": (np.float32, (len(batch), 1)),
            "ALPHA": (np.float32, (len(batch), 1)),
        }
        for row, one in enumerate(batch):
            quality = measure(one)
            assert outputs["IDENTIFIABILITY"][row, 0] == np.float32(quality.identifiability)
            assert outputs["ALPHA"][row, 0] == np.float32(WEIGHTING.alpha(quality))


@pytest.mark.parametrize("wanted", ["IDENTIFIABILITY", "ALPHA"])
def test_returns_only_what_is_asked_for(model, wanted):
    (response,) = model.execute([pb.InferenceRequest({"FEATURES": features(1)}, [wanted])])
    assert list(response.outputs()) == [wanted]


def test_weights_that_are_missing_fail_the_load(tmp_path):
    model = pb.load(TEMPLATE / "alpha" / "1" / "model.py").TritonPythonModel()
    with pytest.raises(FileNotFoundError, match=r"alpha\.npz"):
        model.initialize({"model_repository": str(tmp_path), "model_version": "1"})
