"""Evaluations that something comes between: another model, another evaluation, another dataset, a broken number."""

from __future__ import annotations

import asyncio
import errno
import json
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from client import ReidClient
from client.evaluate import evaluate_dataset
from client.progress import quiet
from qafm.contract import QAFM, QAFM_FIXED_ALPHA
from qafm.errors import InvalidSettings
from tests.support.pictures import PICTURES


def manifest_of(fingerprint):
    return json.dumps({"format": 2, "fingerprints": {QAFM: fingerprint, QAFM_FIXED_ALPHA: "cccc-dddd"}})


@pytest.fixture(autouse=True)
def named(peer):
    peer.manifest = manifest_of("aaaa-bbbb")


def run(client, peer, dataset, report, *more):
    return client("eval", "--data", dataset, "--report", report, "--url", peer.url, "--concurrency", "1", *more)


def change_after(peer, monkeypatch, images, *, unavailable):
    """Have the peer replaced by a server with another model once it has answered for so many images."""
    answer = type(peer)._answer

    def replaced(self, request, place):
        if len(self.requests) >= images and self.manifest != manifest_of("zzzz-zzzz"):
            self.manifest = manifest_of("zzzz-zzzz")
            self.fail_late = unavailable
        return answer(self, request, place)

    monkeypatch.setattr(type(peer), "_answer", replaced)


@pytest.mark.parametrize("unavailable", [0, 1], ids=["unseen", "seen as an outage"])
def test_another_model_half_way_ends_it_and_what_was_kept_stays(
    client, peer, dataset, tmp_path, monkeypatch, unavailable
):
    report = tmp_path / "report"
    change_after(peer, monkeypatch, 3, unavailable=unavailable)
    code, _, errors = run(client, peer, dataset, report)
    assert code == 2 and "has come back with another model: first it served aaaa-bbbb/qafm" in errors
    assert "Results of the two do not mix" in errors
    assert not list(report.glob("*.npz")) and not (report / "report.json").exists()
    (journal,) = report.glob("*.journal")
    assert journal.name == "descriptions-aaaa-bbbb-qafm.journal"


