"""The report as people see it: in a browser, on a desk and on a phone, light and dark."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from client.evaluation.ablation import Ablation, Degradation, Row
from client.evaluation.describing import FailedImage
from client.evaluation.identity import DatasetIdentity
from client.report.examples import choose_examples
from client.report.report import Report
from client.report.write import write_report
from qafm.attribute_metrics import HeadMetrics
from qafm.attributes import SCHEMA
from qafm.manifest import Manifest
from qafm.retrieval.abstention import Abstention
from qafm.retrieval.bootstrap import Difference, Interval
from qafm.retrieval.comparison import intervals
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.discard import QUALITY_FIELDS
from qafm.retrieval.metrics import evaluate
from qafm.retrieval.verification import operating_points

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: `make browser`")
# Of a new profile nothing is asked over the network.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
IDENTITIES, IMAGES = 12, 48


def picture(generator, size) -> bytes:
    encoded = io.BytesIO()
    patches = generator.integers(0, 256, (8, 4, 3), dtype=np.uint8)
    Image.fromarray(patches).resize(size, Image.Resampling.BILINEAR).save(encoded, "JPEG")
    return encoded.getvalue()


def described(root, folder, generator, centres) -> Descriptors:
    (root / folder).mkdir(parents=True)
    pids = np.arange(IMAGES) % IDENTITIES + 1
    camids = generator.integers(1, 7, IMAGES)
    names = [f"{folder}/{p:04d}_c{c}s1_{n:06d}_00.jpg" for n, (p, c) in enumerate(zip(pids, camids, strict=True))]
    for name in names[1:]:
        (root / name).write_bytes(picture(generator, (64, 128)))
    # The first picture is gone since.
    vectors = centres[pids] + 1.5 * generator.standard_normal((IMAGES, 50))
    return Descriptors(
        (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        pids,
        camids,
        np.array(names),
        alpha=generator.random(IMAGES, dtype=np.float32),
        identifiability=generator.random(IMAGES, dtype=np.float32),
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of everything that a report can have, something."""
    root, generator = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    centres = generator.standard_normal((IDENTITIES + 1, 50))
    query, gallery = (described(root, folder, generator, centres) for folder in ("query", "bounding_box_test"))
    metrics = evaluate(query, gallery)
    difference = {"mAP": Difference(-0.0123, Interval(-0.0301, 0.0042))}
    rows = tuple(
        Row(f"fixed α = {tenth / 10}", tenth / 10, metrics, difference if tenth > 1 else {}) for tenth in range(1, 10)
    )
    levels = {"none": 20, "slight": 9, "medium": 9, "severe": 10}
    by_level = {row.name: dict.fromkeys(levels, 0.5) for row in rows}
    write_report(
        root,
        Report(
            created="2026-01-02T03:04:05+00:00",
            dataset=DatasetIdentity("f0", "1a"),
            model="k7m2-9xqd/qafm",
            data="a/rather/long/path/without/any/blanks/to/a/dataset/in/Market-1501s/layout/Market-1501-v15.09.15",
            url="127.0.0.1:8001",
            metrics=metrics,
            intervals=intervals(metrics, query.pids),
            baseline=metrics,
            reranked=metrics,
            abstained=Abstention(0.1, "utility", 0.25, 3, metrics),
            verification=operating_points(query, gallery),
            attributes={
                attribute.name: HeadMetrics(0.75, 0.5, 0.625, 0.8125, 48, Interval(0.5, 0.6875)) for attribute in SCHEMA
            },
            failed_images=(FailedImage("query/" + "long" * 30 + ".jpg", "it begins b'<script>'"),),
            manifest=Manifest(
                {
                    "checkpoint": "0123456789abcdef" * 4,
                    "versions": {"os": "Linux"},
                    "quality": {"low_resolution": {"n": 42, "spearman": dict.fromkeys(QUALITY_FIELDS, -0.25)}},
                },
                {},
            ),
            timings={"describe_s": 12.5},
            alpha=np.concatenate([query.alpha, gallery.alpha]),
            identifiability=np.concatenate([query.identifiability, gallery.identifiability]),
            examples=choose_examples(root, query, gallery, metrics),
            heatmaps={"query/a.jpg": picture(generator, (400, 400))},
            ablation=Ablation(rows, 0.5, 0.1, 0.2, 0.8, 0.3, Degradation({}, levels, by_level, -0.1)),
        ),
    )
    return root / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield opened
        opened.close()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")], ids=lambda p: f"{p[0]}-{p[1]}")
def page(request, browser, report) -> Iterator[Page]:
    width, scheme = request.param
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda one: one.url.startswith(("file:", "data:")) or said.append(one.url))
    opened.goto(report.as_uri())
    yield opened
    assert said == []
    opened.close()


def test_nothing_is_wider_than_the_screen(page, tmp_path):
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    width = page.evaluate("innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # A wide table scrolls inside its section; nothing else may stick out of one.
    sticking_out = """[...document.querySelectorAll("section *")].filter((one) => {
      const section = one.closest("section").getBoundingClientRect(), own = one.getBoundingClientRect();
      return !one.closest("table") && own.width && (own.right > section.right + 1 || own.left < section.left - 1);
    }).map((one) => one.outerHTML.slice(0, 200))"""
    assert page.evaluate(sticking_out) == []


def test_every_picture_is_shown_and_one_that_is_gone_says_so(page):
    page.evaluate("""() => { for (const one of document.images) one.loading = "eager"; }""")
    page.wait_for_function("[...document.images].every((one) => one.complete)")
    assert page.evaluate("[...document.images].filter((one) => !one.naturalWidth).length") == 0
    assert page.evaluate("document.images.length") > 100
    assert page.get_by_text("no picture").count() > 0


def test_right_and_wrong_matches_are_framed_in_different_colours(page):
    colour = "(kind) => getComputedStyle(document.querySelector(`figure.${kind} > :first-child`)).borderTopColor"
    assert page.evaluate(colour, "right") != page.evaluate(colour, "wrong")


def test_ranked_lists_are_found_by_identity(page):
    lists = page.locator(".list")
    assert lists.count() == IDENTITIES
    shown = "[...document.querySelectorAll('.list')].filter((one) => one.checkVisibility()).length"
    assert page.evaluate(shown) == IDENTITIES
    page.get_by_label("Identity").fill("0007")
    assert page.evaluate(shown) == 1
    assert page.locator("[data-identity='0007']").is_visible()
    assert page.get_by_text(f"1 of {IDENTITIES}").is_visible()
    page.get_by_label("Identity").fill("")
    assert page.evaluate(shown) == IDENTITIES
