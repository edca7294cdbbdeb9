"""What is installed outside a checkout: the template of a model repository travels in the wheel."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "model_repository"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the tree: setuptools leaves files beside what it packs."""
    assert importlib.util.find_spec("setuptools"), "no setuptools to build with; run `make setup`"
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("qafm", "synthetic", "train", "export", "model_repository", "server", "client"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*build, "--wheel-dir", out, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("qafm-*.whl")
    return path


def test_the_wheel_has_every_file_of_the_template(wheel):
    committed = {
        f"model_repository/{path.relative_to(TEMPLATE).as_posix()}"
        for path in TEMPLATE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as packed:
        assert {name for name in packed.namelist() if name.startswith("model_repository/")} == committed
        content = packed.read("model_repository/views/warmup/grey")
    assert content == (TEMPLATE / "views/warmup/grey").read_bytes()


def test_the_exporter_finds_the_template_where_it_is_installed(wheel, tmp_path):
    """Run in a folder with another `model_repository`, such as an exported one."""
    installed, here = tmp_path / "site", tmp_path / "here"
    (here / "model_repository" / "qafm").mkdir(parents=True)
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(installed)
    code = "from export.repository import TEMPLATE; print(TEMPLATE)"
    # The folder that one is in comes first, as with `python -m export`.
    paths = f"{here}:{installed}"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=here, env={"PYTHONPATH": paths}, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == installed / "model_repository"
