"""The command as a user runs it: exit codes, one sentence on standard error, files."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from client.commands import describe
from qafm.contract import ATTRIBUTES, MODELS, QAFM, SCATTER
from qafm.diagnosis import Defect, Diagnosis


def sentences(text: str) -> list[str]:
    assert "Traceback" not in text
    return text.strip().splitlines()


def write(path, pids, camids, descriptors):
    np.savez(
        path,
        descriptors=np.array(descriptors, dtype=np.float32).reshape(len(pids), -1),
        pids=np.array(pids),
        camids=np.array(camids),
    )
    return path


@pytest.fixture
def search(tmp_path):
    """One query with a single hit at rank 2."""
    return (
        write(tmp_path / "query.npz", [1], [1], [[1, 0]]),
        write(tmp_path / "gallery.npz", [2, 1, -1], [2, 2, 2], [[0.8, 0.6], [0.6, 0.8], [1, 0]]),
    )


@pytest.fixture
def dataset(tmp_path):
    """Folders with files of the right names; what is in them is never read here."""
    for folder, name in (
        ("query", "0001_c1s1_000001_00.jpg"),
        ("bounding_box_test", "0001_c2s1_000001_01.jpg"),
    ):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / name).write_bytes(b"bad")
    return tmp_path / "data"


def test_score(client, search, tmp_path):
    code, output, errors = client("score", *search, "--json", tmp_path / "score.json")
    assert (code, errors) == (0, "")
    assert "mAP" in output and "50.00 to 50.00" in output and "euclidean distance" in output
    found = json.loads((tmp_path / "score.json").read_text())
    del found["protocol"]
    assert found == {
        "format": 2,
        "distance": "euclidean",
        "rank1": 0.0,
        "rank5": 1.0,
        "rank10": 1.0,
        "mAP": 0.5,
        "mINP": 0.5,
        "mAP_trapezoid": 0.25,
        "queries": 1,
        "gallery": 2,
        "skipped_queries": 0,
        "identities": 1,
        "intervals": {"rank1": [0.0, 0.0], "mAP": [0.5, 0.5]},
        "vectors": "descriptors",
        "verification": [],
    }


def test_score_by_cosine_where_lengths_differ(client, tmp_path):
    """By Euclidean distance the long descriptor of the same person lies farther away than the stranger's."""
    query = write(tmp_path / "query.npz", [1], [1], [[1, 0]])
    gallery = write(tmp_path / "gallery.npz", [2, 1], [2, 2], [[0.9, 0.9], [3, 0]])
    code, output, errors = client("score", query, gallery, "--json", tmp_path / "score.json")
    assert code == 0 and "not of one length (1 to 3)" in errors and "--distance cosine" in errors
    assert json.loads((tmp_path / "score.json").read_text())["mAP"] == 0.5
    code, output, errors = client("score", query, gallery, "--distance", "cosine", "--json", tmp_path / "score.json")
    assert (code, errors) == (0, "") and "cosine distance" in output
    result = json.loads((tmp_path / "score.json").read_text())
    assert (result["mAP"], result["distance"]) == (1.0, "cosine") and "cosine distance" in result["protocol"]


def test_score_without_the_worst_queries(client, tmp_path):
    paths = [tmp_path / f"{side}.npz" for side in ("query", "gallery")]
    rows = {"pids": np.array([1, 2]), "descriptors": np.eye(2, dtype=np.float32)}
    np.savez(
        paths[0],
        **rows | {"descriptors": rows["descriptors"][[0, 0]]},
        camids=np.ones(2, int),
        utility=np.float32([0.9, 0.1]),
    )
    np.savez(paths[1], **rows, camids=np.full(2, 2))
    code, output, _ = client("score", *paths, "--abstain", 0.5, "--json", tmp_path / "score.json")
    assert code == 0 and "Without the worst 1" in " ".join(output.split())
    found = json.loads((tmp_path / "score.json").read_text())
    assert (found["rank1"], found["abstained"]["rank1"], found["abstained"]["signal"]) == (0.5, 1.0, "utility")
    code, _, errors = client("score", *paths, "--abstain", 1)
    assert code == 2 and "expected one above 0 and below 1" in errors


def test_score_after_reranking_is_labelled(client, search, tmp_path):
    code, output, _ = client("score", *search, "--rerank", "--json", tmp_path / "score.json")
    assert code == 0 and "Re-ranked" in output
    found = json.loads((tmp_path / "score.json").read_text())
    assert (found["mAP"], found["reranked"]["k1"], found["reranked"]["gallery"]) == (0.5, 20, 2)
    assert 0 < found["reranked"]["mAP"] <= 1


