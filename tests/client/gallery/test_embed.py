"""`client embed`, and the cache that it shares with `client search`."""

from __future__ import annotations

import os
import stat
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from client.gallery import cache as module
from client.gallery.cache import Cache, content_key
from client.testing import made_up
from qafm.retrieval.descriptors import read_descriptors


@pytest.fixture
def folder(tmp_path):
    """Pictures that the peer has descriptors for, one at a place each, in two folders."""
    crops = tmp_path / "crops"
    for name, content in {"b.jpg": b"2 two", "a.PNG": b"1 one", "ann/c.jpeg": b"3 three"}.items():
        (crops / name).parent.mkdir(parents=True, exist_ok=True)
        (crops / name).write_bytes(content)
    (crops / "notes.txt").write_text("no picture")
    return crops


# --- the command


def test_the_pictures_of_a_folder_become_a_file(client, peer, folder, tmp_path):
    code, output, errors = client("embed", folder, "--out", tmp_path / "x.npz", "--url", peer.url)
    assert code == 0 and "3 images, descriptors of 1000 numbers" in output
    kept = read_descriptors(tmp_path / "x.npz")
    assert kept.paths.tolist() == ["a.PNG", "ann/c.jpeg", "b.jpg"]
    assert kept.descriptors.argmax(axis=1).tolist() == [1, 3, 2]
    assert kept.pids.tolist() == [-1] * 3 and kept.camids.tolist() == [0] * 3
    assert kept.alpha.tolist() == [0.75] * 3 and kept.attributes.shape == (3, 30) and kept.model.endswith("/qafm")


def test_a_name_pattern_says_who_they_are(client, peer, folder, tmp_path):
    arguments = ("--name-pattern", r"(?P<pid>ann)/.*")
    code, _, errors = client("embed", folder, "--out", tmp_path / "x.npz", "--url", peer.url, *arguments)
    assert code == 0 and "2 of its 3 images do not match" in errors
    kept = read_descriptors(tmp_path / "x.npz")
    assert kept.paths.tolist() == ["ann/c.jpeg"] and kept.pids.tolist() == [1]


def test_what_was_described_is_not_sent_again(client, peer, folder, tmp_path):
    arguments = ("embed", folder, "--out", tmp_path / "x.npz", "--url", peer.url)
    assert client(*arguments)[0] == 0
    (folder / "new.jpg").write_bytes(b"4 new")
    (folder / "b.jpg").rename(folder / "elsewhere.jpg")
    first, sent = read_descriptors(tmp_path / "x.npz"), len(peer.requests)
    code, _, errors = client(*arguments)
    assert code == 0 and len(peer.requests) == sent + 1 and "describe, 3 known: 1/1 images" in errors
    again = read_descriptors(tmp_path / "x.npz")
    assert again.paths.tolist() == ["a.PNG", "ann/c.jpeg", "elsewhere.jpg", "new.jpg"]
    for name, array in first.arrays().items():
        if name != "paths":
            np.testing.assert_array_equal(again.arrays()[name][[0, 1, 2]], array[[0, 1, 2]], err_msg=name)
    # And by the same content and model in a search, but not by another model, or where nothing is to be kept.
    (tmp_path / "query.jpg").write_bytes(b"1 query")
    search = ("search", tmp_path / "query.jpg", "--gallery", folder, "--url", peer.url)
    for more, requests in (((), 1), (("--model", "qafm_fixed_alpha", "--alpha", "0.5"), 5), (("--no-cache",), 5)):
        sent = len(peer.requests)
        assert client(*search, *more)[0] == 0
        assert len(peer.requests) == sent + requests, more


def test_an_interrupted_one_goes_on(client, peer, folder, tmp_path):
    (folder / "z.jpg").write_bytes(b"broken")
    arguments = ("embed", folder, "--out", tmp_path / "x.npz", "--url", peer.url, "--concurrency", "1")
    code, _, errors = client(*arguments, "--on-error", "fail")
    assert code == 1 and "a stub has died" in errors and not (tmp_path / "x.npz").exists()
    (folder / "z.jpg").write_bytes(b"5 mended")
    sent = len(peer.requests)
    assert client(*arguments)[0] == 0 and len(peer.requests) == sent + 1


def test_what_fails_is_named_and_left_out(client, peer, folder, tmp_path):
    (folder / "a.PNG").write_bytes(b"bad")
    (folder / "unreadable.jpg").symlink_to(tmp_path)
    code, _, errors = client("embed", folder, "--out", tmp_path / "x.npz", "--url", peer.url)
    assert code == 1 and "a.PNG: the image is damaged" in errors and "1 image(s), named above" in errors
    assert read_descriptors(tmp_path / "x.npz").paths.tolist() == ["ann/c.jpeg", "b.jpg"]
    for picture in folder.rglob("*.jp*g"):
        if picture.is_file():
            picture.write_bytes(b"bad")
    code, _, errors = client("embed", folder, "--out", tmp_path / "y.npz", "--url", peer.url)
    assert code == 2 and "none of its 3 images could be described" in errors and not (tmp_path / "y.npz").exists()


