"""Every ensemble on the real server: every path, every output, every batch size, and bitwise repeatable."""

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from qafm.contract import MANIFEST_PARAMETER, MAX_BATCH_SIZE, MODELS
from qafm.manifest import Manifest
from tests.support.bad_images import GOOD, encoded, picture
from tests.support.served import ENSEMBLES, infer, served_outputs

pytestmark = pytest.mark.triton

IMAGES = [GOOD, *(encoded(picture().rotate(40 * turn), "PNG") for turn in range(1, MAX_BATCH_SIZE))]


@pytest.fixture(scope="module")
def connection(triton_server):
    with grpc.InferenceServerClient(triton_server.grpc_url) as client:
        yield client


@pytest.mark.parametrize("batch", [1, 2, MAX_BATCH_SIZE])
@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_every_path_at_every_batch_size(connection, ensemble, batch):
    answer = infer(connection, ensemble, IMAGES[:batch])
    assert {name: (values.dtype.name, values.shape) for name, values in answer.items()} == {
        tensor.name: ("float32", (batch, *tensor.dims)) for tensor in served_outputs(ensemble)
    }
    assert all(np.isfinite(values).all() for values in answer.values())
    np.testing.assert_allclose(np.linalg.norm(answer["DESCRIPTOR"], axis=1), 1, atol=1e-5)


def test_a_batch_above_the_maximum_is_refused(connection):
    with pytest.raises(InferenceServerException, match="batch"):
        infer(connection, "qafm", [GOOD] * (MAX_BATCH_SIZE + 1))


@pytest.mark.parametrize(
    ("ensemble", "output"), [(name, tensor.name) for name in ENSEMBLES for tensor in served_outputs(name)]
)
def test_every_single_output_can_be_asked_for_alone(connection, ensemble, output):
    everything = infer(connection, ensemble, [GOOD])
    alone = infer(connection, ensemble, [GOOD], outputs=[output])
    assert list(alone) == [output]
    np.testing.assert_array_equal(alone[output], everything[output])


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_the_same_bytes_give_bitwise_the_same_outputs_at_every_batch_size(connection, ensemble):
    alone = [infer(connection, ensemble, [image]) for image in IMAGES]
    again = infer(connection, ensemble, IMAGES[:1])
    for name, values in alone[0].items():
        np.testing.assert_array_equal(values, again[name], err_msg=name)
    for batch in (2, MAX_BATCH_SIZE):
        together = infer(connection, ensemble, IMAGES[:batch])
        for name, values in together.items():
            np.testing.assert_array_equal(values, np.concatenate([one[name] for one in alone[:batch]]), err_msg=name)


def test_pictures_of_different_content_differ_in_every_output(connection):
    first, second = infer(connection, "qafm", IMAGES[:1]), infer(connection, "qafm", IMAGES[1:2])
    for name, values in first.items():
        assert not np.array_equal(values, second[name]), name


def test_fixed_alpha_with_the_images_own_alpha_is_the_same_descriptor(connection):
    own = infer(connection, "qafm", [GOOD])
    fixed = infer(connection, "qafm_fixed_alpha", [GOOD], alpha=own["ALPHA"].item())
    for name, values in fixed.items():
        np.testing.assert_array_equal(values, own[name], err_msg=name)


@pytest.mark.parametrize(("ensemble", "asked"), [("qafm_fixed_alpha", 0), ("qafm_fast", 1)])
def test_one_look_makes_no_views_and_asks_no_iqa(connection, ensemble, asked):
    def executions(model):
        statistics = connection.get_inference_statistics(model, as_json=True)
        return int(statistics["model_stats"][0].get("execution_count", 0))

    before = {model: executions(model) for model in ("views", "iqa", "alpha", "quality")}
    infer(connection, ensemble, [GOOD])
    assert {model: executions(model) - count for model, count in before.items()} == {
        "views": 1,
        "iqa": 0,
        "alpha": 0,
        "quality": asked,
    }


@pytest.mark.parametrize("name", MODELS)
def test_the_server_reports_the_contract(connection, name):
    metadata = connection.get_model_metadata(name)
    inputs = (*MODELS[name].inputs, *MODELS[name].optional_inputs)
    for reported, expected in ((metadata.inputs, inputs), (metadata.outputs, served_outputs(name))):
        assert [(t.name, t.datatype, list(t.shape)) for t in reported] == [
            (t.name, t.wire_dtype, [-1, *t.dims]) for t in expected
        ]


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_the_manifest_is_readable(connection, ensemble):
    parameters = connection.get_model_config(ensemble).config.parameters
    manifest = Manifest.parse(parameters[MANIFEST_PARAMETER].string_value)
    assert manifest.fingerprints.keys() == set(ENSEMBLES)


def test_every_model_is_ready(connection):
    assert connection.is_server_ready()
    assert all(connection.is_model_ready(name) for name in MODELS)
