"""A model that was trained without attributes, on the real server: no APAN, and a client that does without."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from client import ReidClient
from export.model_card import MODEL_CARD
from export.pipelines import OnnxPipeline
from qafm.contract import MODELS, QAFM, QAFM_FAST, QAFM_FIXED_ALPHA
from qafm.errors import ContractMismatch
from qafm.images import decode
from server import TritonServer
from synthetic import Recipe, make_dataset
from tests.support.seeded_repository import make_seeded_repository
from tests.support.served import ENSEMBLES, infer

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return make_seeded_repository(tmp_path_factory.mktemp("appearance") / "repository", attributes=False)


@pytest.fixture(scope="module")
def server(repository):
    with TritonServer(repository) as running:
        yield running


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("dataset")
    make_dataset(Recipe(train_identities=2, test_identities=3, images_per_identity=2, distractors=1, junk=1), root)
    (root / "market_attribute.mat").unlink()
    return root


def described(server, picture, **options):
    async def work():
        async with ReidClient(server.grpc_url) as client:
            return client.lacks, await client.describe(picture, **options)

    return asyncio.run(work())


@pytest.mark.parametrize(("ensemble", "alpha"), [(QAFM, None), (QAFM_FAST, None), (QAFM, 0.3)])
def test_it_is_described_by_what_was_exported(server, repository, dataset, ensemble, alpha):
    picture = next((dataset / "query").iterdir())
    lacks, found = described(server, picture, ensemble=ensemble, alpha=alpha)
    assert lacks == ("ATTRIBUTES", "SEMANTIC")
    assert found.semantic is None and found.attribute_probabilities is None and found.attributes == {}
    assert "gender" not in repr(found)
    pipeline = OnnxPipeline(repository)
    crop = decode(picture.read_bytes())
    expected = (pipeline.describe_fast if ensemble == QAFM_FAST else pipeline.describe)([crop])
    np.testing.assert_allclose(found.descriptor, expected["DESCRIPTOR"][0], atol=1e-5)
    assert found.alpha == pytest.approx(alpha or float(expected["ALPHA"][0, 0]), abs=1e-4)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_request_for_one_output_is_answered(server, dataset, ensemble):
    """Each alone and all together: an ensemble whose output feeds a step would wait for ever."""
    picture = next((dataset / "query").iterdir()).read_bytes()
    connection = grpc.InferenceServerClient(server.grpc_url)
    whole = infer(connection, ensemble, [picture])
    assert "SEMANTIC" not in whole and whole.keys() >= {tensor.name for tensor in MODELS[ensemble].outputs}
    for name in whole:
        assert infer(connection, ensemble, [picture], [name])[name] == pytest.approx(whole[name], abs=1e-5)


def test_a_weight_that_is_none_is_refused_though_nothing_is_weighed(server, dataset):
    picture = next((dataset / "query").iterdir()).read_bytes()
    with pytest.raises(InferenceServerException, match="ALPHA"):
        infer(grpc.InferenceServerClient(server.grpc_url), QAFM_FIXED_ALPHA, [picture], alpha=float("nan"))


def test_it_is_evaluated_and_a_sweep_is_refused_before_anything_is_sent(server, dataset, tmp_path):
    def evaluated(folder, *options):
        words = ("eval", "--split", "query", "--data", dataset, "--url", server.grpc_url, "--report", folder, *options)
        command = [sys.executable, "-m", "client", *map(str, words)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
        return ended.returncode, ended.stderr

    assert evaluated(tmp_path / "report")[0] == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["attributes"] == {} and report["lacks"] == ["ATTRIBUTES", "SEMANTIC"]
    assert (tmp_path / "report" / "report.html").is_file()
    code, errors = evaluated(tmp_path / "swept", "--sweep-alpha")
    assert code == 2 and "has one branch, so there is nothing to weigh" in errors and "Traceback" not in errors
    assert not (tmp_path / "swept").exists()


def test_vectors_are_not_fused_anew(server):
    async def work():
        async with ReidClient(server.grpc_url) as client:
            await client.fuse(np.zeros((1, 1024)), np.zeros((1, 0)), np.ones(1, np.float32))

    with pytest.raises(ContractMismatch, match="trained without attributes"):
        asyncio.run(work())


def test_the_card_says_so(repository):
    assert "guesses nothing of people" in (repository / MODEL_CARD).read_text()
