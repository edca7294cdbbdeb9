"""The charts of a report: well-formed, in the page's colours, always the same, and of the numbers they are given."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from client.report.charts import cmc_curve, histogram, scatter
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate

SVG = "{http://www.w3.org/2000/svg}"


def metrics(seed):
    generator = np.random.default_rng(seed)

    def draw(count):
        points = generator.normal(size=(count, 3)).astype(np.float32)
        return Descriptors(points, generator.integers(0, 5, count), generator.integers(1, 3, count))

    return evaluate(draw(20), draw(80))


VALUES = np.random.default_rng(0).normal(size=300).astype(np.float32)
CHARTS = {
    "cmc": lambda: cmc_curve(metrics(0), metrics(1)),
    "histogram": lambda: histogram(VALUES, "Q"),
    "scatter": lambda: scatter(VALUES, VALUES**2, "Q", "α"),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_well_formed_and_takes_the_pages_colours(name):
    svg = CHARTS[name]()
    assert ElementTree.fromstring(svg).tag == f"{SVG}svg"
    assert "var(--accent)" in svg and "var(--soft)" in svg
    assert "#01020" not in svg and "#000000" not in svg and "#ffffff" not in svg
    assert svg == CHARTS[name]()


def test_charts_of_one_page_share_no_clip_path():
    names = [set(part.split(")")[0] for part in CHARTS[name]().split("url(#")[1:]) for name in CHARTS]
    assert all(names) and not set.intersection(*names)


def test_a_histogram_has_a_bar_for_each_bin_and_a_scatter_a_point_for_each_image():
    bars = ElementTree.fromstring(histogram(VALUES, "Q")).iter(f"{SVG}path")
    assert sum("var(--accent)" in bar.get("style", "") for bar in bars) == 40
    points = ElementTree.fromstring(scatter(VALUES, VALUES, "Q", "α")).iter(f"{SVG}use")
    assert sum("var(--accent)" in point.get("style", "") for point in points) == len(VALUES)
