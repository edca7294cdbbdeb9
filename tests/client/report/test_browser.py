"""The report as people see it: in a browser, on a desk and on a phone, light and dark."""

from __future__ import annotations

import csv
import dataclasses
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from client.evaluation.ablation import Ablation, Degradation, Row
from client.evaluation.describing import FailedImage
from client.evaluation.earlier import Evaluated, compare_evaluations
from client.evaluation.identity import DatasetIdentity
from client.evaluation.lists import query_rows
from client.evaluation.measures import measure
from client.gallery.page import write_page
from client.gallery.search import Found
from client.report.examples import choose_examples
from client.report.report import Report
from client.report.write import write_report
from qafm.attribute_metrics import HeadMetrics
from qafm.attributes import SCHEMA
from qafm.manifest import Manifest
from qafm.retrieval.bootstrap import Difference, Interval
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.discard import QUALITY_FIELDS
from qafm.retrieval.metrics import evaluate

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
        utility=generator.random(IMAGES, dtype=np.float32),
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of everything that a report can have, something."""
    root, generator = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    centres = generator.standard_normal((IDENTITIES + 1, 50))
    query, gallery = (described(root, folder, generator, centres) for folder in ("query", "bounding_box_test"))
    attributes = {pid: np.array([pid % len(attribute.values) for attribute in SCHEMA], np.int8) for pid in range(9)}
    measured = measure(query, gallery, attributes, rerank=True, abstaining=0.1)
    metrics = measured.metrics
    now = Evaluated.of("report", "k7m2-9xqd/qafm", "2026-01-02T03:04:05+00:00", metrics, query)
    noisy = dataclasses.replace(
        query, descriptors=query.descriptors + generator.normal(0, 0.1, query.descriptors.shape).astype(np.float32)
    )
    earlier = Evaluated.of(
        "an/earlier/report", "aaaa-bbbb/qafm", "2026-01-01T03:04:05+00:00", evaluate(noisy, gallery), query
    )
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
            measured=measured,
            baseline=metrics,
            queries=query_rows(query, metrics),
            against=compare_evaluations(now, earlier),
            attributes={
                attribute.name: HeadMetrics(0.75, 0.5, 0.625, 0.8125, 48, 2, Interval(0.5, 0.6875))
                for attribute in SCHEMA
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


@pytest.fixture(scope="module")
def found(report):
    """The page of a search, one of its pictures gone."""
    root = report.parent
    crops = sorted((root / "bounding_box_test").iterdir())[:5]
    nearest = [Found(path, 0.25 * place, "anna") for place, path in enumerate([*crops, root / "gone.jpg"])]
    about = ["quality: good (utility 0.62; 0.5 is ordinary)", *(f"{one.name}: {one.values[0]} 0.93" for one in SCHEMA)]
    write_page(
        root / "found.html", crops[0], nearest, "k7m2-9xqd/qafm", root, created="today", about=about, threshold=1.25
    )
    return root / "found.html"


SCREENS = pytest.mark.parametrize(
    "screen", [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")], ids=lambda p: f"{p[0]}-{p[1]}"
)


@contextmanager
def opened_on(browser: Browser, screen: tuple[int, str], file: Path) -> Iterator[Page]:
    width, scheme = screen
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda one: one.url.startswith(("file:", "data:")) or said.append(one.url))
    opened.goto(file.as_uri())
    yield opened
    assert said == []
    opened.close()


@pytest.fixture
def page(screen, browser, report) -> Iterator[Page]:
    with opened_on(browser, screen, report) as opened:
        yield opened


@pytest.fixture
def found_page(screen, browser, found) -> Iterator[Page]:
    with opened_on(browser, screen, found) as opened:
        yield opened


@SCREENS
def test_nothing_is_wider_than_the_screen(page):
    require_nothing_wider(page)


def require_nothing_wider(page):
    width = page.evaluate("innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # A wide table scrolls inside its section; nothing else may stick out of one.
    sticking_out = """[...document.querySelectorAll("section *")].filter((one) => {
      const section = one.closest("section").getBoundingClientRect(), own = one.getBoundingClientRect();
      return !one.closest("table") && own.width && (own.right > section.right + 1 || own.left < section.left - 1);
    }).map((one) => one.outerHTML.slice(0, 200))"""
    assert page.evaluate(sticking_out) == []


@SCREENS
def test_axe_finds_nothing_serious(page):
    require_nothing_serious(page)


def require_nothing_serious(page):
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert not serious, [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in serious]


@SCREENS
def test_a_picture_is_enlarged_and_put_away(page):
    picture = page.locator(".list .enlarge img").nth(1)
    picture.click()
    enlarged = page.locator("#enlarged img")
    assert enlarged.is_visible() and enlarged.get_attribute("alt") == picture.get_attribute("alt")
    assert enlarged.bounding_box()["height"] > 1.5 * picture.bounding_box()["height"]
    page.keyboard.press("Escape")
    assert not enlarged.is_visible()


@SCREENS
def test_links_lead_to_sections_and_data_can_be_saved(page, tmp_path):
    links = page.locator("nav a")
    assert links.count() > 8
    for link in links.all():
        assert page.locator(link.get_attribute("href")).count() == 1
    with page.expect_download() as download:
        page.locator("a[download='queries.csv']").click()
    download.value.save_as(tmp_path / "queries.csv")
    with (tmp_path / "queries.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["path", "pid", "camid", "ap", "first_match", "utility", "identifiability"] and len(rows) == IMAGES


@SCREENS
def test_printed_it_has_every_list_and_no_controls(page):
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible() and not page.locator("#identity").is_visible()
    assert page.locator(".list").last.is_visible()
    if page.evaluate("innerWidth") > 1000:
        assert page.pdf(format="A4").startswith(b"%PDF")


@SCREENS
def test_every_picture_is_shown_and_one_that_is_gone_says_so(page):
    page.evaluate("""() => { for (const one of document.images) one.loading = "eager"; }""")
    page.wait_for_function("[...document.images].every((one) => one.complete)")
    assert page.evaluate("[...document.images].filter((one) => !one.naturalWidth).length") == 0
    assert page.evaluate("document.images.length") > 100
    assert page.get_by_text("no picture").count() > 0


@SCREENS
def test_right_and_wrong_matches_are_framed_in_different_colours(page):
    colour = "(kind) => getComputedStyle(document.querySelector(`figure.${kind} > :first-child`)).borderTopColor"
    assert page.evaluate(colour, "right") != page.evaluate(colour, "wrong")


@SCREENS
def test_ranked_lists_are_found_by_identity(page):
    lists = page.locator(".list")
    assert lists.count() == IDENTITIES
    shown = "[...document.querySelectorAll('.list')].filter((one) => one.checkVisibility()).length"
    assert page.evaluate(shown) == IDENTITIES
    page.get_by_label("Identity").fill("0007")
    assert page.evaluate(shown) == 1
    assert page.locator(".list[data-identity='0007']").is_visible()
    assert page.get_by_text(f"1 of {IDENTITIES}").is_visible()
    page.get_by_label("Identity").fill("")
    assert page.evaluate(shown) == IDENTITIES


@SCREENS
def test_the_page_of_a_search(found_page):
    require_nothing_wider(found_page)
    require_nothing_serious(found_page)
    assert found_page.get_by_text("1 of 6 pictures could not be read below").is_visible()
    found_page.locator(".enlarge").nth(2).click()
    assert found_page.locator("#enlarged img").is_visible()
