"""`client score` at the size of Market-1501, on descriptors that say nothing."""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
import pytest

from qafm.retrieval.descriptors import Descriptors, write_descriptors

pytestmark = pytest.mark.slow

SECONDS, BYTES = 15.0, 1.5e9
"""A few seconds on a quiet machine of two cores; the bound leaves room for a noisy one."""


def test_score_of_3368_queries_and_15913_images(tmp_path):
    generator = np.random.default_rng(0)
    for name, count in (("query", 3_368), ("gallery", 15_913)):
        descriptors = Descriptors(
            generator.normal(size=(count, 1000)).astype(np.float32),
            pids=generator.integers(0, 751, count),
            camids=generator.integers(1, 7, count),
        )
        write_descriptors(tmp_path / f"{name}.npz", descriptors)
    begun = time.perf_counter()
    command = [sys.executable, "-m", "client", "score", str(tmp_path / "query.npz"), str(tmp_path / "gallery.npz")]
    subprocess.run(command, check=True, capture_output=True)
    assert time.perf_counter() - begun < SECONDS
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < BYTES
