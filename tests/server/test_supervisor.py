"""The supervisor, with commands of a shell in the place of a server."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

SUPERVISOR = Path(__file__).resolve().parents[2] / "server" / "supervisor.py"


def supervise(script, grace_s=0.5, prefix="qafm_test_of_nothing_"):
    return subprocess.Popen(
        [sys.executable, "-I", SUPERVISOR, str(grace_s), prefix, "bash", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def group(pid):
    listing = subprocess.run(["ps", "-e", "-o", "pgid="], capture_output=True, text=True, check=True).stdout
    return listing.split().count(str(pid))


def ready(process):
    """Its command's process id, once the command has said on its (redirected) output that it is up."""
    pid = int(process.stdout.readline())
    assert process.stderr.readline() == "up\n"
    return pid


def test_it_ends_with_the_status_of_its_command():
    assert supervise("exit 7").wait(10) == 7


def test_closing_its_input_stops_the_command_in_good_order():
    process = supervise("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done", grace_s=10)
    ready(process)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "bye\n")


def test_a_command_that_does_not_stop_is_killed_after_the_grace_period():
    process = supervise("trap '' TERM; echo up; while :; do sleep 0.05; done", grace_s=0.3)
    pid = ready(process)
    begun = time.monotonic()
    process.communicate(timeout=10)
    assert 0.3 <= time.monotonic() - begun < 5
    assert process.returncode == 128 + 9
    assert group(pid) == 0


def test_the_command_is_told_when_the_supervisor_is_killed():
    process = supervise("trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done")
    pid = ready(process)
    process.kill()
    process.wait(10)
    deadline = time.monotonic() + 10
    while group(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert group(pid) == 0


def test_children_that_outlive_the_command_go_too():
    process = supervise("sleep 60 & sleep 60 & echo up; exit 3")
    pid = ready(process)
    assert process.wait(10) == 3
    assert group(pid) == 0


def test_terminating_the_supervisor_stops_the_command():
    process = supervise("echo up; sleep 60")
    pid = ready(process)
    process.terminate()
    process.wait(10)
    assert group(pid) == 0


@pytest.fixture
def region():
    path = Path(f"/dev/shm/qafm_test_{os.getpid()}_left")
    path.touch()
    yield path
    path.unlink(missing_ok=True)


def test_shared_memory_under_the_prefix_is_removed(region):
    other = region.with_name(f"another_{region.name}")
    other.touch()
    try:
        supervise("exit 0", prefix=f"qafm_test_{os.getpid()}_").wait(10)
        assert not region.exists()
        assert other.exists()
    finally:
        other.unlink()


def test_the_command_may_open_as_many_files_as_it_may():
    """Triton without any left fills the disk with what it says of that."""
    process = supervise("ulimit -n >&2")
    assert process.wait(10) == 0  # before its input closes, which would stop it
    errors = process.stderr.read()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert int(errors) == (65_536 if most == resource.RLIM_INFINITY else min(most, 65_536))


def test_shared_memory_of_its_name_goes_with_the_command():
    region = Path("/dev/shm/qafm_test_of_regions_1")
    region.write_bytes(b"x")
    assert supervise("exit 0", prefix="qafm_test_of_regions_").wait(10) == 0
    assert not region.exists()