def test_records_since_the_last_agreement_are_dropped_and_those_before_stay(
    client, peer, dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr("client.evaluation.confirmed._CONFIRM_EVERY", 2)
    report = tmp_path / "report"
    change_after(peer, monkeypatch, 4, unavailable=0)
    assert run(client, peer, dataset, report)[0] == 2
    monkeypatch.undo()
    peer.manifest = manifest_of("aaaa-bbbb")
    peer.requests.clear()
    run(client, peer, dataset, report)
    assert len(peer.requests) == len(PICTURES) - 2


def test_the_report_and_the_descriptors_say_which_model_they_are_of(peer, dataset, tmp_path, monkeypatch):
    no_baseline(monkeypatch)
    report = asyncio.run(evaluated(peer, dataset, tmp_path))
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["model"] == report.model == "aaaa-bbbb/qafm" and content["format"] == 2
    assert "aaaa-bbbb/qafm" in (tmp_path / "report.html").read_text()
    for name in ("query.npz", "gallery.npz"):
        with np.load(tmp_path / name) as file:
            assert file["model"].item() == "aaaa-bbbb/qafm"
    assert not list(tmp_path.glob("*.journal"))


def test_the_report_has_intervals_and_each_row_of_the_sweep_its_difference(peer, dataset, tmp_path, monkeypatch):
    """Two people, one of them found: twice the one, both, twice the other. The peer's vectors are all alike, so without
    the fused descriptor the first image of the gallery is nearest, a distractor."""
    no_baseline(monkeypatch)
    (dataset / "query/0002_c1s1_000001_00.jpg").write_bytes(b"0 query")
    asyncio.run(evaluated(peer, dataset, tmp_path, sweep_alpha=True))
    content = json.loads((tmp_path / "report.json").read_text())
    assert (content["rank1"], content["identities"], content["intervals"]["rank1"]) == (0.5, 2, [0, 1])
    served, apn, *_ = content["ablation"]["table4"]
    assert served["difference"] == {} and apn["difference"]["rank1"] == {"value": -0.5, "interval": [-1, 0]}
    assert "-25.00 (-50.00 to +0.00)" in (tmp_path / "report.html").read_text(), "of mAP: half of 1/2 and 0"


def test_an_evaluation_is_compared_with_an_earlier_one(client, peer, dataset, tmp_path, monkeypatch):
    """Of two people the second is no longer found."""
    no_baseline(monkeypatch)
    before, after = tmp_path / "before", tmp_path / "after"
    peer.manifest = manifest_of("aaaa-bbbb")
    assert run(client, peer, dataset, before)[0] == 0
    assert run(client, peer, dataset, after, "--against", before)[0] == 0
    against = json.loads((after / "report.json").read_text())["against"]
    assert (against["better"], against["worse"], against["before"]["model"]) == (0, 0, "aaaa-bbbb/qafm")
    (dataset / "query/0002_c1s1_000001_00.jpg").write_bytes(b"0 query")
    peer.manifest = manifest_of("cccc-dddd")
    assert run(client, peer, dataset, after, "--against", before)[0] == 0
    against = json.loads((after / "report.json").read_text())["against"]
    assert (against["better"], against["worse"]) == (0, 1)
    lost = against["queries"][-1]
    assert (lost["path"], lost["before"], lost["ap"]) == ("query/0002_c1s1_000001_00.jpg", 1, pytest.approx(1 / 3))
    page = (after / "report.html").read_text()
    assert "No different, beyond chance, from aaaa-bbbb/qafm" in page and "Most worsened" in page
    code, output, _ = client("compare", before, after, "--json", tmp_path / "compared.json")
    assert code == 0 and "-33.33 (-66.67 to +0.00)" in output and "cccc-dddd/qafm" in output
    assert "query/0002_c1s1_000001_00.jpg" in output and "-66.7" in output
    (compared,) = json.loads((tmp_path / "compared.json").read_text())["compared"]
    assert compared["worse"] == 1 and compared["after"]["model"] == "cccc-dddd/qafm"


def test_other_queries_are_not_compared_and_nothing_is_lost(client, peer, dataset, tmp_path, monkeypatch):
    no_baseline(monkeypatch)
    before, after = tmp_path / "before", tmp_path / "after"
    assert run(client, peer, dataset, before, "--limit", 1)[0] == 0
    code, _, errors = run(client, peer, dataset, after, "--against", before)
    assert code == 0 and f"not compared with {before}: the results are not of the same queries" in errors
    assert "against" not in json.loads((after / "report.json").read_text())
    code, _, errors = client("compare", before, after)
    assert code == 2 and "not of the same queries" in errors
    code, _, errors = client("compare", before)
    assert code == 2 and "alone cannot be compared" in errors
    peer.requests.clear()
    code, _, errors = run(client, peer, dataset, after, "--against", tmp_path / "nothing")
    assert code == 2 and "expected the folder of a report of `client eval`" in errors and not peer.requests


def no_baseline(monkeypatch):
    """The files of these tests are no pictures: the baseline cannot read them."""
    monkeypatch.setattr("client.evaluate.describe_by_colour", lambda root, images, step: images)


async def evaluated(peer, dataset, folder, **options):
    async with ReidClient(peer.url) as client:
        return await evaluate_dataset(client, dataset, folder, **options)


def test_an_evaluation_holds_its_folder_to_the_end(peer, dataset, tmp_path, monkeypatch):
    """Not only while it describes: the first one's end would take the second one's journal away."""
    no_baseline(monkeypatch)
    refused = []

    @contextmanager
    def during_the_baseline(name, total):
        if name == "baseline":
            with pytest.raises(InvalidSettings, match="another evaluation is writing there"):
                asyncio.run(evaluated(peer, dataset, tmp_path))
            refused.append(name)
        with quiet(name, total) as step:
            yield step

    asyncio.run(evaluated(peer, dataset, tmp_path, progress=during_the_baseline))
    assert refused == ["baseline"] and (tmp_path / "report.json").exists()
    asyncio.run(evaluated(peer, dataset, tmp_path))


def test_another_dataset_does_not_replace_a_report_nor_a_journal(client, peer, dataset, tmp_path, monkeypatch):
    no_baseline(monkeypatch)
    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    (other / "query/0001_c1s1_000001_00.jpg").rename(other / "query/0001_c1s1_000002_00.jpg")
    asyncio.run(evaluated(peer, dataset, tmp_path / "report"))
    before = (tmp_path / "report/report.json").read_bytes()
    peer.requests.clear()
    code, _, errors = run(client, peer, other, tmp_path / "report")
    assert code == 2 and "is the report of another dataset" in errors and "another --report" in errors
    assert (tmp_path / "report/report.json").read_bytes() == before and peer.requests == []

    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    (copy / "query/0001_c1s1_000001_00.jpg").write_bytes(b"1 query, blurred")
    code, _, errors = run(client, peer, copy, tmp_path / "report")
    assert code == 2 and "is the report of another dataset" in errors

    moved = tmp_path / "moved"
    dataset.rename(moved)
    asyncio.run(evaluated(peer, moved, tmp_path / "report"))
    (moved / "query/0002_c1s2_000001_00.jpg").write_bytes(b"2 query")
    asyncio.run(evaluated(peer, moved, tmp_path / "report"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"data": "elsewhere", "mAP": 0.5}', "is the report of another dataset, elsewhere"),
        ('{"format": 3, "data": "x"}', "of a newer version of this client"),
        ("[]", "expected a report of this client, got something else"),
        ("no JSON", "expected a report of this client, got something else"),
        ('{"mAP": 0.5}', "expected a report of this client, got something else"),
    ],
)
def test_a_report_that_cannot_be_replaced(client, peer, dataset, tmp_path, content, message):
    (tmp_path / "report.json").write_text(content)
    code, _, errors = run(client, peer, dataset, tmp_path)
    assert code == 2 and message in errors and "another --report" in errors
    assert (tmp_path / "report.json").read_text() == content and peer.requests == []


