"""What a server refuses before it starts anything. Running ones are in tests/triton."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qafm.errors import ServerFailed
from server import TritonServer
from server.__main__ import main


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "models" / "one" / "configs").mkdir(parents=True)
    (tmp_path / "models" / "one" / "config.pbtxt").write_text('name: "one"\nbackend: "python"\n')
    (tmp_path / "models" / "one" / "configs" / "tensorrt.pbtxt").write_text('backend: "tensorrt"\n')
    return tmp_path / "models"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A `tritonserver` on PATH that writes a log and ends."""
    program = tmp_path / "bin" / "tritonserver"
    program.parent.mkdir()
    lines = "echo 'E0101 00:00:00 first error'; for i in $(seq 100); do echo line $i; done; exit 1"
    program.write_text(f"#!/bin/bash\n{lines}\n")
    program.chmod(0o755)
    monkeypatch.delenv("QAFM_TRITON", raising=False)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def test_a_repository_without_models_is_refused(tmp_path):
    with pytest.raises(ServerFailed, match=r"no models in .*python -m export RUN"):
        TritonServer(tmp_path).start()


def test_a_path_with_a_space_is_refused_at_once(repository):
    spaced = repository.parent / "my models"
    repository.rename(spaced)
    with pytest.raises(ServerFailed, match="has a space, with which Triton starts no Python model; move"):
        TritonServer(spaced).start()


def test_an_environment_in_a_path_with_a_space_is_refused_at_once(repository, tmp_path, monkeypatch):
    link = tmp_path / "my environment" / "bin"
    link.mkdir(parents=True)
    (link / "python").symlink_to(sys.executable)
    monkeypatch.setenv("QAFM_TRITON", str(link.parent))
    with pytest.raises(ServerFailed, match="of the server's environment has a space"):
        TritonServer(repository).start()


def test_a_host_that_is_none_is_said(repository, installed):
    with pytest.raises(ServerFailed, match=r"the host 'no\.such\.host\.invalid' cannot be found"):
        TritonServer(repository, host="no.such.host.invalid").start()


def test_a_host_may_be_a_name(repository, installed):
    installed.write_text('#!/bin/bash\necho "$@"; exit 1\n')
    server = TritonServer(repository, host="localhost").start()
    with pytest.raises(ServerFailed, match=r"--http-address=127\.0\.0\.1 --grpc-address=127\.0\.0\.1"):
        server.wait_until_ready(20)
    server.stop()


def test_http_is_for_this_machine_whatever_the_host(repository, installed):
    installed.write_text('#!/bin/bash\necho "$@"; exit 1\n')
    server = TritonServer(repository, host="0.0.0.0").start()
    with pytest.raises(
        ServerFailed, match=r"--http-address=127\.0\.0\.1 --grpc-address=0\.0\.0\.0 --metrics-address=0"
    ):
        server.wait_until_ready(20)
    server.stop()


def test_a_log_that_cannot_be_written_is_said_at_once(repository, installed, tmp_path):
    with pytest.raises(ServerFailed, match="cannot be written: No such file or directory; name a file in a folder"):
        TritonServer(repository, log=tmp_path / "missing" / "log").start()


def test_an_unknown_configuration_name_lists_the_known_ones(repository):
    with pytest.raises(ServerFailed, match=r"has configs/tensort\.pbtxt; known names: tensorrt\."):
        TritonServer(repository, config_name="tensort").start()


def test_a_repository_without_variants_says_how_to_get_them(repository):
    (repository / "one" / "configs" / "tensorrt.pbtxt").unlink()
    with pytest.raises(ServerFailed, match=r"known names: none\. The export writes them: `python -m export RUN`"):
        TritonServer(repository, config_name="tensorrt").start()


@pytest.mark.parametrize(
    ("endpoint", "keyword"), [("HTTP", "http_port"), ("gRPC", "grpc_port"), ("metrics", "metrics_port")]
)
def test_a_taken_port_is_named(repository, installed, endpoint, keyword):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = TritonServer(repository, **{keyword: port})
        with pytest.raises(ServerFailed, match=f"the {endpoint} port {port} on 127.0.0.1 cannot be used"):
            server.start()
        assert not server.running


def test_one_port_for_two_endpoints_is_refused(repository, installed):
    server = TritonServer(repository, http_port=18000, grpc_port=18000)
    with pytest.raises(ServerFailed, match="a port of its own for each endpoint, got HTTP 18000, gRPC 18000"):
        server.start()


def test_a_taken_port_is_said_before_a_plan_is_built(repository, installed):
    """Here no plan can be built: whoever tries first fails for that."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerFailed, match=f"the gRPC port {port} on 127.0.0.1 cannot be used"):
            TritonServer(repository, grpc_port=port, config_name="tensorrt").start()


def test_ports_are_free_again_where_no_plan_can_be_built(repository, installed):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ServerFailed, match=r"server\.plans"):
        TritonServer(repository, grpc_port=port, config_name="tensorrt").start()
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


def test_a_server_that_ends_gives_the_end_of_its_log_and_its_errors(repository, installed):
    server = TritonServer(repository).start()
    try:
        with pytest.raises(ServerFailed) as caught:
            server.wait_until_ready(20)
    finally:
        server.stop()
    message = str(caught.value).splitlines()
    assert message[0] == "the Triton server died while it started; its log ends:"
    assert message[1] == "E0101 00:00:00 first error"
    assert message[-1] == "line 100"
    assert "line 1" not in message


def test_a_server_that_does_not_get_ready_in_time_is_given_up(repository, installed):
    installed.write_text("#!/bin/bash\nexec sleep 60\n")
    server = TritonServer(repository).start()
    try:
        begun = time.monotonic()
        with pytest.raises(ServerFailed, match=r"not ready within 0\.3 s"):
            server.wait_until_ready(0.3)
        assert time.monotonic() - begun < 1.5
    finally:
        server.stop()


def test_a_program_that_cannot_be_run_is_an_error(repository, installed):
    installed.write_text("#!/no/such/interpreter\n")
    with pytest.raises(ServerFailed, match="could not be run"):
        TritonServer(repository).start()


def test_a_log_file_is_kept_where_one_is_named(repository, installed, tmp_path):
    server = TritonServer(repository, log=tmp_path / "server.log").start()
    with pytest.raises(ServerFailed):
        server.wait_until_ready(20)
    server.stop()
    assert (tmp_path / "server.log").read_text().endswith("line 100\n")


def test_stopping_what_was_never_started_is_nothing(repository):
    TritonServer(repository).stop()


def test_command_without_a_repository_is_wrong_usage(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--repository", str(tmp_path / "nothing")])
    assert caught.value.code == 2
    assert "python -m export RUN" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_command_refuses_what_is_no_port(port):
    with pytest.raises(SystemExit) as caught:
        main(["--http-port", port])
    assert caught.value.code == 2


def test_command_fails_with_one_message_where_no_server_comes_up(repository, installed):
    root = Path(__file__).resolve().parents[2]
    command = [
        sys.executable,
        "-m",
        "server",
        "--repository",
        repository,
        "--http-port",
        "0",
        "--grpc-port",
        "0",
    ]
    done = subprocess.run([*command, "--metrics-port", "0"], capture_output=True, text=True, cwd=root, timeout=30)
    assert done.returncode == 3
    assert done.stderr.startswith("server: the Triton server died while it started")
    assert "Traceback" not in done.stderr
