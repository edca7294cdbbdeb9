"""Finds the `tritonserver` of this machine, and makes the one from PyPI complete.

    QAFM_TRITON       a server environment like build/triton: wins where it is set
    tritonserver      on PATH, as in NVIDIA's container: used as it is, with its own backends
    build/triton      what `make setup` installs; build/openvino beside it, where `make openvino` was run

The PyPI wheel has the server and its Python backend, but not laid out to be run, and no ONNX Runtime backend.
So a backend directory is assembled from copies: the server refuses symbolic links that lead out of it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from qafm import openvino
from qafm.contract import CROP, MAX_BATCH_SIZE, VIEWS
from qafm.errors import ServerFailed

ENVIRONMENT_VARIABLE = "QAFM_TRITON"
_PROJECT = Path(__file__).resolve().parent.parent
_ONNXRUNTIME_BACKEND = Path(__file__).resolve().with_name("onnxruntime_backend.py")

# One stub process holds a full batch of views and crops, and some encoded images. By default its shared
# memory starts at 1 MB and grows by 1 MB at a time.
_TENSOR_BYTES = MAX_BATCH_SIZE * (math.prod(VIEWS.dims) + math.prod(CROP.dims))
_SHM_BYTES = -(-_TENSOR_BYTES // 2**20) * 2**20 + 4 * 2**20

# The arithmetic of `views` and `alpha` is small: threads of NumPy's libraries would only take cores from the
# networks.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Installation:
    """A `tritonserver` that can be run: its path, what to change in the environment, and its backends.

    `python_backends` are those whose models run in Python stub processes: they share memory with the server.
    """

    executable: Path
    environment: dict[str, str]
    backend_directory: Path | None
    python_backends: tuple[str, ...]

    def backend_options(self, shm_prefix: str) -> list[str]:
        """Command line options: where the backends are, and their shared memory, named after `shm_prefix`."""
        options = [f"--backend-directory={self.backend_directory}"] if self.backend_directory else []
        for backend in self.python_backends:
            options += [
                f"--backend-config={backend},shm-region-prefix-name={shm_prefix}",
                f"--backend-config={backend},shm-default-byte-size={_SHM_BYTES}",
                f"--backend-config={backend},shm-growth-byte-size={_SHM_BYTES}",
            ]
        return options


def find_installation() -> Installation:
    """The server to run, in the order above. Raises ServerFailed where there is none."""
    if chosen := os.environ.get(ENVIRONMENT_VARIABLE):
        return _from_environment(Path(chosen).absolute(), f"{ENVIRONMENT_VARIABLE} names {chosen}")
    if executable := shutil.which("tritonserver"):
        return Installation(Path(executable), dict(_ONE_THREAD), None, ("python",))
    folder = _PROJECT / "build" / "triton"
    return _from_environment(folder, f"there is no tritonserver on PATH, so {folder} is looked at")


def _from_environment(folder: Path, why: str) -> Installation:
    python = folder / "bin" / "python"
    if not python.is_file():
        raise ServerFailed(f"no Triton server found: {why}, but {python} does not exist; run `make setup`")
    facts = _python_facts(python)
    site = Path(facts["site_packages"])
    triton = site / "pytriton" / "tritonserver"
    sources = {
        "python/libtriton_python.so": triton / "backends/python/libtriton_python.so",
        "python/triton_python_backend_utils.py": triton / "backends/python/triton_python_backend_utils.py",
        "python/triton_python_backend_stub": triton
        / "python_backend_stubs"
        / facts["version"]
        / "triton_python_backend_stub",
        "onnxruntime/model.py": _ONNXRUNTIME_BACKEND,
    }
    executable = triton / "bin" / "tritonserver"
    if re.search(r"\s", str(folder)):
        raise ServerFailed(
            f"the path {str(folder)!r} of the server's environment has a space, with which Triton starts no Python "
            f"model; move the project, or name an environment without one in {ENVIRONMENT_VARIABLE}"
        )
    if absent := [path for path in [executable, *sources.values()] if not path.is_file()]:
        raise ServerFailed(f"no complete Triton server found: {why}, but it lacks {absent[0]}; run `make setup`")
    # The server loads its own libraries, the stub the Python it was made for.
    libraries = [site / "nvidia_pytriton.libs", facts["libraries"], os.environ.get("LD_LIBRARY_PATH")]
    environment = {
        **_ONE_THREAD,
        "LD_LIBRARY_PATH": os.pathsep.join(str(place) for place in libraries if place),
        # The stub embeds the interpreter that it finds first.
        "PATH": os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", os.defpath)]),
        openvino.ENVIRONMENT_VARIABLE: str(openvino.openvino_folder()),
    }
    return Installation(executable, environment, _assembled(sources, folder), ("python", "onnxruntime"))


def _python_facts(python: Path) -> dict[str, str]:
    """Where another interpreter keeps its packages and its own library."""
    question = (
        "import json, sys, sysconfig;"
        "print(json.dumps({'version': '%d.%d' % sys.version_info[:2],"
        " 'site_packages': sysconfig.get_path('purelib'), 'libraries': sysconfig.get_config_var('LIBDIR')}))"
    )
    answer = subprocess.run([python, "-I", "-c", question], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise ServerFailed(f"{python} does not run: {answer.stderr.strip()}; run `make setup`")
    return json.loads(answer.stdout)


def _assembled(sources: dict[str, Path], environment: Path) -> Path:
    """A backend directory with copies of `sources`, by their paths in it.

    Its name is a digest of their contents, so a changed source makes a new one; and it appears by a rename,
    so two servers that start at once both find it whole.
    """
    digest = hashlib.sha256()
    for name, source in sources.items():
        digest.update(f"{name}\0{source.stat().st_mode}\0".encode() + source.read_bytes())
    home = environment if os.access(environment, os.W_OK) else Path.home() / ".cache" / "qafm"
    directory = home / "backends" / digest.hexdigest()[:16]
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=directory.parent, prefix="new-"))
    try:
        made.chmod(0o755)
        for name, source in sources.items():
            (made / name).parent.mkdir(exist_ok=True)
            shutil.copy(source, made / name)
        made.rename(directory)
    except OSError:
        if not directory.is_dir():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return directory
