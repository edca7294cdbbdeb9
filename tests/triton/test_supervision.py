"""A server that breaks is noticed and served again, on the same ports, without a person."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from client import ReidClient
from qafm.errors import ServerFailed
from server import TritonServer
from server.endpoint import Endpoint
from server.health import processes_of
from server.probe import main, probe
from tests.support.bad_images import GOOD

pytestmark = pytest.mark.triton

ROOT = Path(__file__).resolve().parents[2]


class Served:
    """`python -m server` on a repository: `process`, and its endpoints."""

    def __init__(self, repository: Path, descriptors: int | None = None) -> None:
        ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", "--repository", str(repository), *ports],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            preexec_fn=lambda: descriptors and _may_open(descriptors),
        )
        ready = self.process.stdout.readline()
        self.grpc_url, self.http_url = re.findall(r"127\.0\.0\.1:\d+", ready)[:2]

    def processes(self) -> dict[str, int]:
        """By what to call them: what keeps the server, the server, and the processes of its models."""
        keeper = int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])
        server = int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()[0])
        found = {re.sub(r"the process of model |_\d_\d", "", name): pid for pid, name in processes_of(server).items()}
        return found | {"keeper": keeper}

    def stop(self) -> tuple[int, str]:
        """Its exit status, and what it said."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@pytest.fixture(scope="module")
def served(exported_repository):
    started = Served(exported_repository)
    yield started
    status, _ = started.stop()
    assert status == 0


def _may_open(descriptors: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, most))


def described(url: str) -> np.ndarray:
    async def ask() -> np.ndarray:
        async with ReidClient(url, connect_timeout_s=30, retry_s=30) as client:
            return (await client.describe(GOOD)).descriptor

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("broken", "number"),
    [
        ("iqa", signal.SIGKILL),
        ("fusion", signal.SIGKILL),
        ("views", signal.SIGSTOP),
        ("the Triton server", signal.SIGKILL),
        ("the Triton server", signal.SIGSTOP),
        ("keeper", signal.SIGKILL),
        ("keeper", signal.SIGSTOP),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value,
)
def test_a_process_that_is_killed_or_stopped_costs_seconds(served, broken, number):
    expected = described(served.grpc_url)
    before = served.processes()
    os.kill(before[broken], number)
    begun = time.monotonic()
    while True:
        with contextlib.suppress(IndexError, OSError, StopIteration):
            if set(before.values()).isdisjoint(served.processes().values()):
                break
        assert time.monotonic() - begun < 60
        time.sleep(0.05)
    np.testing.assert_array_equal(described(served.grpc_url), expected)
    assert time.monotonic() - begun < 60, "seconds, on a machine that has nothing else to do"
    assert probe(Endpoint(served.http_url), 5)[0] == 0


def test_requests_that_come_meanwhile_are_answered(served):
    """Described again and again while the process of a model is killed: no error reaches whoever waits for 60 s."""

    async def ask() -> list[np.ndarray]:
        async with ReidClient(served.grpc_url, connect_timeout_s=30, retry_s=60) as client:

            async def one() -> list[np.ndarray]:
                return [(await client.describe(GOOD)).descriptor for _ in range(8)]

            asks = [asyncio.create_task(one()) for _ in range(4)]
            await asyncio.sleep(0.5)
            os.kill(served.processes()["alpha"], signal.SIGKILL)
            return [descriptor for descriptors in await asyncio.gather(*asks) for descriptor in descriptors]

    answers = asyncio.run(ask())
    assert len(answers) == 32
    assert all(np.array_equal(answer, answers[0]) for answer in answers)


def test_the_command_says_what_happened(exported_repository):
    served = Served(exported_repository)
    pid = served.processes()["apn"]
    os.kill(pid, signal.SIGKILL)
    first = served.process.stderr.readline()
    assert first == f"server: the process of model apn_0_0 (process {pid}) is gone; it is started again\n"
    assert re.fullmatch(r"server: ready again after \d+\.\d s\n", served.process.stderr.readline())
    assert served.stop() == (0, "")


