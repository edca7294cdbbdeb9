"""`client score` on descriptor files of two models: refused within one result, compared as two."""

from __future__ import annotations

import dataclasses
import json

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


@pytest.fixture
def results(tmp_path):
    """Two results of six queries of three people, in two orders. The first finds all, the other two of three people."""
    pids, order = np.array([1, 1, 2, 2, 3, 3]), np.array([5, 3, 1, 0, 2, 4])
    paths = np.array([f"query/{row}.jpg" for row in range(6)])
    right, wrong = np.eye(3, dtype=np.float32)[pids - 1], np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 0, 0]]
    visual = np.zeros((6, 1024), np.float32)
    visual[:, :3] = wrong
    crops = np.zeros((3, 1024), np.float32)
    crops[:, :3] = np.eye(3)
    files = []
    for name, descriptors, rows in (("kudu", right, np.arange(6)), ("heron", wrong, order)):
        queries = Descriptors(descriptors[rows], pids[rows], np.ones(6, int), paths[rows], visual=visual[rows])
        gallery = Descriptors(np.eye(3, dtype=np.float32), np.array([1, 2, 3]), np.full(3, 2), visual=crops)
        for side, content in (("query", queries), ("gallery", gallery)):
            files.append(tmp_path / f"{name}-{side}.npz")
            write_descriptors(files[-1], dataclasses.replace(content, model=f"{name}/qafm"))
    return files


def test_two_results_compared(client, results, tmp_path):
    output_file = tmp_path / "score.json"
    code, output, errors = client("score", *results[:2], "--against", *results[2:], "--json", output_file)
    assert (code, errors) == (0, "")
    assert "100.00" in output and "66.67" in output and "+33.33 (+0.00 to +100.00)" in output
    found = json.loads(output_file.read_text())
    assert found["rank1"] == 1 and found["model"] == "kudu/qafm"
    assert found["against"]["rank1"] == pytest.approx(2 / 3) and found["against"]["model"] == "heron/qafm"
    assert found["difference"]["rank1"] == {"value": pytest.approx(1 / 3), "interval": [0, 1]}
    assert found["difference"]["mAP"]["value"] == pytest.approx(found["mAP"] - found["against"]["mAP"])
    code, *_ = client("score", *results[2:], "--against", *results[:2], "--json", output_file)
    assert json.loads(output_file.read_text())["difference"]["rank1"]["value"] == pytest.approx(-1 / 3)


def test_two_vectors_of_one_result_compared(client, results, tmp_path):
    files, output_file = results[:2], tmp_path / "score.json"
    code, output, _ = client("score", *files, "--vectors", "visual", "--distance", "cosine", "--json", output_file)
    found = json.loads(output_file.read_text())
    assert code == 0 and found["vectors"] == "visual" and found["rank1"] == pytest.approx(2 / 3)
    assert "cosine distance of the visual vectors" in output
    against = ("--against", *files, "--against-vectors", "visual")
    client("score", *files, *against, "--json", output_file)
    found = json.loads(output_file.read_text())
    assert (found["vectors"], found["against"]["vectors"]) == ("descriptors", "visual")
    assert found["difference"]["rank1"]["value"] == pytest.approx(1 / 3)
    client("score", *files, "--vectors", "visual", "--against", *files, "--json", output_file)
    assert json.loads(output_file.read_text())["difference"]["rank1"] == {"value": 0, "interval": [0, 0]}


def test_comparisons_that_cannot_be_made(client, results, tmp_path):
    pathless = tmp_path / "pathless.npz"
    np.savez(pathless, descriptors=np.eye(3, dtype=np.float32), pids=np.arange(1, 4), camids=np.ones(3, int))
    lacking = ("--vectors", "semantic")
    for arguments, message in (
        ((*results[:2], "--against", pathless, results[1]), "queries of the other result have no paths"),
        ((*results[:2], *lacking), "the query has no array semantic to rank by"),
        ((*results[:2], "--against-vectors", "visual"), "name these as well"),
        ((*results[:2], "--against", results[2], results[1]), "by the model heron/qafm, the gallery by kudu/qafm"),
    ):
        code, output, errors = client("score", *arguments)
        assert code == 2 and not output and message in errors and "Traceback" not in errors
