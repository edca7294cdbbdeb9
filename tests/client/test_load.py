"""What a load test does when perf_analyzer is missing, empty or measures nothing, and how its reports are read.

The real one runs in tests/triton/test_load.py.
"""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from client.commands.app import app
from client.load import Load, ModelTime, find_perf_analyzer, load_test
from qafm.contract import MODELS, QAFM, QAFM_FAST, QAFM_FIXED_ALPHA
from qafm.errors import LoadTestFailed

FINGERPRINTS = {QAFM: "aaaa-bbbb", QAFM_FIXED_ALPHA: "cccc-dddd"}
# As perf_analyzer 2.60 writes them for an ensemble and a model of it, two requests in flight.
ENSEMBLE = """Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,\
Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency
2,2.5,8,240482,4,647,537249,5655,7,806244,823770,836953,838649
1,2.25,8,0,2,1254,533133,6011,7,433959,488815,563391,576912
"""
MODEL = """Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,\
Server Compute Infer,Server Compute Output,Client Recv
1,2.25,0,3,3151,1000,414000,500,0
2,2.5,0,3,346371,441,401765,1633,0
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Makes a program that stands where perf_analyzer is looked for, from the lines of a shell script."""

    def make(*lines: str) -> str:
        path = tmp_path / "perf_analyzer"
        path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
        path.chmod(0o755)
        monkeypatch.setenv("PERF_ANALYZER", str(path))
        return str(path)

    return make


@pytest.mark.parametrize("where", ["", " >&2"])
def test_the_binary_that_is_named_is_taken(program, where):
    path = program(f"echo 'Perf Analyzer Version 2.60.0'{where}")
    assert find_perf_analyzer() == path


def test_it_runs_from_another_folder_too(program, tmp_path, monkeypatch):
    path = program("echo 'Perf Analyzer Version 2.60.0'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERF_ANALYZER", "./perf_analyzer")
    assert find_perf_analyzer() == path


