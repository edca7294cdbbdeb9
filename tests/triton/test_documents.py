"""The examples of docs/client.md, one after the other in one folder, against a real server."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qafm.datasets.market1501 import list_split
from synthetic import Recipe, make_dataset

pytestmark = pytest.mark.triton

DOCUMENT = Path(__file__).parents[2] / "docs/client.md"
EXAMPLES = [
    (kind, example)
    for kind, block in re.findall(r"^```(console|python)\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    for example in (block.splitlines() if kind == "console" else [block])
]


def command(kind: str, example: str, url: str) -> list[str]:
    if kind == "python":
        return [sys.executable, "-W", "error", "-c", example.replace("127.0.0.1:8001", url)]
    program, name, *arguments = shlex.split(example)
    assert program == "client"
    server = [] if name in ("score", "compare") else ["--url", url]
    return [sys.executable, "-m", "client", name, *arguments, *server]


def test_the_examples_of_the_client(triton_server, tmp_path):
    assert {kind for kind, _ in EXAMPLES} == {"console", "python"}
    data = tmp_path / "data/synthetic"
    make_dataset(Recipe(train_identities=2, test_identities=3, images_per_identity=3, distractors=1, junk=1), data)
    shutil.copy(list_split(data, "query")[0].path, tmp_path / "crop.jpg")
    for kind, example in EXAMPLES:
        ended = subprocess.run(
            command(kind, example, triton_server.grpc_url), cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == 0, f"{example}\n{ended.stdout}{ended.stderr}"
    for written in (
        *("report/report.html", "report/report.json", "report/queries.csv", "report/query.npz", "report/gallery.npz"),
        *("score.json", "found.html", "folder.npz"),
    ):
        assert (tmp_path / written).is_file(), written
