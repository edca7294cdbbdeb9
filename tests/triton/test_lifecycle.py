"""The server's process: it starts or says why not, is noticed when it dies, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tritonclient.grpc as grpc

from qafm.errors import ServerFailed
from server import TritonServer

pytestmark = pytest.mark.triton


def processes(server_pid: int) -> set[int]:
    """The server and its stubs: everything in its process group."""
    listing = subprocess.run(["ps", "-e", "-o", "pid=,pgid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listing.splitlines()]
    return {pid for pid, group in pairs if group == server_pid}


def shared_memory(owner: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"qafm_{owner}_*"))


def wait_for(condition, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_start_and_stop_leave_nothing_behind(exported_repository):
    memory = set(shared_memory(os.getpid()))
    with TritonServer(exported_repository) as server:
        pid = server.pid
        assert server.running
        assert len(processes(pid)) > 1
        assert set(shared_memory(os.getpid())) - memory
    assert not server.running
    assert server.pid is None
    assert processes(pid) == set()
    assert set(shared_memory(os.getpid())) == memory


def test_two_servers_run_at_once_on_ports_of_their_own(triton_server, exported_repository):
    with TritonServer(exported_repository) as other:
        urls = [
            one for server in (triton_server, other) for one in (server.http_url, server.grpc_url, server.metrics_url)
        ]
        assert len(set(urls)) == len(urls)
        for server in (triton_server, other):
            with grpc.InferenceServerClient(server.grpc_url) as connection:
                assert connection.is_model_ready("qafm")


def test_a_server_that_is_killed_is_noticed_and_cleaned_up_after(exported_repository):
    memory = set(shared_memory(os.getpid()))
    with TritonServer(exported_repository) as server:
        pid = server.pid
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not server.running)
        assert processes(pid) == set()
        assert set(shared_memory(os.getpid())) == memory


def test_a_server_that_dies_while_it_starts_is_noticed_at_once(exported_repository):
    server = TritonServer(exported_repository).start()
    try:
        os.kill(server.pid, signal.SIGKILL)
        begun = time.monotonic()
        with pytest.raises(ServerFailed, match="died while it started"):
            server.wait_until_ready(timeout_s=60)
        assert time.monotonic() - begun < 10
    finally:
        server.stop()


@pytest.mark.parametrize("change", ["gone", "flipped"])
def test_a_graph_that_is_not_the_exported_one_is_not_served(exported_repository, tmp_path, change):
    repository = tmp_path / "repository"
    subprocess.run(["cp", "-r", exported_repository, repository], check=True)
    graph = repository / "apn" / "1" / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    if change == "gone":
        graph.unlink()
    else:
        graph.write_bytes(content)
    with pytest.raises(
        ServerFailed, match="no graph at .*apn/1" if change == "gone" else "apn/1/model.onnx has SHA-256"
    ):
        TritonServer(repository).start()


def test_a_graph_that_does_not_fit_its_configuration_is_refused(exported_repository, tmp_path):
    repository = tmp_path / "repository"
    subprocess.run(["cp", "-r", exported_repository, repository], check=True)
    config = repository / "apan" / "config.pbtxt"
    config.write_text(config.read_text().replace("[ 30 ]", "[ 31 ]"))
    server = TritonServer(repository).start()
    try:
        with pytest.raises(
            ServerFailed, match=r"output ATTRIBUTES: expected TYPE_FP32 \[-1, 31\], got TYPE_FP32 \[-1, 30\]"
        ):
            server.wait_until_ready(60)
    finally:
        server.stop()


def test_a_variant_is_what_the_server_loads(exported_repository, tmp_path):
    repository = tmp_path / "repository"
    subprocess.run(["cp", "-r", exported_repository, repository], check=True)
    config = (repository / "fusion" / "config.pbtxt").read_text()
    (repository / "fusion" / "configs" / "twice.pbtxt").write_text(config.replace("count: 1", "count: 2"))
    with (
        TritonServer(repository, config_name="twice") as server,
        grpc.InferenceServerClient(server.grpc_url) as connection,
    ):
        assert connection.get_model_config("fusion").config.instance_group[0].count == 2
        assert connection.get_model_config("apn").config.instance_group[0].count == 1


def test_tensorrt_fails_with_the_reason_where_there_is_none(exported_repository):
    with pytest.raises(ServerFailed, match="(?i)tensorrt"):
        TritonServer(exported_repository, config_name="tensorrt").start()


PROGRAM = """
import sys, time
from pathlib import Path
from server import TritonServer
with TritonServer(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_server_goes_with_the_program_that_started_it(exported_repository, number):
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, exported_repository],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        # Where the tests run in the background of a shell, SIGINT is ignored, and programs inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        server = int(program.stdout.readline())
        assert processes(server)
    finally:
        program.send_signal(number)
        program.wait(timeout=30)
        program.stdout.close()
    wait_for(lambda: not processes(server) and not shared_memory(program.pid))


def command(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "server", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        **options,
    )


FREE_PORTS = ("--http-port", 0, "--grpc-port", 0, "--metrics-port", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_where_it_listens_and_stops_when_told(exported_repository, number):
    running = command("--repository", exported_repository, *FREE_PORTS)
    line = running.stdout.readline()
    assert line.startswith("ready: gRPC 127.0.0.1:")
    with grpc.InferenceServerClient(line.split()[2].rstrip(",")) as connection:
        assert connection.is_model_ready("qafm_fixed_alpha")
    running.send_signal(number)
    output, errors = running.communicate(timeout=30)
    assert (running.returncode, output, errors) == (0, "", "")
    assert shared_memory(running.pid) == []


def test_a_command_runs_beside_the_server_and_decides_the_exit_status(exported_repository):
    script = (
        "import sys, tritonclient.grpc as grpc;"
        "sys.exit(7 if grpc.InferenceServerClient(sys.argv[1]).is_model_ready('qafm') else 1)"
    )
    running = command(
        "--repository", exported_repository, *FREE_PORTS, "--", sys.executable, "-c", script, "{grpc_url}"
    )
    _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (7, "")


def test_a_port_that_is_taken_is_named_at_once(exported_repository):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = command("--repository", exported_repository, "--http-port", 0, "--grpc-port", port)
        _, errors = running.communicate(timeout=20)
    assert running.returncode == 3
    assert f"the gRPC port {port} on 127.0.0.1 cannot be used" in errors