def test_a_command_beside_it_ends_as_it_ends_though_the_server_does_not_come_back(exported_repository, tmp_path):
    repository = tmp_path / "models"
    subprocess.run(["cp", "-r", exported_repository, repository], check=True)
    script = tmp_path / "script"
    script.write_text(
        f"rm {repository}/apn/1/model.onnx; kill -9 $(pgrep -P $(pgrep -P $PPID -f supervisor)); sleep 4; exit 7"
    )
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "server", "--repository", str(repository)),
            *("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--", "bash", str(script)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 7 and "no graph at" in errors and "Traceback" not in errors


def test_it_can_be_stopped_while_it_starts_again(exported_repository):
    served = Served(exported_repository)
    server = served.processes()["the Triton server"]
    os.kill(server, signal.SIGKILL)
    served.process.stderr.readline()
    assert served.stop() == (0, "")
    assert not list(Path("/dev/shm").glob(f"qafm_{served.process.pid}_*"))


def test_many_idle_connections_starve_nobody(exported_repository):
    """More than a shell lets a process have: with none left Triton answers nobody, and fills the disk with its log."""
    served = Served(exported_repository, descriptors=1024)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        with contextlib.ExitStack() as connections:
            host, port = served.http_url.split(":")
            for _ in range(1500):
                connections.enter_context(socket.create_connection((host, int(port)), timeout=5))
            assert Endpoint(served.http_url).get("/v2/health/ready") == b""
            assert described(served.grpc_url).shape == (1000,)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert served.stop() == (0, "")


def test_the_probe_of_a_healthy_server(triton_server, capsys):
    assert main(["--url", triton_server.http_url]) == 0
    assert "gives the known answers" in capsys.readouterr().out


def test_the_probe_where_there_is_no_server(capsys):
    assert main(["--url", "127.0.0.1:1"]) == 3
    assert "no answer from 127.0.0.1:1" in capsys.readouterr().err


def test_a_server_whose_queue_is_long_is_busy_and_one_that_answers_nothing_is_broken(exported_repository):
    with (
        TritonServer(exported_repository) as server,
        grpc.InferenceServerClient(server.grpc_url) as connection,
    ):
        image = grpc.InferInput("IMAGE", [8, 1], "BYTES")
        image.set_data_from_numpy(np.array([[GOOD]] * 8, dtype=object))
        answers: queue.Queue = queue.Queue()
        for _ in range(8):
            connection.async_infer("qafm", [image], lambda result, error: answers.put(error))
        answers.get(timeout=120)  # of the first; the others are answered one after the other, each in about a second
        status, words = probe(Endpoint(server.http_url), 5.0)
        # A fast machine may answer in time.
        assert status == 0 and ("busy: " in words or "ready: " in words), words
        assert [answers.get(timeout=120) for _ in range(7)] == [None] * 7
        (pid,) = [pid for pid, name in processes_of(server.pid).items() if "iqa" in name]
        os.kill(pid, signal.SIGSTOP)
        status, words = probe(Endpoint(server.http_url), 2.0)
        # Triton finds out by itself after a while.
        assert status == 1 and ("qafm answers nothing" in words or "is not healthy" in words), words
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("url", ["localhost", "nonsense:port", "::1"])
def test_the_probe_of_what_is_no_server_says_so(url, capsys):
    assert main(["--url", url, "--timeout-s", "1"]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_one_that_answers_otherwise_than_it_should_is_not_ready(exported_repository, tmp_path):
    """As where int8 saturates: the files are those of the manifest, and what comes out is not."""
    repository = tmp_path / "models"
    subprocess.run(["cp", "-r", exported_repository, repository], check=True)
    model = repository / "alpha" / "1" / "model.py"
    model.write_text(
        model.read_text().replace("[[self._weighting.alpha(quality)]", "[[1 - self._weighting.alpha(quality)]")
    )
    with pytest.raises(
        ServerFailed, match=r"does not give the known answers.*qafm: .*cosine.*α is off by.*export them here"
    ):
        TritonServer(repository).__enter__()


def test_what_is_not_for_callers_is_closed_to_every_key(triton_server):
    """A key stands on a command line that everyone on this machine can read. This one cannot be sent."""
    command = Path(f"/proc/{triton_server.pid}/cmdline").read_text()
    (value,) = set(re.findall(r"restricted=([^\0]*)", command))
    with grpc.InferenceServerClient(triton_server.grpc_url) as connection:
        for headers in ({}, {"triton-grpc-protocol-restricted": value}, {"triton-grpc-protocol-restricted": "x"}):
            with pytest.raises(InferenceServerException):
                connection.get_model_repository_index(headers=headers)
    host, port = triton_server.http_url.split(":")
    for sent in (value, value.strip(), value.replace("\n", "\r\n "), value.replace("\n", "%0a")):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            head = f"POST /v2/repository/index HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nrestricted: {sent}\r\n\r\n"
            connection.sendall(head.encode())
            assert b"200 OK" not in connection.recv(4096)


def test_the_manifest_has_the_answers(triton_server):
    known = json.loads(Endpoint(triton_server.http_url).manifest("qafm").json())["known_answer"]
    assert sorted(known) == ["qafm", "qafm_fast"]
