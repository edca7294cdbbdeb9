"""An evaluation of exactly Market-1501's size, by networks of a few operators: everything else is as it is served."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from server import TritonServer
from tests.support.small_repository import make_small_repository

pytestmark = [pytest.mark.triton, pytest.mark.slow]

QUERIES, GALLERY, JUNK, DISTRACTORS, IDENTITIES, CAMERAS = 3_368, 19_732, 3_819, 2_798, 750, 6
IMAGES, RECORD_BYTES = QUERIES + GALLERY - JUNK, 12_476
METRICS_S, BYTES = 5.0, 1e9


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Patches of colour: an identity's own, with noise."""
    root = tmp_path_factory.mktemp("full-size")
    generator = np.random.default_rng(0)
    own = generator.integers(0, 256, (IDENTITIES + 2, 8, 4, 3))

    def write(folder, pid, camid, number):
        patches = np.clip(own[pid] + generator.normal(0, 60, own[pid].shape), 0, 255).astype(np.uint8)
        picture = Image.fromarray(patches).resize((64, 128), Image.Resampling.BILINEAR)
        name = f"{pid:04d}" if pid >= 0 else "-1"
        picture.save(root / folder / f"{name}_c{camid}s1_{number:06d}_00.jpg", quality=85)

    people = GALLERY - JUNK - DISTRACTORS
    for folder, pids in (
        ("query", islice(cycle(range(1, IDENTITIES + 1)), QUERIES)),
        (
            "bounding_box_test",
            [*islice(cycle(range(1, IDENTITIES + 1)), people), *[0] * DISTRACTORS, *[-1] * JUNK],
        ),
    ):
        (root / folder).mkdir()
        for number, pid in enumerate(pids):
            write(folder, pid, 1 + generator.integers(CAMERAS), number)
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with TritonServer(make_small_repository(tmp_path_factory.mktemp("small") / "model_repository")) as running:
        yield running


def start(server, dataset, report):
    command = [sys.executable, "-m", "client", "eval", "--data", dataset, "--url", server.grpc_url, "--report", report]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ended(process):
    """Its most bytes of memory. Not by its resource usage: that starts with what this process has."""
    status, most = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        most = max(most, 1024 * int(found[1]) if found else 0)
        time.sleep(0.02)
    assert process.returncode == 0
    return most


def result(report):
    found = json.loads((report / "report.json").read_text())
    return {name: value for name, value in found.items() if name not in ("timings", "created", "url")}


def awake(server):
    """The server, started again where it has died: Triton 2.51 may when a client does (triton server#7368)."""
    time.sleep(2)
    if not server.running:
        print("the server died with its client; started again")
        server.stop()
        server.start()
        server.wait_until_ready()
    return server


def test_an_evaluation_of_full_size_killed_three_times(server, dataset, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    most = ended(start(server, dataset, undisturbed))
    found = json.loads((undisturbed / "report.json").read_text())
    print(f"{most / 1e6:.0f} MB, {found['timings']}, mAP {found['mAP']:.4f}")
    assert (found["queries"], found["gallery"]) == (QUERIES, GALLERY - JUNK)
    assert found["failed_images"] == [] and 0.05 < found["mAP"] < 1
    assert most < BYTES
    assert found["timings"]["metrics_s"] < METRICS_S

    chance = random.Random()
    for fraction in sorted(chance.uniform(0.02, 0.9) for _ in range(3)):
        print(f"killed after {fraction:.0%} of the images")
        process = start(awake(server), dataset, killed)
        while sum(path.stat().st_size for path in killed.glob("*.journal")) < fraction * IMAGES * RECORD_BYTES:
            assert server.running, server.log_tail()
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (killed / "report.json").exists()
    resumed = ended(start(awake(server), dataset, killed))
    assert resumed < BYTES
    assert result(killed) == result(undisturbed)
    for name in ("query.npz", "gallery.npz", "queries.csv"):
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes(), name
