"""Fixtures that several folders share: a complete model repository, and a real server that serves it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import TritonServer


def pytest_configure(config: pytest.Config) -> None:
    """The tests that need no GPU are the same on a machine that has one."""
    if "not gpu" in config.getoption("markexpr"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests describe stays out of the user's cache."""
    os.environ["QAFM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def exported_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository as `python -m export` writes it, of seeded, untrained networks of demo size."""
    # Only where it is asked for: it imports torch.
    from tests.support.seeded_repository import make_seeded_repository

    return make_seeded_repository(tmp_path_factory.mktemp("exported") / "model_repository")


@pytest.fixture(scope="session")
def triton_server(exported_repository: Path) -> Iterator[TritonServer]:
    """A running Triton server on `exported_repository`. Tests that stop or break a server start their own."""
    with TritonServer(exported_repository) as server:
        yield server
