"""How `make setup` makes the server's environment, as far as that can be said without installing it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_pytriton_comes_last_into_a_new_environment_and_without_its_dependencies(tmp_path):
    """pip lists what an installed package lacks at each later installation, and not at one with --no-deps."""
    command = ["make", "--dry-run", "--no-print-directory", f"TRITON={tmp_path}", f"{tmp_path}/.installed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    (created,) = (line for line in lines if "-m venv" in line)
    assert "--clear" in created
    *earlier, last = (line for line in lines if "pip install" in line)
    assert "nvidia-pytriton" in last and "--no-deps" in last
    assert earlier and not any("nvidia-pytriton" in line for line in earlier)
