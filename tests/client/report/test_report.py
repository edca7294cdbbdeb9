from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from client.evaluation.describing import FailedImage
from client.evaluation.identity import DatasetIdentity
from client.evaluation.measures import Measured
from client.report.report import Report, read_heatmaps
from client.report.write import write_report
from qafm.attribute_metrics import HeadMetrics
from qafm.errors import InvalidSettings
from qafm.manifest import Manifest
from qafm.retrieval.abstention import Abstention
from qafm.retrieval.bootstrap import Interval
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate
from qafm.retrieval.verification import OperatingPoint
from tests.support.bad_images import encoded, picture

QUALITY = {
    "low_resolution": {"n": 1043, "spearman": {"utility": 0.6249, "scatter": None}},
    "noise": {"n": 42, "spearman": {"utility": -0.125, "scatter": 0.75}},
    "discard": None,
}


@pytest.fixture
def folder(tmp_path):
    query = Descriptors(np.zeros((1, 1), np.float32), np.array([1]), np.array([1]))
    gallery = Descriptors(np.array([[1], [2]], np.float32), np.array([2, 1]), np.array([2, 2]))
    metrics = evaluate(query, gallery)
    report = Report(
        created="2026-01-02T03:04:05+00:00",
        data="data",
        dataset=DatasetIdentity("f0", "1a"),
        model="k7m2-9xqd/qafm",
        url="127.0.0.1:8001",
        measured=Measured(
            metrics,
            intervals={"rank1": Interval(0, 0.125), "mAP": Interval(0.375, 0.6875)},
            verification=[OperatingPoint(false_positive_rate=0.01, true_positive_rate=0.375, threshold=0.8125)],
            reranked=metrics,
            abstained=Abstention(0.1, "utility", 0.25, 3, metrics),
        ),
        baseline=metrics,
        attributes={"hat": HeadMetrics(0.75, 0.625, 0.5625, 0.875, 8, 2, Interval(0.5, 0.6875))},
        failed_images=(FailedImage("query/a.jpg", "it begins b'<script>alert(1)</script>'"),),
        manifest=Manifest(
            {"checkpoint": "<b>abc</b>", "versions": {"pillow": "12"}, "quality": QUALITY}, {"qafm": "k7m2-9xqd"}
        ),
        timings={"describe_s": 1.5},
        alpha=np.array([0.25, 0.5], np.float32),
        identifiability=np.array([3, 4], np.float32),
    )
    write_report(tmp_path, report)
    return tmp_path


def test_json_has_what_programs_read(folder):
    found = json.loads((folder / "report.json").read_text())
    assert (found["mAP"], found["mAP_trapezoid"], found["queries"], found["gallery"]) == (0.5, 0.25, 1, 2)
    assert found["baseline"]["rank1"] == 0
    assert found["intervals"] == {"rank1": [0, 0.125], "mAP": [0.375, 0.6875]} and found["identities"] == 1
    assert found["attributes"] == {
        "hat": {
            "accuracy": 0.75,
            "majority": 0.625,
            "balanced_accuracy": 0.5625,
            "auc": 0.875,
            "images": 8,
            "values": 2,
            "balanced_accuracy_interval": [0.5, 0.6875],
        }
    }
    assert found["verification"] == [{"false_positive_rate": 0.01, "true_positive_rate": 0.375, "threshold": 0.8125}]
    assert (found["reranked"]["mAP"], found["reranked"]["k2"]) == (0.5, 6)
    assert (found["abstained"]["threshold"], found["abstained"]["left_out"]) == (0.25, 3)
    assert found["failed_images"][0]["path"] == "query/a.jpg"
    assert found["manifest"]["versions"]["pillow"] == "12"


def test_the_page_is_self_contained_and_shows_foreign_text_as_text(folder):
    page = (folder / "report.html").read_text()
    assert "Without the worst 3<" in page
    assert "&lt;script&gt;alert(1)" in page and "&lt;b&gt;abc" in page
    tags, links = set(), []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.add(tag)
            links.extend(value for name, value in attributes if name in ("src", "href"))

    Reader().feed(page)
    assert "script" not in tags and all(link.startswith(("#", "data:text/csv;base64,")) for link in links)
    shown = ("37.50", "0.8125", "62.5", "50.00", "query/a.jpg", "12")
    assert all(text in page for text in shown)
    assert page.count("95 % interval 37.5 to 68.8") == 1, "below the headline figure"
    assert page.count("37.50 to 68.75") == 1, "in the table of metrics"
    assert "50.0 to 68.8" in page and "87.5" in page, "of balanced accuracy, and AUC"
    assert '<th>low resolution<td class="n">+0.62<td class="n"><td class="n">1,043' in page
    assert '<th>noise<td class="n">-0.12<td class="n">+0.75<td class="n">42' in page


def test_heat_maps_are_shown_by_the_names_of_their_images(tmp_path):
    (tmp_path / "000-a.png").write_bytes(encoded(picture(), "PNG"))
    (tmp_path / "heatmaps.json").write_text('{"heatmaps": [{"image": "<a>.jpg", "file": "000-a.png"}]}')
    found = read_heatmaps(tmp_path)
    assert found == {"<a>.jpg": encoded(picture(), "PNG")}
    query = Descriptors(np.zeros((1, 1), np.float32), np.array([1]), np.array([1]))
    gallery = Descriptors(np.ones((1, 1), np.float32), np.array([1]), np.array([2]))
    metrics = evaluate(query, gallery)
    identity, manifest = DatasetIdentity("", ""), Manifest({}, {})
    report = Report(
        "now", "data", identity, "url", "model", Measured(metrics), metrics, {}, (), manifest, {}, heatmaps=found
    )
    write_report(tmp_path, report)
    page = (tmp_path / "report.html").read_text()
    assert "&lt;a&gt;.jpg" in page and page.count('src="data:image/png;base64,') == 1


@pytest.mark.parametrize("file", ["gone.png", "../outside.png", "/etc/hostname", "secret.txt", "."])
def test_what_is_no_picture_in_the_folder_is_not_shown(tmp_path, file):
    folder = tmp_path / "maps"
    folder.mkdir()
    (tmp_path / "outside.png").write_bytes(encoded(picture(), "PNG"))
    (folder / "secret.txt").write_text("password")
    (folder / "heatmaps.json").write_text(json.dumps({"heatmaps": [{"image": "a.jpg", "file": file}]}))
    with pytest.raises(InvalidSettings, match=f"'{file}' is no picture in this folder; make the heat maps again"):
        read_heatmaps(folder)


@pytest.mark.parametrize("content", [None, "{}", "[]", "7"])
def test_a_folder_without_heat_maps_says_how_to_make_one(tmp_path, content):
    if content is not None:
        (tmp_path / "heatmaps.json").write_text(content)
    with pytest.raises(InvalidSettings, match=r"not a folder of heat maps .*python -m export\.heatmaps"):
        read_heatmaps(tmp_path)
