"""What people set out to do, as they would type it, against a real server: the scripts beside this file."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qafm.datasets.market1501 import list_split
from qafm.retrieval.descriptors import read_descriptors
from synthetic import Recipe, make_dataset

pytestmark = pytest.mark.triton
HERE = Path(__file__).parent


@pytest.fixture
def walk(triton_server, tmp_path):
    """Runs a script in a folder, with a `client` that knows the server. Returns what it printed."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "client"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.argv[1:1] = ['--url', '{triton_server.grpc_url}']\n"
        "if sys.argv[3] in ('score', 'compare'): del sys.argv[1:3]\n"
        "from client.commands.app import main\nmain()\n"
    )
    program.chmod(0o755)
    (tmp_path / "bin" / "python").symlink_to(sys.executable)

    def run(script: str) -> str:
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", HERE / script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"PATH": path, "QAFM_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(HERE.parents[1])},
            # Where the tests run in the background of a shell, SIGINT is ignored, and programs inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    return run


def commands(script: str) -> int:
    return sum(line.startswith("client ") for line in (HERE / script).read_text().splitlines())


@pytest.fixture
def drawn(tmp_path):
    data = tmp_path / "data/synthetic"
    make_dataset(Recipe(train_identities=2, test_identities=8, images_per_identity=6, distractors=0, junk=0), data)
    return data


def test_own_pictures_searched_with_a_threshold(walk, drawn, tmp_path):
    for crop in list_split(drawn, "gallery"):
        folder = tmp_path / "people" / f"person {crop.pid}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.open(crop.path).save(folder / f"{crop.path.stem}.PNG")
    query = list_split(drawn, "query")[0]
    Image.open(query.path).save(tmp_path / "unknown.png")
    walk("own_pictures.sh")
    assert commands("own_pictures.sh") < 5
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["found"]
    assert all(one["distance"] <= found["threshold"] and one["person"].startswith("person ") for one in found["found"])
    assert (tmp_path / "found.html").is_file()


def test_two_hundred_crops_are_searched_at_once_the_second_time(walk, tmp_path):
    many = make_many(tmp_path)
    (tmp_path / "search.sh").write_text(f"client search {next(many.iterdir())} --gallery many --model qafm_fast\n")
    walk(tmp_path / "search.sh")
    start = time.monotonic()
    walk(tmp_path / "search.sh")
    assert time.monotonic() - start < 3


def test_features_of_another_model_are_scored(walk, tmp_path):
    generator = np.random.default_rng(0)
    pids = np.arange(120) % 20 + 1
    features = generator.standard_normal((21, 32))[pids] + 0.5 * generator.standard_normal((120, 32))
    np.save(tmp_path / "features.npy", 7 * features)
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "pid", "camid"])
        for row, pid in enumerate(pids.tolist()):
            writer.writerow([f"{'query' if row < 20 else 'gallery'}/{row}.jpg", pid, 1 + row % 6])
    assert "Rank-1" in walk("another_model.sh")
    score = json.loads((tmp_path / "score.json").read_text())
    assert score["mAP"] > 0.9 and score["distance"] == "cosine" and score["identities"] == 20


def test_an_embedding_is_interrupted_and_goes_on(walk, tmp_path):
    many = make_many(tmp_path)
    walk("interrupted.sh")
    kept = read_descriptors(tmp_path / "many.npz")
    assert sorted(kept.paths.tolist()) == sorted(path.name for path in many.iterdir())


def test_a_report_is_written_compared_and_opened(walk, drawn, tmp_path):
    assert "qafm_fast" in walk("report.sh")
    page = (tmp_path / "report-2/report.html").read_text()
    assert "How good is it?" in page and "Beside" in page
    (compared,) = json.loads((tmp_path / "compared.json").read_text())["compared"]
    assert len(compared["queries"]) == len(list_split(drawn, "query"))
    gain = [query["ap"] - query["before"] for query in compared["queries"]]
    assert compared["difference"]["mAP"]["value"] == pytest.approx(np.mean(gain), abs=1e-5)
    first, second = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("report", "report-2"))
    assert np.mean(gain) == pytest.approx(second["mAP"] - first["mAP"], abs=1e-5)


def make_many(folder: Path) -> Path:
    """200 pictures, each another one."""
    many = folder / "many"
    many.mkdir()
    generator = np.random.default_rng(0)
    for number in range(200):
        pixels = generator.integers(0, 256, (8, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 128), Image.Resampling.BILINEAR).save(many / f"{number:03d}.jpg")
    return many
