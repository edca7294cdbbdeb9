"""Repositories of the benchmarks, which serve what nobody exported."""

from __future__ import annotations

import shutil

import pytest

from bench.fresh import promise_nothing
from qafm.contract import graph_path
from qafm.errors import ServerFailed
from server.integrity import check_files


def test_other_graphs_may_be_served_once_the_manifest_promises_nothing(exported_repository, tmp_path):
    repository = tmp_path / "int8"
    shutil.copytree(exported_repository, repository)
    graph_path(repository, "apn").write_bytes(b"another")
    with pytest.raises(ServerFailed, match="expected .* of its manifest"):
        check_files(repository)
    promise_nothing(repository)
    check_files(repository)