def test_score_loads_neither_grpc_nor_torch(search):
    program = (
        f"import sys; sys.argv = ['client', 'score', {str(search[0])!r}, {str(search[1])!r}]\n"
        "from client.commands.app import main\n"
        "try: main()\n"
        "except SystemExit as ended: assert not ended.code\n"
        "assert not {'grpc', 'torch', 'tritonclient', 'scipy'} & sys.modules.keys(), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize("missing", ["query", "gallery"])
def test_score_without_a_file(client, search, tmp_path, missing):
    (tmp_path / f"{missing}.npz").unlink()
    code, _, errors = client("score", *search)
    (sentence,) = sentences(errors)
    assert code == 2
    assert f"{missing}.npz: no such file" in sentence


def test_score_that_cannot_write_its_result(client, search, tmp_path):
    code, _, errors = client("score", *search, "--json", tmp_path / "absent" / "score.json")
    assert code == 2
    (sentence,) = sentences(errors)
    assert "absent/score.json" in sentence


def test_score_that_has_no_room_keeps_the_result_of_before(search, tmp_path):
    kept = tmp_path / "score.json"
    kept.write_text("{}")
    no_room = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    program = f"{no_room}; from client.commands.app import main; main()"
    arguments = ["score", *map(str, search), "--json", str(kept)]
    ended = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert ended.returncode == 2 and len(sentences(ended.stderr)) == 1
    assert kept.read_text() == "{}" and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("eval",),
        ("eval", "--data", ".", "--split", "train"),
        ("eval", "--data", ".", "--on-error", "ignore"),
        ("eval", "--data", ".", "--limit", "0"),
        ("score", "one.npz"),
        ("describe",),
        ("describe", "crop.jpg", "--unknown"),
        ("--unknown", "describe", "crop.jpg"),
        ("unknown",),
    ],
)
def test_wrong_usage(client, arguments):
    code, _, errors = client(*arguments)
    assert code == 2
    assert "Traceback" not in errors


@pytest.mark.parametrize("command", ["eval", "describe"])
def test_no_server(client, dataset, closed_url, tmp_path, command):
    arguments = {"eval": ("--data", dataset, "--report", tmp_path / "report"), "describe": ("crop.jpg",)}
    code, _, errors = client(command, *arguments[command], "--url", closed_url, "--connect-timeout", 0.2)
    (sentence,) = sentences(errors)
    assert code == 3
    assert f"no server is ready at {closed_url}" in sentence


def test_the_dataset_is_looked_at_before_the_server(client, dataset, closed_url):
    (dataset / "query" / "0001_c1s1_000001_00.jpg").rename(dataset / "query" / "person.jpg")
    code, _, errors = client("eval", "--data", dataset, "--url", closed_url)
    (sentence,) = sentences(errors)
    assert code == 2
    assert "person.jpg: the name is not of the form" in sentence


def test_a_server_with_other_models(client, dataset, peer, tmp_path):
    del peer.models[QAFM]
    code, _, errors = client("eval", "--data", dataset, "--url", peer.url, "--report", tmp_path / "report")
    (sentence,) = sentences(errors)
    assert code == 2
    assert "does not serve the model 'qafm'" in sentence


def test_the_first_failure_ends_an_evaluation_under_fail(client, dataset, peer, tmp_path):
    report = tmp_path / "report"
    code, _, errors = client("eval", "--data", dataset, "--url", peer.url, "--report", report, "--on-error", "fail")
    assert code == 1
    assert "0001_c1s1_000001_00.jpg: the image is damaged" in errors
    assert not (report / "report.json").exists()


def test_an_evaluation_of_nothing_but_failures_names_them(client, dataset, peer, tmp_path):
    code, _, errors = client("eval", "--data", dataset, "--url", peer.url, "--report", tmp_path / "report")
    assert code != 0
    assert "query/0001_c1s1_000001_00.jpg: the image is damaged" in errors
    assert "bounding_box_test/0001_c2s1_000001_01.jpg: the image is damaged" in errors