def test_a_report_of_format_1_is_of_the_folder_that_it_names(peer, dataset, tmp_path, monkeypatch):
    no_baseline(monkeypatch)
    (tmp_path / "report.json").write_text(json.dumps({"data": str(dataset), "mAP": 0.5}))
    asyncio.run(evaluated(peer, dataset, tmp_path))
    assert json.loads((tmp_path / "report.json").read_text())["format"] == 2


def test_one_number_that_is_not_finite_fails_its_image_and_the_next_run_asks_for_it_again(
    peer, dataset, tmp_path, monkeypatch
):
    no_baseline(monkeypatch)
    answer = type(peer)._answer

    def broken_once(self, request, place):
        self.not_finite = "DESCRIPTOR" if len(self.requests) == 4 else None
        return answer(self, request, place)

    monkeypatch.setattr(type(peer), "_answer", broken_once)
    report = asyncio.run(evaluated(peer, dataset, tmp_path, concurrency=1))
    (failed,) = report.failed_images
    assert failed.path == list(PICTURES)[3] and "DESCRIPTOR has a value that is not finite" in failed.reason
    again = asyncio.run(evaluated(peer, dataset, tmp_path))
    assert again.failed_images == () and len(peer.requests) == len(PICTURES) + 1


@pytest.mark.parametrize("recorded", [{}, {"query/0001_c1s1_000001_00.jpg": 1.2}], ids=["missing", "out of range"])
def test_degradations_that_do_not_hold_are_said_before_anything_is_described_and_the_report_stays(
    client, peer, dataset, tmp_path, recorded
):
    report = tmp_path / "report"
    report.mkdir()
    (report / "report.json").write_text(json.dumps({"data": str(dataset), "mAP": 0.5}))
    images = {name: {"kind": "blur", "strength": strength} for name, strength in recorded.items()}
    (dataset / "degradations.json").write_text(json.dumps({"images": images}))
    code, _, errors = run(client, peer, dataset, report, "--sweep-alpha")
    assert code == 2 and "degradations.json" in errors and "query/0001_c1s1_000001_00.jpg" in errors
    assert peer.requests == [] and json.loads((report / "report.json").read_text())["mAP"] == 0.5


def test_a_damaged_record_of_degradations_matters_only_where_it_is_read(peer, dataset, tmp_path, monkeypatch):
    no_baseline(monkeypatch)
    (dataset / "degradations.json").write_text("damaged")
    asyncio.run(evaluated(peer, dataset, tmp_path / "report"))


def test_a_full_disk_keeps_the_earlier_result(peer, dataset, tmp_path, monkeypatch):
    no_baseline(monkeypatch)
    asyncio.run(evaluated(peer, dataset, tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def no_room(file, descriptors):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("client.evaluate.save_descriptors", no_room)
    with pytest.raises(OSError, match="No space left"):
        asyncio.run(evaluated(peer, dataset, tmp_path))
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert before.items() <= after.items() and after.keys() - before.keys() == {"descriptions-aaaa-bbbb-qafm.journal"}


def test_a_confirmation_that_is_late_is_asked_for_again(peer, dataset, tmp_path, monkeypatch):
    """A busy server: `--retry` is how long to be patient, not `--connect-timeout`."""
    no_baseline(monkeypatch)

    async def work():
        async with ReidClient(peer.url, connect_timeout_s=0.3, retry_s=10) as client:
            peer.late_configs = 2
            return await evaluate_dataset(client, dataset, tmp_path)

    assert asyncio.run(work()).failed_images == () and peer.late_configs == 0
