"""Finding a person: by folder, by kept descriptors, and what can be wrong with either."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.gallery.page import write_page
from client.gallery.search import Found, Gallery, read_gallery, search
from qafm.contract import DESCRIPTOR_SIZE
from qafm.errors import InvalidDescriptors
from qafm.retrieval.descriptors import Descriptors, write_descriptors
from tests.support.bad_images import encoded, picture


def one_hot(*places):
    return np.eye(DESCRIPTOR_SIZE, dtype=np.float32)[list(places)]


@pytest.fixture
def folder(tmp_path):
    """Pictures that the peer has descriptors for, one at a place each, in two folders."""
    crops = tmp_path / "crops"
    for name, content in {"b.jpg": b"2 two", "a.PNG": b"1 one", "deep/c.jpg": b"1 also"}.items():
        (crops / name).parent.mkdir(parents=True, exist_ok=True)
        (crops / name).write_bytes(content)
    (crops / "notes.txt").write_text("no picture")
    (crops / "folder.jpg").mkdir()
    (tmp_path / "query.jpg").write_bytes(b"1 query")
    return crops


def test_a_folder_is_searched_nearest_first(client, peer, folder, tmp_path):
    found = tmp_path / "found.json"
    code, output, _ = client(
        *("search", tmp_path / "query.jpg", "--gallery", folder, "--url", peer.url, "--top", 2, "--json", found)
    )
    assert code == 0
    nearest = json.loads(found.read_text())["found"]
    assert [one["path"] for one in nearest] == [str(folder / "a.PNG"), str(folder / "deep/c.jpg")]
    assert [one["distance"] for one in nearest] == [0, 0]
    assert "c.jpg" in output.replace("\n", "")


def sources_in(page: Path) -> list[str]:
    """Whatever a page loads or leads to."""
    sources = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            sources.extend(value for name, value in attributes if name in ("src", "href"))

    Reader().feed(page.read_text())
    return sources


def test_the_page_has_the_pictures_in_it_and_none_from_elsewhere(tmp_path):
    gallery, page = tmp_path / "gallery", tmp_path / "page.html"
    gallery.mkdir()
    for path in (gallery / "a.png", gallery / "b.png", tmp_path / "outside.png"):
        path.write_bytes(encoded(picture(), "PNG"))
    (gallery / "secret.txt").write_text("password")
    os.mkfifo(gallery / "pipe.png")
    named = ["a.png", "../gallery/b.png", "../outside.png", "/etc/hostname", "secret.txt", "gone.png", "pipe.png", "."]
    write_page(page, gallery / "a.png", [Found(gallery / name, 0.5) for name in named], "model", gallery)
    sources = sources_in(page)
    assert len(sources) == 3 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert page.read_text().count("no picture") == 6


def test_a_page_reads_nothing_outside_the_folder_it_is_called_in(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    for path in (tmp_path / "outside.png", tmp_path / "here" / "inside.png"):
        path.write_bytes(encoded(picture(), "PNG"))
    monkeypatch.chdir(tmp_path / "here")
    named = ["inside.png", "../outside.png", "../here/inside.png", str(tmp_path / "outside.png")]
    write_page(Path("page.html"), Path("inside.png"), [Found(Path(name), 0.5) for name in named], None, Path())
    assert len(sources_in(Path("page.html"))) == 3


def test_kept_descriptors_are_searched_without_their_pictures(client, peer, folder, tmp_path):
    kept = Descriptors(
        one_hot(2, 1), np.array([5, 6]), np.array([1, 1]), np.array(["gallery/<x>.jpg", "gallery/y.jpg"])
    )
    write_descriptors(tmp_path / "gallery.npz", kept)
    code, output, _ = client(
        *("search", tmp_path / "query.jpg", "--gallery", tmp_path / "gallery.npz", "--url", peer.url),
        *("--images", tmp_path, "--html", tmp_path / "page.html"),
    )
    assert code == 0 and peer.requests == ["qafm"]
    assert output.index("y.jpg") < output.index("<x>.jpg")
    page = (tmp_path / "page.html").read_text()
    assert "1.414" in output and "&lt;x&gt;.<wbr>jpg" in page
    assert "2 of 2 pictures could not be read below" in page and "gender: female 0.75" in page


def test_a_threshold_bounds_what_is_found(client, peer, folder, tmp_path):
    def within(distance):
        search = ("search", tmp_path / "query.jpg", "--gallery", folder, "--url", peer.url, "--threshold", distance)
        code, output, _ = client(*search, "--json", tmp_path / "found.json", "--html", tmp_path / "page.html")
        assert code == 0
        return json.loads((tmp_path / "found.json").read_text()), output

    assert len(within(2)[0]["found"]) == 3 and len(within(0)[0]["found"]) == 2
    found, _ = within(1.4)
    assert [Path(one["path"]).name for one in found["found"]] == ["a.PNG", "c.jpg"] and found["threshold"] == 1.4
    assert "up to a distance of 1.4" in (tmp_path / "page.html").read_text()
    (tmp_path / "query.jpg").write_bytes(b"7 nobody")
    found, output = within(1.4)
    assert not found["found"] and output == "Nobody up to a distance of 1.4.\n"
    assert "Nobody, up to a distance of 1.4." in (tmp_path / "page.html").read_text()


def test_an_image_that_fails_is_named_and_left_out(client, peer, folder, tmp_path):
    (folder / "b.jpg").write_bytes(b"bad")
    code, output, errors = client("search", tmp_path / "query.jpg", "--gallery", folder, "--url", peer.url)
    assert code == 1 and "b.jpg: the image is damaged" in errors and "1 image(s)" in errors
    assert "a.PNG" in output.replace("\n", "") and "b.jpg" not in output


@pytest.mark.parametrize("gallery", ["empty", "missing.npz", "no_paths.npz", "short.npz", "none.npz"])
def test_a_gallery_that_cannot_be_searched(client, peer, folder, tmp_path, gallery):
    (tmp_path / "empty").mkdir()
    ids = np.array([1])
    write_descriptors(tmp_path / "no_paths.npz", Descriptors(one_hot(1), ids, ids))
    none = Descriptors(one_hot(), ids[:0], ids[:0], np.array([], np.str_))
    write_descriptors(tmp_path / "none.npz", none)
    short = Descriptors(np.ones((1, 3), np.float32), ids, ids, np.array(["a.jpg"]))
    write_descriptors(tmp_path / "short.npz", short)
    expected = {
        "empty": "no images in it; expected files that end in .jpg",
        "missing.npz": "no such file",
        "no_paths.npz": "has no paths",
        "none.npz": "has no descriptors; expected some to search in",
        "short.npz": "have 3 numbers, the image's 1000",
    }
    code, _, errors = client("search", tmp_path / "query.jpg", "--gallery", tmp_path / gallery, "--url", peer.url)
    assert code == 2 and expected[gallery] in errors


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(1, 10))
def test_search_against_a_naive_loop(places, top):
    gallery = Gallery(tuple(map(str, range(len(places)))), one_hot(*places))
    query = one_hot(1)[0]
    naive = sorted((0.0 if place == 1 else 2**0.5, row) for row, place in enumerate(places))[:top]
    found = search(query, gallery, top)
    assert [(pytest.approx(distance), str(row)) for distance, row in naive] == [
        (one.distance, one.path) for one in found
    ]


def test_a_gallery_of_another_model_is_not_searched(tmp_path):
    ids = np.array([1])
    kept = Descriptors(one_hot(1), ids, ids, np.array(["a.jpg"]), model="heron/qafm")
    write_descriptors(tmp_path / "gallery.npz", kept)
    gallery = read_gallery(tmp_path / "gallery.npz")
    assert gallery.model == "heron/qafm"
    for model in ("heron/qafm", None):
        assert len(search(one_hot(1)[0], gallery, 1, model)) == 1
    assert len(search(one_hot(1)[0], replace(gallery, model=None), 1, "kudu/qafm")) == 1
    with pytest.raises(InvalidDescriptors, match="model kudu/qafm, the gallery by heron/qafm"):
        search(one_hot(1)[0], gallery, 1, "kudu/qafm")


def test_the_command_refuses_a_gallery_of_another_model_and_names_its_own(client, peer, folder, tmp_path):
    peer.manifest = '{"format": 2, "fingerprints": {"qafm": "aaaa-bbbb", "qafm_fixed_alpha": "cccc-dddd"}}'
    ids = np.array([1])
    for name, model in (("other", "heron/qafm"), ("same", "aaaa-bbbb/qafm"), ("unnamed", None)):
        kept = Descriptors(one_hot(1), ids, ids, np.array(["a.jpg"]), model=model)
        write_descriptors(tmp_path / f"{name}.npz", kept)

    def search_in(name):
        outputs = ("--json", tmp_path / f"{name}.json", "--html", tmp_path / f"{name}.html")
        gallery = ("--gallery", tmp_path / f"{name}.npz", "--url", peer.url)
        return client("search", tmp_path / "query.jpg", *gallery, *outputs)

    code, output, errors = search_in("other")
    assert code == 2 and not output and "aaaa-bbbb/qafm" in errors and "heron/qafm" in errors
    assert not (tmp_path / "other.json").exists() and not (tmp_path / "other.html").exists()
    for name in ("same", "unnamed"):
        assert search_in(name)[0] == 0
        assert json.loads((tmp_path / f"{name}.json").read_text())["model"] == "aaaa-bbbb/qafm"
        assert "Model aaaa-bbbb/qafm" in (tmp_path / f"{name}.html").read_text()


def test_a_name_pattern_chooses_crops_and_says_who_they_are(client, peer, tmp_path):
    crops = tmp_path / "crops"
    for name in ("ann/1.png", "bob/1.png", "readme.png"):
        (crops / name).parent.mkdir(parents=True, exist_ok=True)
        (crops / name).write_bytes(b"1" if name.startswith("bob") else b"2")
    (tmp_path / "query.jpg").write_bytes(b"1 query")
    code, output, errors = client(
        *("search", tmp_path / "query.jpg", "--gallery", crops, "--url", peer.url),
        *("--name-pattern", r"(?P<pid>\w+)/\d+\.png", "--json", tmp_path / "found.json"),
    )
    assert code == 0 and "1 of its 3 images do not match the name pattern" in errors
    found = json.loads((tmp_path / "found.json").read_text())["found"]
    assert [match["person"] for match in found] == ["bob", "ann"] and "Person" in output
    code, _, errors = client(
        "search", tmp_path / "query.jpg", "--gallery", crops, "--url", peer.url, "--name-pattern", "("
    )
    assert code == 2 and "is not a regular expression" in errors
    ids = np.array([1])
    write_descriptors(tmp_path / "kept.npz", Descriptors(one_hot(1), ids, ids, np.array(["a.jpg"])))
    kept = ("--gallery", tmp_path / "kept.npz", "--name-pattern", "(?P<pid>.*)")
    code, _, errors = client("search", tmp_path / "query.jpg", *kept, "--url", peer.url)
    assert code == 2 and "is no folder" in errors


def test_another_model_half_way_leaves_no_result(client, peer, folder, tmp_path, monkeypatch):
    answer = type(peer)._answer

    def replaced(self, request, place):
        self.manifest = '{"checkpoint": "another"}'
        return answer(self, request, place)

    monkeypatch.setattr(type(peer), "_answer", replaced)
    code, output, errors = client(
        *("search", tmp_path / "query.jpg", "--gallery", folder, "--url", peer.url),
        *("--json", tmp_path / "found.json"),
    )
    assert code == 2 and not output and "has come back with another model" in errors
    assert not (tmp_path / "found.json").exists()
