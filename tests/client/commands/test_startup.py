"""`--help` comes at once: it loads nothing that only the work of a command needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

TAKES_LONG = {"numpy", "PIL", "grpc", "tritonclient", "matplotlib", "scipy", "torch", "rich", "asyncio", "pydantic"}
PROGRAM = """
import sys
from client.commands.app import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("command", [(), ("eval",), ("describe",), ("search",), ("score",), ("bench",)])
def test_help_loads_nothing_that_takes_long(command):
    ended = subprocess.run([sys.executable, "-c", PROGRAM, *command, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(" ".join(["Usage: client", *command]))
    loaded = set(ended.stderr.split())
    assert "typer" in loaded
    assert not TAKES_LONG & loaded
    assert not [name for name in loaded if name.startswith(("qafm.retrieval", "client.report", "client.reid"))]
