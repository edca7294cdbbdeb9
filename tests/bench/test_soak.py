"""What a soak came to, by hand; and the memory of a process with a child."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.soak import Sample, memory_of_all, verdict


def test_the_verdict_by_hand():
    """Memory is full after a minute, and then grows by a byte a second: 3.6 kB an hour."""
    samples = [
        Sample(second, answered=10 * second, failed=second // 60, busy=0.5, memory=second if second >= 60 else 10**6)
        for second in range(0, 121, 20)
    ]
    table = verdict(samples)
    assert (table["minutes"], table["requests"], table["failed"]) == (2, 1200, 2)
    assert table["images a second"] == pytest.approx(10) and table["busy"] == pytest.approx(0.5)
    assert table["growth, MB an hour"] == pytest.approx(0.0036)
    assert table["highest memory, MB"] == 1 and table["memory, MB"] == pytest.approx(120e-6)


def test_memory_counts_children():
    own = memory_of_all(os.getpid())
    code = "data = bytearray(b'x' * 100_000_000); print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        both, alone = memory_of_all(os.getpid()), memory_of_all(child.pid)
        child.communicate(b"\n")
    assert alone > 100e6 and both > own + 90e6
    assert memory_of_all(child.pid) == 0