@pytest.mark.parametrize(
    ("out", "says"), [("absent/x.npz", "is not there; make it first"), ("crops", "is a folder; expected a file")]
)
def test_where_it_cannot_be_written_is_said_first(client, peer, folder, tmp_path, out, says):
    code, _, errors = client("embed", folder, "--out", tmp_path / out, "--url", peer.url)
    assert code == 2 and says in errors and not peer.requests


@pytest.mark.parametrize(("name", "says"), [("absent", "no such folder"), ("empty", "no images in it")])
def test_a_folder_without_pictures(client, peer, tmp_path, name, says):
    (tmp_path / "empty").mkdir()
    code, _, errors = client("embed", tmp_path / name, "--out", tmp_path / "x.npz", "--url", peer.url)
    assert code == 2 and says in errors


def test_without_identities_there_is_nothing_to_score(client, peer, folder, tmp_path):
    assert client("embed", folder, "--out", tmp_path / "x.npz", "--url", peer.url)[0] == 0
    code, _, errors = client("score", tmp_path / "x.npz", tmp_path / "x.npz")
    assert code == 2 and "every pid is -1" in errors and "--name-pattern" in errors


def test_another_model_half_way_is_neither_written_nor_kept(client, peer, folder, tmp_path, monkeypatch):
    answer = type(peer)._answer

    def replaced(self, request, place):
        self.manifest = '{"checkpoint": "another"}'
        return answer(self, request, place)

    monkeypatch.setattr(type(peer), "_answer", replaced)
    code, _, errors = client("embed", folder, "--out", tmp_path / "x.npz", "--url", peer.url)
    assert code == 2 and "has come back with another model" in errors
    assert not (tmp_path / "x.npz").exists() and not list(Path(os.environ["QAFM_CACHE"]).rglob("*.description"))


def test_a_cache_that_cannot_be_written_costs_a_warning(client, peer, folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("QAFM_CACHE", str(tmp_path / "file" / "cache"))
    code, _, errors = client("embed", folder, "--out", tmp_path / "x.npz", "--url", peer.url)
    assert code == 0 and errors.count("nothing is kept for the next time") == 1
    assert len(read_descriptors(tmp_path / "x.npz")) == 3


# --- the cache


def same(one, other):
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)[:-1])


def test_a_description_comes_back_as_it_was(tmp_path):
    cache, key = Cache("k7m2-9xqd/qafm", tmp_path / "cache"), bytes(range(16))
    assert cache.find(key) is None and not (tmp_path / "cache").exists()
    cache.add([(key, made_up(b"x"))])
    found = cache.find(key)
    assert same(found, made_up(b"x")) and found.model == "k7m2-9xqd/qafm" and isinstance(found.alpha, float)
    assert Cache("k7m2-9xqd/qafm_fast", tmp_path / "cache").find(key) is None
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:100] + b"x" + data[101:], lambda _: b""])
def test_a_damaged_file_is_as_if_it_were_not_there(tmp_path, damage):
    cache, key = Cache("model", tmp_path), bytes(16)
    cache.add([(key, made_up(b"x"))])
    (file,) = tmp_path.rglob("*.description")
    file.write_bytes(damage(file.read_bytes()))
    assert cache.find(key) is None


def test_one_of_another_version_is_as_if_it_were_not_there(tmp_path, monkeypatch):
    cache, key = Cache("model", tmp_path), bytes(16)
    cache.add([(key, made_up(b"x"))])
    monkeypatch.setattr(module, "_FIELDS", {name: field for name, field in module._FIELDS.items() if name != "utility"})
    assert cache.find(key) is None


def test_the_key_is_of_the_content_alone(tmp_path):
    one, other = tmp_path / "one.jpg", tmp_path / "other.jpg"
    one.write_bytes(b"content")
    other.write_bytes(b"content")
    assert content_key(one) == content_key(other) and len(content_key(one)) == 16
    other.write_bytes(b"contenT")
    assert content_key(one) != content_key(other)
    cache = Cache("model", tmp_path)
    absent = content_key(tmp_path / "absent.jpg")
    cache.add([(absent, made_up(b"x"))])
    assert cache.find(absent) is None and len(absent) > 16


def test_what_is_too_much_goes_the_oldest_first(tmp_path, monkeypatch):
    cache = Cache("model", tmp_path)
    keys = [bytes([number]) * 16 for number in range(8)]
    for number, key in enumerate(keys):
        cache.add([(key, made_up(key))])
        os.utime(cache._path(key), (number, number))
    size = cache._path(keys[0]).stat().st_size
    monkeypatch.setattr(module, "MOST_BYTES", 8 * size)
    cache.tidy()
    assert all(map(cache.find, keys))
    monkeypatch.setattr(module, "MOST_BYTES", 7.5 * size)
    cache.tidy()
    assert [bool(cache.find(key)) for key in keys] == [False] * 3 + [True] * 5


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.delenv("QAFM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert module.cache_folder() == tmp_path / "qafm"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert module.cache_folder() == tmp_path / "home" / ".cache" / "qafm"
