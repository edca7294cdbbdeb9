"""Evaluations compared query by query, from the files that they left."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from client.evaluation.earlier import Evaluated, compare_evaluations, read_evaluated
from client.evaluation.lists import query_rows, write_queries
from qafm.errors import InvalidDescriptors, InvalidSettings
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate

PATHS = np.array(["query/1.jpg", "query/2.jpg", "query/3.jpg"])


def side(points, pids, camids, **more):
    return Descriptors(np.array(points, np.float32)[:, None], np.array(pids), np.array(camids), **more)


@pytest.fixture
def two():
    """Of two models: what the second query finds gets better, what the first finds worse, the third has no match."""
    query = side([0, 10, 20], [1, 2, 3], [1, 1, 1], paths=PATHS)
    first = evaluate(query, side([1, 2, 11, 14], [1, 2, 1, 2], [2, 2, 2, 2]))
    second = evaluate(query, side([2, 1, 15, 10], [1, 2, 1, 2], [2, 2, 2, 2]))
    return [Evaluated.of(name, name, "2026", metrics, query) for name, metrics in (("a", first), ("b", second))]


def test_changes_by_hand(two):
    before, after = two
    found = compare_evaluations(after, before)
    assert [(change.path, change.pid) for change in found.changes] == [("query/2.jpg", 2), ("query/1.jpg", 1)]
    assert [change.before for change in found.changes] == pytest.approx([(1 / 2 + 2 / 3) / 2, (1 + 2 / 3) / 2])
    assert [change.after for change in found.changes] == pytest.approx([(1 + 2 / 4) / 2, (1 / 2 + 2 / 4) / 2])
    assert [change.path for change in found.better] == ["query/2.jpg"]
    assert [change.path for change in found.worse] == ["query/1.jpg"]
    assert found.differences["mAP"].value == pytest.approx((1 / 6 - 1 / 3) / 2, abs=1e-6)
    assert tuple(found.differences["mAP"].interval) == pytest.approx((-1 / 3, 1 / 6), abs=1e-6)


def test_a_change_too_small_to_notice_is_neither_better_nor_worse(two):
    before = two[0]
    slightly = dataclasses.replace(before, average_precision=before.average_precision + [0.009, 0.011, 0])
    found = compare_evaluations(slightly, before)
    assert [change.path for change in found.better] == ["query/2.jpg"] and not found.worse


def write(folder, evaluated, **report):
    folder.mkdir()
    metrics = dataclasses.make_dataclass("Ranked", ["average_precision", "first_match"])
    own = metrics(evaluated.average_precision, evaluated.first_match)
    write_queries(folder / "queries.csv", query_rows(evaluated.query, own))
    content = {"format": 2, "model": evaluated.model, "created": "2026", "rank1": 0.5, "mAP": 0.25, "gallery": 4}
    (folder / "report.json").write_text(json.dumps(content | report))
    return folder


def test_what_is_read_is_what_was_written(two, tmp_path):
    before, after = two
    found = read_evaluated(write(tmp_path / "a", before))
    assert (found.name, found.model, found.created, found.mAP) == (str(tmp_path / "a"), "a", "2026", 0.25)
    np.testing.assert_allclose(found.average_precision, before.average_precision, rtol=1e-5)
    np.testing.assert_array_equal(found.first_match, before.first_match)
    assert found.query.paths.tolist() == PATHS.tolist()
    assert len(compare_evaluations(after, found).changes) == 2
    same = compare_evaluations(before, found)
    assert same.differences["mAP"].value == 0 and tuple(same.differences["mAP"].interval) == (0, 0), "not by rounding"
    assert same.warning is None
    larger = compare_evaluations(dataclasses.replace(before, gallery=5), found)
    assert larger.warning == "the galleries have 5 and 4 images: part of the difference may be due to that"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (None, None, "expected the folder of a report"),
        ("report.json", "[]", "expected the folder of a report"),
        ("report.json", "{", "expected the folder of a report"),
        ("report.json", '{"format": 2, "model": "a"}', "KeyError"),
        ("report.json", '{"format": 9}', "of a newer version of this client"),
        ("queries.csv", "path,pid\nx,1\n", "KeyError"),
        ("queries.csv", "path,pid,camid,ap,first_match\nx,one,1,0.5,1\n", "expected the folder of a report"),
    ],
)
def test_what_is_no_report_is_refused(two, tmp_path, file, content, said):
    folder = write(tmp_path / "a", two[0])
    (folder / (file or "report.json")).write_text(content) if file else (folder / "report.json").unlink()
    with pytest.raises(InvalidSettings, match=said):
        read_evaluated(folder)


def test_other_queries_are_not_compared(two):
    before, after = two
    renamed = dataclasses.replace(after.query, paths=np.array(["query/1.jpg", "query/2.jpg", "query/x.jpg"]))
    with pytest.raises(InvalidDescriptors, match="not of the same queries"):
        compare_evaluations(dataclasses.replace(after, query=renamed), before)
