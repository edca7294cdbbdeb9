"""What `pip install .` leaves behind: a wheel is built from a copy of the tree, unpacked, and used outside the tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "model_repository"
PACKAGES = ("qafm", "synthetic", "train", "export", "server", "client")

# Its own bdist_wheel: earlier versions need the package wheel beside them.
pytest.importorskip("setuptools", minversion="70.1", reason="building a wheel needs setuptools 70.1 or later")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this tree. The tree itself stays as it is: setuptools leaves a `build` folder where it works."""
    folder = tmp_path_factory.mktemp("packaging")
    tree, out = folder / "tree", folder / "out"
    shutil.copytree(ROOT, tree, ignore=_beside_the_source)
    out.mkdir()
    build = [sys.executable, "-c", "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])", str(out)]
    done = subprocess.run(build, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder that pip would install the wheel into."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _beside_the_source(folder: str, names: list[str]) -> set[str]:
    """What lies in a checkout and is no part of the project, as .gitignore has it."""
    ignored = {name for name in names if name == "__pycache__" or name.endswith(".egg-info")}
    if Path(folder) == ROOT:
        ignored |= {name for name in names if name.startswith(".")} | {"build", "data", "report", "runs", "shared"}
    return ignored


def run_installed(installed: Path, code: str, elsewhere: Path) -> str:
    """Standard output of Python code that imports the installed packages, run in the folder `elsewhere`."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.endswith(".py")}
    expected = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert expected - packed == set()


def test_presets_load_outside_the_checkout(installed, tmp_path):
    code = """
import json
import train.presets as presets
settings = {name: presets.load_preset(name).model_dump(mode="json") for name in presets.preset_names()}
print(json.dumps([presets.__file__, settings]))
"""
    place, presets = json.loads(run_installed(installed, code, tmp_path))
    assert Path(place).is_relative_to(installed)
    assert presets.keys() == {path.stem for path in (ROOT / "train" / "presets").glob("*.yaml")} and presets
    assert presets["demo"]["network"]["width_per_group"] == 16


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


def test_the_exporter_finds_the_template_where_it_is_installed(installed, tmp_path):
    """Run in a folder with another `model_repository`, such as an exported one."""
    (tmp_path / "model_repository" / "qafm").mkdir(parents=True)
    place = run_installed(installed, "from export.repository import TEMPLATE; print(TEMPLATE)", tmp_path)
    assert Path(place.strip()) == installed / "model_repository"
