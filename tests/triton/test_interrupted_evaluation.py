"""An evaluation whose client or server is killed half-way: it goes on, and ends in the same report."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from server import TritonServer
from server.health import processes_of
from synthetic import Recipe, make_dataset
from tests.support.seeded_repository import make_seeded_repository

pytestmark = pytest.mark.triton

RECORD_BYTES = 12_000
"""A little less than one image takes in the journal."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("dataset")
    make_dataset(Recipe(train_identities=2, test_identities=3, images_per_identity=3, distractors=2, junk=1), root)
    return root


def start(server, dataset, report, *more):
    command = [sys.executable, "-m", "client", "eval", "--data", dataset, "--url", server.grpc_url]
    command += ["--report", report, "--concurrency", "2", *more]
    return subprocess.Popen(
        [*map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background of a shell, SIGINT is ignored, and programs inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def ended(process):
    _, errors = process.communicate(timeout=180)
    assert "Traceback" not in errors
    return process.returncode, errors


def journals(report):
    return list(report.glob("descriptions-*.journal"))


def wait_for(report, images):
    """Until the journal holds so many images."""
    deadline = time.monotonic() + 60
    while sum(path.stat().st_size for path in journals(report)) < images * RECORD_BYTES:
        assert time.monotonic() < deadline, f"{images} images were not described within a minute"
        time.sleep(0.01)


def result(report):
    content = json.loads((report / "report.json").read_text())
    return {key: value for key, value in content.items() if key not in ("created", "timings", "url")}


def known(errors):
    """How many images an evaluation did not have to send again, as its progress says."""
    return int(re.search(r"describe, (\d+) known", errors)[1])


@pytest.fixture(scope="module")
def undisturbed(triton_server, dataset, tmp_path_factory):
    report = tmp_path_factory.mktemp("undisturbed")
    assert ended(start(triton_server, dataset, report))[0] == 0
    assert not journals(report)
    return result(report)


def test_a_killed_client_goes_on_where_it_was(triton_server, dataset, undisturbed, tmp_path):
    for images in (2, 5):
        process = start(triton_server, dataset, tmp_path)
        wait_for(tmp_path, images)
        process.kill()
        process.communicate()
        assert not (tmp_path / "report.json").exists()
    code, errors = ended(start(triton_server, dataset, tmp_path))
    assert code == 0 and known(errors) >= 5
    assert result(tmp_path) == undisturbed


def test_a_server_that_is_killed_and_started_again_costs_a_retry(exported_repository, dataset, undisturbed, tmp_path):
    with TritonServer(exported_repository) as server:
        port = int(server.grpc_url.rsplit(":", 1)[1])
        process = start(server, dataset, tmp_path, "--retry", "60")
        wait_for(tmp_path, 2)
        os.kill(server.pid, signal.SIGKILL)
    with TritonServer(exported_repository, grpc_port=port):
        code, errors = ended(process)
    assert code == 0, errors
    assert result(tmp_path) == undisturbed


def test_a_server_that_stays_away_ends_the_run_in_time_and_keeps_what_was_done(
    exported_repository, triton_server, dataset, undisturbed, tmp_path
):
    with TritonServer(exported_repository) as server:
        process = start(server, dataset, tmp_path, "--retry", "2")
        wait_for(tmp_path, 2)
        os.kill(server.pid, signal.SIGKILL)
        killed = time.monotonic()
        code, errors = ended(process)
    assert code == 3 and "no server is ready" in errors
    assert time.monotonic() - killed < 15
    code, errors = ended(start(triton_server, dataset, tmp_path))
    assert code == 0 and known(errors) >= 2
    assert result(tmp_path) == undisturbed


def test_a_server_that_comes_back_with_another_model_ends_the_run_and_nothing_is_mixed(
    exported_repository, dataset, undisturbed, tmp_path
):
    other = make_seeded_repository(tmp_path / "other", seed=1)
    report = tmp_path / "report"
    with TritonServer(exported_repository) as server:
        port = int(server.grpc_url.rsplit(":", 1)[1])
        process = start(server, dataset, report, "--retry", "60")
        wait_for(report, 2)
        os.kill(server.pid, signal.SIGKILL)
    with TritonServer(other, grpc_port=port):
        code, errors = ended(process)
    assert code == 2 and "has come back with another model" in errors
    assert not (report / "report.json").exists() and not (report / "gallery.npz").exists()
    with TritonServer(exported_repository) as server:
        code, errors = ended(start(server, dataset, report))
    assert code == 0 and known(errors) >= 2
    assert result(report) == undisturbed


def test_ctrl_c_waits_for_what_was_sent_and_leaves_the_server_alive(triton_server, dataset, undisturbed, tmp_path):
    """Of requests that are cancelled Triton 2.51 died in two of thirty tries."""
    pid = triton_server.pid
    for images in (1, 2, 3, 4, 5):
        process = start(triton_server, dataset, tmp_path)
        wait_for(tmp_path, images)
        process.send_signal(signal.SIGINT)
        code, _ = ended(process)
        # As a shell says it, by the command itself or by the interpreter.
        assert code in (128 + signal.SIGINT, -signal.SIGINT), code
        assert triton_server.running and triton_server.pid == pid
    code, errors = ended(start(triton_server, dataset, tmp_path))
    assert code == 0 and known(errors) >= 5
    assert result(tmp_path) == undisturbed


def test_a_second_ctrl_c_leaves_at_once(exported_repository, dataset, tmp_path):
    with TritonServer(exported_repository) as server:
        process = start(server, dataset, tmp_path)
        wait_for(tmp_path, 1)
        for stub in processes_of(server.pid):
            os.kill(stub, signal.SIGSTOP)  # it answers nothing any more
        begun = time.monotonic()
        for _ in range(2):
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
        ended(process)
        assert time.monotonic() - begun < 8
        for stub in processes_of(server.pid):
            os.kill(stub, signal.SIGCONT)
