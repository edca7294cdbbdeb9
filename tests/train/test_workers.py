from __future__ import annotations

import pytest

from train.presets import load_preset
from train.workers import bytes_per_worker, shared_memory_left, too_little_room, workers_that_fit

MIB = 2**20


@pytest.mark.parametrize(
    ("wanted", "left", "expected"),
    [(8, 1024 * MIB, 8), (8, 64 * MIB, 3), (8, 15 * MIB, 0), (0, 64 * MIB, 0), (8, None, 8)],
)
def test_as_many_as_half_of_the_room_holds(wanted, left, expected):
    assert workers_that_fit(wanted, 10 * MIB, left) == expected


def test_what_a_worker_holds_by_hand():
    """market1501: 2 batches of 32 crops are less than 35 views of 2; 16 x 4 crops, each with a worse one, are more."""
    crop = 384 * 128 * 3
    assert bytes_per_worker(load_preset("market1501")) == 2 * 35 * crop
    assert bytes_per_worker(load_preset("market1501-strong")) == 2 * 2 * 64 * crop
    assert bytes_per_worker(load_preset("market1501-strong"), processes=4) == 2 * 35 * crop
    worse = load_preset("market1501", augmentation={"degraded": {"apan": 0.5}})
    assert bytes_per_worker(worse) == 2 * 2 * 32 * crop


def test_in_dockers_64_mib_eight_workers_do_not_fit():
    each = bytes_per_worker(load_preset("market1501"))
    fitting = workers_that_fit(8, each, 64 * MIB)
    assert 0 < fitting < 8 and 2 * fitting * each <= 64 * MIB
    message = too_little_room(8, fitting, each, 64 * MIB)
    assert "64 MiB left" in message and f"with {fitting} workers, not 8" in message and "--shm-size" in message


def test_the_room_of_this_machine_is_read():
    left = shared_memory_left()
    assert left is None or left >= 0