def test_describe(client, peer, tmp_path):
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(b"1")
    bad.write_bytes(b"bad")
    code, output, errors = client("describe", good, "--url", peer.url)
    assert (code, errors) == (0, "")
    assert "alpha: 0.750" in output and "gender: female 0.75" in output and "quality" not in output
    code, output, errors = client("describe", good, bad, "--url", peer.url, "--json", "-")
    assert code == 1
    found = json.loads(output)
    assert found["path"] == str(good)
    assert found["attributes"]["gender"]["value"] == "female"
    assert "bad.jpg: the image is damaged" in errors
    assert client("describe", bad, "--url", peer.url)[0] == 2


def test_describe_prints_as_it_goes_and_an_interruption_says_how_far_it_came(client, peer, tmp_path, monkeypatch):
    good, slow = tmp_path / "good.jpg", tmp_path / "slow.jpg"
    good.write_bytes(b"1")
    slow.write_bytes(b"2 slow")
    peer.slow = b"2"
    printing, before = describe._print, signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(*arguments):
        printing(*arguments)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(describe, "_print", interrupt)
    try:
        code, output, errors = client("describe", good, slow, "--url", peer.url, "--json", tmp_path / "found.json")
    finally:
        signal.signal(signal.SIGINT, before)  # ignored where the tests run in the background of a shell
    assert code == 130 and str(good) in output and str(slow) not in output
    assert "client: interrupted: 1 of 2 images were described" in errors
    assert not (tmp_path / "found.json").exists()


def test_describe_writes_a_list(client, peer, tmp_path):
    picture, out = tmp_path / "good.jpg", tmp_path / "found.json"
    picture.write_bytes(b"1")
    code, output, _ = client("describe", picture, picture, "--url", peer.url, "--json", out)
    assert code == 0 and output.count("gender: female") == 2
    assert [found["path"] for found in json.loads(out.read_text())] == [str(picture)] * 2
    code, _, errors = client("describe", picture, "--url", peer.url, "--json", tmp_path / "no" / "found.json")
    assert code == 2 and "is not there; make it first" in errors and len(peer.requests) == 2


def test_describe_says_what_is_wrong(client, peer, tmp_path):
    picture = tmp_path / "good.jpg"
    picture.write_bytes(b"1")
    rule = Diagnosis({"darkness": Defect(5.0, np.zeros(34), said=100, right=100, people=100)})
    quality = {"darkness": {"n": 43, "spearman": {"utility": 0.6}}}
    peer.manifest = json.dumps({"diagnosis": rule.content(), "quality": quality})
    whole = MODELS[QAFM]
    peer.models[QAFM] = dataclasses.replace(whole, outputs=(*whole.outputs, *whole.optional_outputs))
    # Its utility is 0.75, better than ordinary: nothing to complain of.
    assert "quality" not in client("describe", picture, "--url", peer.url)[1]
    quality["discard"] = {"utility": {"interval": [0.01, 0.03]}}
    peer.manifest = json.dumps({"diagnosis": rule.content(), "quality": quality})
    assert "\n  quality: good (utility 0.75; 0.5 is ordinary)\n" in client("describe", picture, "--url", peer.url)[1]
    assert "too dark" not in client("describe", picture, "--url", peer.url)[1]
    peer.models[QAFM] = dataclasses.replace(whole, outputs=(*whole.outputs, ATTRIBUTES, SCATTER))
    assert "\n  too dark to trust\n" in client("describe", picture, "--url", peer.url)[1]
    found = json.loads(client("describe", picture, "--url", peer.url, "--json", "-")[1])
    assert found["complaint"] == "too dark to trust" and found["utility"] is None
    peer.manifest = json.dumps({"diagnosis": {"darkness": 3}, "quality": quality})
    code, output, errors = client("describe", picture, "--url", peer.url)
    assert code == 0 and "gender: female" in output and "the manifest's diagnosis cannot be read" in errors


def test_describe_does_not_mix_two_models(client, peer, tmp_path, monkeypatch):
    """A server that is replaced between two pictures, with no request in flight."""
    peer.manifest = '{"checkpoint": "first"}'
    answer = type(peer)._answer

    def replaced(self, request, place):
        self.manifest = '{"checkpoint": "second"}'
        return answer(self, request, place)

    monkeypatch.setattr(type(peer), "_answer", replaced)
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(b"1")
    out = tmp_path / "found.json"
    code, _, errors = client("describe", tmp_path / "a.jpg", tmp_path / "b.jpg", "--url", peer.url, "--json", out)
    assert code == 2 and not out.exists() and "has come back with another model" in errors
