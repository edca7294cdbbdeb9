"""The trainer as a process, killed at random moments. Takes minutes: `pytest -m slow tests/train/test_killed.py`."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from synthetic import Recipe, make_dataset
from train.checkpoint import load_checkpoint
from train.settings import STAGES

ROOT = Path(__file__).parents[2]
KILLS = 3


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_ends_the_same(tmp_path):
    data = tmp_path / "data"
    make_dataset(Recipe(train_identities=60, test_identities=2, images_per_identity=8), data)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command = [sys.executable, "-m", "train", "--preset", "demo", "--data", str(data)]
    started = time.monotonic()
    subprocess.run([*command, "--out", str(whole)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    took = time.monotonic() - started

    moments = random.Random(time.time_ns())
    for _ in range(KILLS):
        process = subprocess.Popen([*command, "--out", str(broken), "--resume"], cwd=ROOT, stdout=subprocess.DEVNULL)
        moment = moments.uniform(0.1, 0.5) * took
        print(f"killed after {moment:.1f} s")
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        assert process.wait() in (0, -signal.SIGKILL)
    subprocess.run([*command, "--out", str(broken), "--resume"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    assert metrics(broken) == metrics(whole)
    for stage in STAGES:
        for best in (False, True):
            expected, got = (load_checkpoint(run, stage, best=best).networks for run in (whole, broken))
            assert all(torch.equal(got[net][name], expected[net][name]) for net in expected for name in expected[net])


def metrics(run: Path) -> list[dict[str, object]]:
    """All that was logged, but for the speed."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "images_per_s"} for line in lines]
