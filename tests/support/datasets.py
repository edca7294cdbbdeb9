"""Datasets of files that only have a name: what is in them does not matter to a reader of layouts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def make_files(root: Path, names: Iterable[str]) -> Path:
    """Empty files below `root`, folders included. Returns `root`."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def by_name(root: Path, crops) -> dict[str, tuple[int, int]]:
    """{path relative to root: (pid, camid)} of crops, in their order."""
    return {crop.path.relative_to(root).as_posix(): (crop.pid, crop.camid) for crop in crops}
