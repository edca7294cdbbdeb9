"""`client score` on descriptor files of two models: no number is better than a wrong one."""

from __future__ import annotations

import numpy as np
import pytest

from qafm.retrieval.descriptors import Descriptors, write_descriptors


@pytest.fixture
def query(tmp_path):
    """One query, whose person is the first of the galleries below."""
    ids = np.array([1])
    write_descriptors(tmp_path / "query.npz", Descriptors(np.eye(2, dtype=np.float32)[:1], ids, ids, model="kudu/qafm"))
    return tmp_path / "query.npz"


@pytest.mark.parametrize("rerank", [(), ("--rerank",)])
def test_files_of_two_models_are_refused(client, tmp_path, query, rerank):
    gallery = tmp_path / "gallery.npz"
    of_another = Descriptors(np.eye(2, dtype=np.float32), np.array([1, 2]), np.array([2, 2]), model="heron/qafm")
    write_descriptors(gallery, of_another)
    code, output, errors = client("score", query, gallery, *rerank, "--json", tmp_path / "score.json")
    assert code == 2 and not output and not (tmp_path / "score.json").exists()
    assert "model kudu/qafm, the gallery by heron/qafm" in errors and "Describe both with one model" in errors


def test_a_file_that_names_no_model_goes_with_any(client, tmp_path, query):
    gallery = tmp_path / "gallery.npz"
    np.savez(gallery, descriptors=np.eye(2, dtype=np.float32), pids=np.array([1, 2]), camids=np.array([2, 2]))
    code, output, _ = client("score", query, gallery)
    assert code == 0 and "100.00" in output


def test_an_array_beside_a_table_is_scored(client, tmp_path, query):
    gallery, table = tmp_path / "gallery.npy", tmp_path / "gallery.csv"
    np.save(gallery, np.eye(2))
    table.write_text("path,pid,camid\na.jpg,1,2\nb.jpg,2,2\n")
    code, output, _ = client("score", query, gallery)
    assert code == 0 and "100.00" in output
    table.write_text("path,pid,camid\na.jpg,one,2\nb.jpg,2,2\n")
    code, _, errors = client("score", query, gallery)
    assert code == 2 and "gallery.csv, line 2: pid is 'one'" in errors
