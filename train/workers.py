"""How many loader processes the machine has room for."""

from __future__ import annotations

import shutil
from pathlib import Path

from qafm.contract import HEIGHT, VIEW_COUNT, WIDTH
from train.settings import Settings

SHARED_MEMORY = Path("/dev/shm")
_CROP_BYTES = HEIGHT * WIDTH * 3
_AHEAD = 2
"""Batches that a worker of a DataLoader has ready, its `prefetch_factor`."""


def bytes_per_worker(settings: Settings, processes: int = 1) -> int:
    """What one worker may have in shared memory: batches of crops, or the views of crops whose Q is computed."""
    degraded = settings.augmentation.degraded
    crops = settings.batch_size // processes * (2 if degraded.apn or degraded.apan else 1)
    return _AHEAD * _CROP_BYTES * max(crops, VIEW_COUNT)


def shared_memory_left() -> int | None:
    """Bytes free where workers hand over what they read; None on a system that has no such place."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None


def workers_that_fit(wanted: int, per_worker: int, left: int | None) -> int:
    """At most `wanted`: with more than there is room for, one of them dies of a bus error in the middle of a training.

    per_worker, left: bytes. Half of what is left stays free, for other programs and the buffers of several GPUs.
    """
    return wanted if left is None else min(wanted, left // (2 * per_worker))


def too_little_room(wanted: int, fitting: int, per_worker: int, left: int) -> str:
    """A warning."""
    return (
        f"{SHARED_MEMORY} has {left / 2**20:.0f} MiB left, and each loader process may fill {per_worker / 2**20:.0f}: "
        f"training with {fitting} workers, not {wanted}. In a container give it more: --shm-size=1g"
    )