@pytest.mark.parametrize("named", ["/nowhere/perf_analyzer", None])
def test_a_missing_binary_says_how_to_get_it(named, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("PERF_ANALYZER", raising=False)
    if named:
        monkeypatch.setenv("PERF_ANALYZER", named)
    with pytest.raises(LoadTestFailed, match=f"{named or 'no perf_analyzer on PATH'}.*pip install perf-analyzer"):
        find_perf_analyzer()


@pytest.mark.parametrize("lines", [["exit 0"], ["echo 'not for this platform' >&2", "exit 1"]])
def test_a_placeholder_is_not_run(program, lines):
    program(*lines)
    with pytest.raises(LoadTestFailed, match="no working perf_analyzer.*glibc 2.38"):
        find_perf_analyzer()


def test_reports_are_read_by_concurrency_and_model(program, tmp_path):
    (tmp_path / "ensemble.csv").write_text(ENSEMBLE)
    (tmp_path / "model.csv").write_text(MODEL)
    path = program(
        f"cp input.json {tmp_path}",
        f"cp {tmp_path}/ensemble.csv report.csv",
        f"cp {tmp_path}/model.csv iqa_v1.report.csv",
    )
    first, second = load_test("host:1", "qafm_fixed_alpha", [b"abc"], concurrency=(1, 2, 1), perf_analyzer=path)
    assert first == Load(1, 2.25, 433.959, 563.391, 576.912, {"iqa": ModelTime(3.151, 415.5)})
    assert second.concurrency == 2 and second.models["iqa"].queue_ms == 346.371
    sent = json.loads((tmp_path / "input.json").read_text())
    assert sent == {"data": [{"IMAGE": {"b64": "AwAAAGFiYw=="}, "ALPHA": [0.5]}]}


@pytest.mark.parametrize("lines", [["echo 'error: no such model'"], ["echo 'error: no such model' >&2", "exit 99"]])
def test_nothing_measured_is_a_failure_even_with_status_0(program, lines):
    with pytest.raises(LoadTestFailed, match="without a result for concurrency 1, 2; it says:\nerror: no such model"):
        load_test("host:1", "qafm", [b"abc"], concurrency=(1, 2, 1), perf_analyzer=program(*lines))


def test_half_a_range_is_a_failure(program, tmp_path):
    (tmp_path / "ensemble.csv").write_text(ENSEMBLE)
    path = program(f"cp {tmp_path}/ensemble.csv report.csv")
    with pytest.raises(LoadTestFailed, match="concurrency 3, 4"):
        load_test("host:1", "qafm", [b"abc"], concurrency=(1, 4, 1), perf_analyzer=path)


@pytest.mark.parametrize("row", ["1,fast", "1"])
def test_a_report_of_another_form_is_a_failure(program, row):
    path = program("echo 'Concurrency,Inferences/Second' > report.csv", f"echo '{row}' >> report.csv")
    with pytest.raises(LoadTestFailed, match="a report that cannot be read"):
        load_test("host:1", "qafm", [b"abc"], concurrency=(1, 1, 1), perf_analyzer=path)


@pytest.mark.parametrize(
    ("options", "model", "sent"),
    [
        (("--model", "qafm_fixed_alpha"), "cccc-dddd/qafm_fixed_alpha@0.5", [0.5]),
        (("--model", "qafm_fixed_alpha", "--alpha", "0"), "cccc-dddd/qafm_fixed_alpha@0", [0.0]),
        (("--model", "qafm_fast"), "eeee-ffff/qafm_fast", None),
    ],
)
def test_each_ensemble_is_measured_and_named(client, peer, dataset, program, tmp_path, options, model, sent):
    peer.models[QAFM_FAST] = MODELS[QAFM_FAST]
    peer.manifest = json.dumps({"format": 2, "fingerprints": FINGERPRINTS | {QAFM_FAST: "eeee-ffff"}})
    (tmp_path / "ensemble.csv").write_text(ENSEMBLE)
    program(
        "[ $1 = --version ] && echo 'Perf Analyzer Version 2.60.0' && exit",
        f"cp input.json {tmp_path}",
        f"cp {tmp_path}/ensemble.csv report.csv",
    )
    asked = ("--data", dataset, "--url", peer.url, "--concurrency", "1:2", "--json", tmp_path / "load.json")
    code, output, errors = client("bench", *asked, *options)
    assert code == 0, errors
    result = json.loads((tmp_path / "load.json").read_text())
    assert (result["ensemble"], result["model"]) == (options[1], model) and f"{options[1]} under load" in output
    first, *_ = json.loads((tmp_path / "input.json").read_text())["data"]
    assert first.get("ALPHA") == sent


def test_nothing_is_measured_of_an_ensemble_that_is_not_served(client, peer, dataset, program, tmp_path):
    peer.manifest = json.dumps({"format": 2, "fingerprints": FINGERPRINTS})
    program("[ $1 = --version ] && echo 'Perf Analyzer Version 2.60.0' && exit", f"touch {tmp_path}/ran")
    code, _, errors = client("bench", "--data", dataset, "--url", peer.url, "--model", "qafm_fast")
    assert code == 2 and "does not serve 'qafm_fast'; it serves qafm, qafm_fixed_alpha" in errors
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--alpha", "0.5"), "qafm weighs by quality"),
        (("--model", "qafm_fast", "--alpha", "0.5"), "qafm_fast weighs by quality"),
        (("--model", "qafm_fixed_alpha", "--alpha", "-0.5"), "expected a weight from 0 to 1, got -0.5"),
    ],
)
def test_a_weight_that_does_not_fit_is_wrong_usage(client, closed_url, options, message):
    code, _, errors = client("bench", "--data", ".", "--url", closed_url, *options)
    assert code == 2 and message in errors


@pytest.mark.parametrize("text", ["", "0", "2:1", "1:4:0", "1:2:3:4", "a", "1:", "-1"])
def test_a_range_that_is_none_is_wrong_usage(text):
    done = CliRunner().invoke(app, ["bench", "--data", ".", f"--concurrency={text}"])
    assert done.exit_code == 2 and "FIRST:LAST" in done.output
