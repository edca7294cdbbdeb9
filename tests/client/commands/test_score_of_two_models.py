"""`client score` on descriptor files of two models: no number is better than a wrong one."""

from __future__ import annotations

import numpy as np
import pytest

from qafm.retrieval.descriptors import Descriptors, write_descriptors


def write(path, points, pids, camid, model):
    write_descriptors(
        path, Descriptors(np.array(points, np.float32), np.array(pids), np.full(len(pids), camid), model=model)
    )
    return path


@pytest.mark.parametrize("rerank", [(), ("--rerank",)])
def test_files_of_two_models_are_refused(client, tmp_path, rerank):
    query = write(tmp_path / "query.npz", [[1, 0]], [1], 1, "kudu/qafm")
    gallery = write(tmp_path / "gallery.npz", [[0, 1], [1, 0]], [2, 1], 2, "heron/qafm")
    code, output, errors = client("score", query, gallery, *rerank, "--json", tmp_path / "score.json")
    assert code == 2 and not output and not (tmp_path / "score.json").exists()
    assert "model kudu/qafm, the gallery by heron/qafm" in errors and "Describe both with one model" in errors


def test_a_file_that_names_no_model_goes_with_any(client, tmp_path):
    query = write(tmp_path / "query.npz", [[1, 0]], [1], 1, "kudu/qafm")
    gallery = tmp_path / "gallery.npz"
    np.savez(gallery, descriptors=np.eye(2, dtype=np.float32), pids=np.array([1, 2]), camids=np.array([2, 2]))
    code, output, _ = client("score", query, gallery)
    assert code == 0 and "100.00" in output


def test_an_array_beside_a_table_is_scored(client, tmp_path):
    query = write(tmp_path / "query.npz", [[1, 0]], [1], 1, None)
    np.save(tmp_path / "gallery.npy", np.eye(2))
    (tmp_path / "gallery.csv").write_text("path,pid,camid\na.jpg,1,2\nb.jpg,2,2\n")
    code, output, _ = client("score", query, tmp_path / "gallery.npy")
    assert code == 0 and "100.00" in output
    (tmp_path / "gallery.csv").write_text("path,pid,camid\na.jpg,one,2\nb.jpg,2,2\n")
    code, _, errors = client("score", query, tmp_path / "gallery.npy")
    assert code == 2 and "gallery.csv, line 2: pid is 'one'" in errors
