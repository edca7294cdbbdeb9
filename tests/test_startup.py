"""What `--help` and a wrong option cost: nothing is loaded that only the work of a command needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

TAKES_LONG = {"torch", "torchvision", "onnx", "onnxruntime", "matplotlib", "scipy", "tritonclient"}
PROGRAM = """
import runpy, sys
try:
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("train", "--help"), 0, "Usage: python -m train"),
        (("train", "--data", "x", "--out", "y", "--preset", "dmeo"), 2, "no preset 'dmeo'"),
        (("train", "--data", "x", "--out", "y", "--stage", "x"), 2, "Invalid value for '--stage'"),
        (("export", "--help"), 0, "Usage: python -m export"),
        (("export", "x", "--precision", "int9"), 2, "expected one of fp32, fp16, int8"),
        (("export", "x", "--nonsense"), 2, "No such option: --nonsense"),
        (("export.heatmaps", "--help"), 0, "Usage: python -m export.heatmaps"),
        (("export.heatmaps", "x"), 2, "name at least one crop"),
        (("synthetic", "--help"), 0, "Usage: python -m synthetic"),
        (("server", "--help"), 0, "usage: python -m server"),
    ],
)
def test_a_question_about_options_loads_nothing_that_takes_long(arguments, code, says):
    ended = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    *said, loaded = ended.stderr.splitlines()
    assert ended.returncode == code and says in ended.stdout + "\n".join(said), ended.stderr
    assert not TAKES_LONG & set(loaded.split())
