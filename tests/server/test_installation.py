"""Which server is found, and how the one from PyPI is made complete."""

import stat
import sys
import sysconfig
import threading
from pathlib import Path

import pytest

from qafm.errors import ServerFailed
from server import installation


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A folder laid out like build/triton, of empty files."""
    folder = tmp_path / "triton"
    site = folder / "site"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in (
        "pytriton/tritonserver/bin/tritonserver",
        "pytriton/tritonserver/backends/python/libtriton_python.so",
        "pytriton/tritonserver/backends/python/triton_python_backend_utils.py",
        f"pytriton/tritonserver/python_backend_stubs/{version}/triton_python_backend_stub",
    ):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(name)
    (site / f"pytriton/tritonserver/python_backend_stubs/{version}/triton_python_backend_stub").chmod(0o755)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").touch()
    facts = {"version": version, "site_packages": str(site), "libraries": sysconfig.get_config_var("LIBDIR")}
    monkeypatch.setattr(installation, "_python_facts", lambda python: facts)
    monkeypatch.setenv("QAFM_TRITON", str(folder))
    return folder


def test_no_server_anywhere_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("QAFM_TRITON", str(tmp_path / "nothing"))
    with pytest.raises(ServerFailed, match=r"QAFM_TRITON names .*nothing.*does not exist; run `make setup`"):
        installation.find_installation()


def test_a_server_on_the_path_is_used_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "tritonserver").touch(mode=0o755)
    monkeypatch.delenv("QAFM_TRITON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = installation.find_installation()
    assert found.executable == tmp_path / "tritonserver"
    assert "LD_LIBRARY_PATH" not in found.environment
    options = found.backend_options("prefix_")
    assert not any(option.startswith(("--backend-directory", "--backend-config=onnxruntime")) for option in options)


def test_an_environment_named_explicitly_wins_over_the_path(environment, tmp_path, monkeypatch):
    (tmp_path / "tritonserver").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installation.find_installation().executable.is_relative_to(environment)


def test_an_incomplete_environment_names_what_it_lacks(environment):
    (environment / "site/pytriton/tritonserver/backends/python/libtriton_python.so").unlink()
    with pytest.raises(ServerFailed, match=r"it lacks .*libtriton_python\.so; run `make setup`"):
        installation.find_installation()


def test_the_backend_directory_holds_copies_that_can_be_run(environment):
    directory = installation.find_installation().backend_directory
    files = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    assert files == [
        "onnxruntime/model.py",
        "python/libtriton_python.so",
        "python/triton_python_backend_stub",
        "python/triton_python_backend_utils.py",
    ]
    assert not any(path.is_symlink() for path in directory.rglob("*"))
    assert (directory / "python/triton_python_backend_stub").stat().st_mode & stat.S_IXUSR
    assert (directory / "onnxruntime/model.py").read_text() == Path(installation.__file__).with_name(
        "onnxruntime_backend.py"
    ).read_text()


def test_a_changed_source_makes_a_new_directory_and_an_unchanged_one_does_not(environment):
    first = installation.find_installation().backend_directory
    assert installation.find_installation().backend_directory == first
    utils = environment / "site/pytriton/tritonserver/backends/python/triton_python_backend_utils.py"
    utils.write_text("changed")
    second = installation.find_installation().backend_directory
    assert second != first
    assert (second / "python/triton_python_backend_utils.py").read_text() == "changed"


def test_servers_that_start_at_once_find_it_whole(environment):
    barrier, found = threading.Barrier(8), []

    def find():
        barrier.wait()
        found.append(installation.find_installation().backend_directory)

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in found[0].parent.iterdir()] == [found[0].name]


def test_a_stub_has_room_for_a_full_batch_of_views(environment):
    options = installation.find_installation().backend_options("prefix_")
    for backend in ("python", "onnxruntime"):
        assert f"--backend-config={backend},shm-region-prefix-name=prefix_" in options
        (size,) = (
            int(option.rpartition("=")[2])
            for option in options
            if option.startswith(f"--backend-config={backend},shm-default-byte-size=")
        )
        assert size > 8 * (35 + 1) * 384 * 128 * 3
        assert size % 4096 == 0


def test_libraries_of_small_models_keep_to_one_thread(environment):
    environment = installation.find_installation().environment
    assert {environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"1"}
