"""`client bench` with the real perf_analyzer against the real server. Skipped where there is no perf_analyzer."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from client.load import find_perf_analyzer
from qafm.contract import MODELS
from qafm.errors import LoadTestFailed
from synthetic import Recipe, make_dataset
from tests.support.served import ENSEMBLES

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("dataset")
    make_dataset(Recipe(train_identities=2, test_identities=2, images_per_identity=2, distractors=1, junk=1), root)
    return root


@pytest.mark.parametrize("model", ENSEMBLES)
def test_a_load_test_measures_each_composing_model(triton_server, dataset, tmp_path, model):
    try:
        find_perf_analyzer()
    except LoadTestFailed as error:
        pytest.skip(str(error))
    command = [sys.executable, "-m", "client", "bench", "--data", dataset, "--url", triton_server.grpc_url]
    command += [
        "--model",
        model,
        "--concurrency",
        "1:2",
        "--seconds",
        "1",
        "--stability",
        "200",
        "--json",
        tmp_path / "load.json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "load.json").read_text())
    assert [load["concurrency"] for load in result["loads"]] == [1, 2]
    used = {"views", "apn", "apan", "fusion"} | ({"iqa", "alpha"} if model == "qafm" else set())
    assert used < set(MODELS)
    for load in result["loads"]:
        assert load["images_per_second"] > 0 and 0 < load["p50_ms"] <= load["p95_ms"] <= load["p99_ms"]
        assert load["models"].keys() == used
        assert all(times["compute_ms"] > 0 for times in load["models"].values())
