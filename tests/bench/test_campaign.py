"""The tool that attacks: it makes what it says, the same for a seed, and sees harm where there is some."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
import textwrap
import time
import zlib
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from bench.campaign import decoded, mutation, served
from bench.campaign.cancelled import request_of
from bench.campaign.clock import has_compiler, move, moved_clock
from bench.campaign.command import below, name_of
from bench.campaign.faults import strike
from bench.campaign.hostile import Attacks, State
from bench.campaign.malformed import Questions, _http
from bench.campaign.mutation import good_pictures, mutated
from bench.campaign.parts import growth
from bench.campaign.scarce import _with_small, own_mounts_allowed
from qafm.errors import RequestFailed
from qafm.images import decode

QUIET = Console(quiet=True)


@pytest.mark.parametrize("name", good_pictures())
def test_what_is_broken_was_good(name):
    assert decode(good_pictures()[name]).shape in {(128, 64, 3), (64, 128, 3)}


def test_broken_pictures_are_the_same_for_a_seed_and_of_every_kind():
    def drawn(seed):
        return [(said, hash(data)) for said, data in itertools.islice(mutated(seed), 400)]

    some = drawn(7)
    assert some == drawn(7) != drawn(8)
    words = Counter(word for said, _ in some for word in said.split())
    changes = {"bits", "cut", "slice", "run", "jpeg_number", "jpeg_piece", "jpeg_scans", "png_number", "png_piece"}
    assert {*changes, "png_rows", "webp_number", "webp_piece", "bmp_number"} <= words.keys()


@pytest.mark.parametrize("change", [*mutation._ANYWHERE, mutation._jpeg_number, mutation._png_number])
@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF"])
def test_a_change_takes_any_bytes(change, data):
    assert isinstance(change(data, random.Random(0)), bytes)


def test_a_png_with_another_size_has_the_right_sum():
    """Or a decoder would look no further than that."""
    changed = [mutation._png_number(good_pictures()["png"], random.Random(seed)) for seed in range(60)]
    sums = [zlib.crc32(data[12:29]) == int.from_bytes(data[29:33], "big") for data in changed]
    assert 0.4 < np.mean(sums) < 1 and len({data[16:24] for data in changed}) > 4


# --- harm that is seen


def test_pictures_that_cost_too_much_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "CPU_S", 1e-5)
    costs = decoded.decode_broken(5, 0, tmp_path / "findings", QUIET)
    assert costs.pictures == len(costs.findings) == 5
    kept = {path.read_bytes() for path in (tmp_path / "findings").iterdir()}
    assert kept == {data for _, data in itertools.islice(mutated(0), 5)}


def test_a_neighbour_that_changes_is_noticed(tmp_path, monkeypatch):
    real = decoded.Decoder.decode
    monkeypatch.setattr(decoded.Decoder, "decode", lambda self, data: real(self, data) + np.uint8(1))
    costs = decoded.decode_broken(decoded.GOOD_EVERY, 0, tmp_path, QUIET)
    assert costs.neighbours == 1 and "after it is another" in costs.findings[0]


def test_decoding_costs_are_counted(tmp_path):
    costs = decoded.decode_broken(200, 0, tmp_path, QUIET)
    assert costs.findings == [] and costs.described + costs.refused == 200 and costs.neighbours == 10
    assert 0 < costs.longest_s < 1 and 20e6 < costs.highest_memory < 300e6


def test_an_answer_that_is_wrong_late_or_no_refusal_is_a_finding():
    async def done(result=None, error=None):
        if error:
            raise error
        return SimpleNamespace(descriptor=result)

    async def said(failed, took=0.1, **outcome):
        task = asyncio.ensure_future(done(**outcome))
        await asyncio.wait({task})
        return served._wrong(failed, task, np.ones(3), took)

    assert asyncio.run(said(None, result=np.ones(3))) == []
    assert "otherwise than by a refusal: down" in asyncio.run(said(RequestFailed("down"), result=np.ones(3)))[0]
    assert "beside it fails: down" in asyncio.run(said(None, error=RequestFailed("down")))[0]
    assert "described otherwise" in asyncio.run(said(None, result=np.zeros(3)))[0]
    assert asyncio.run(said(None, result=np.ones(3), took=30)) == ["took 30.0 s"]


def test_a_random_process_below_a_command_is_struck_and_never_the_command():
    command = subprocess.Popen(["bash", "-c", "sleep 60 & sleep 61 & wait"])
    try:
        while [name_of(pid) for pid in below(command.pid)] != ["sleep", "sleep"]:
            pass
        assert command.pid not in set(below(command.pid))
        assert strike(command.pid, 9, random.Random(0)) == "sleep"
        while len(list(below(command.pid))) > 1:
            pass
        assert command.poll() is None and name_of(os.getpid()).startswith("python")
    finally:
        for pid in (*below(command.pid), command.pid):
            os.kill(pid, 9)
        command.wait()
    assert strike(command.pid, 9, random.Random(0)) is None


def test_hostile_requests_are_of_every_kind_and_say_what_came_back():
    asked = []

    class Stub:
        async def ModelInfer(self, request):  # noqa: N802, the protocol's name
            asked.append(request)

    async def attack():
        attacks = Attacks([0])
        return Counter([await attacks.one(Stub()) for _ in range(300)])

    found = asyncio.run(attack())
    kinds = {"broken_picture", "too_many_bytes", "odd_shape", "odd_content", "odd_names", "odd_type", "no_weight"}
    assert set(found) == {f"{kind}: answered" for kind in (*kinds, "inner_model")}
    good = request_of(good_pictures()["jpeg"])
    assert len(asked) == 300 and good not in asked


def test_malformed_requests_are_the_same_for_a_seed_and_of_every_kind():
    def drawn(seed):
        questions = Questions(seed)
        return [questions.one() for _ in range(500)]

    some = drawn(3)
    assert some == drawn(3) != drawn(4)
    assert len({kind for kind, _ in some}) == 12
    whole, tensor = Questions(3)._whole()
    good = _http(json.dumps(whole).encode(), tensor)
    assert good.count(b"\r\n\r\n") == 1 and sum(question == good for _, question in some) < 25


def test_a_disk_is_full_and_then_is_not(tmp_path):
    script = f"""
        import errno, sys
        from pathlib import Path
        from bench.campaign.scarce import _full
        place = Path({str(tmp_path)!r})
        with _full(place):
            try:
                (place / "more").write_bytes(bytes(5000))
            except OSError as error:
                assert error.errno == errno.ENOSPC
            else:
                sys.exit("there was room")
        (place / "more").write_bytes(bytes(5000))
    """
    if not own_mounts_allowed():
        pytest.skip("mounts are not allowed here")
    before = _with_small(str(tmp_path), "1m")
    subprocess.run([*before, sys.executable, "-c", textwrap.dedent(script)], check=True)


@pytest.mark.skipif(not has_compiler(), reason="there is no C compiler")
@pytest.mark.parametrize("days", [-30, 0, 400])
def test_the_clock_that_jumps_is_that_of_the_calendar_alone(tmp_path, days):
    script = """
        import queue, threading, time
        print(time.time())
        begun = time.monotonic()
        time.sleep(0.1)
        threading.Event().wait(0.1)
        try:
            queue.Queue().get(timeout=0.1)
        except queue.Empty:
            print(time.monotonic() - begun)
    """
    environment = moved_clock(tmp_path)
    move(tmp_path, days * 86_400)
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout
    now, waited = map(float, said.split())
    assert abs(now - time.time() - days * 86_400) < 60 and 0.3 <= waited < 5


@pytest.mark.parametrize(
    ("memory", "found"),
    [
        ([1124, 1261, 1209, 1203, 1185, 1212], []),  # an hour as it was
        ([1124, 1140, 1156, 1172, 1188, 1204], []),
        ([1124, 1154, 1184, 1214, 1244, 1274], ["memory grew by 90,000,000"]),
        ([1124], []),
        ([1124, 1200], ["memory grew by 76,000,000"]),
    ],
)
def test_what_grows_is_told_from_what_breathes(memory, found):
    assert growth([State({"tritonserver": each * 10**6}, 0, 0, 72) for each in memory]) == found


def test_a_log_that_grows_and_descriptors_that_are_lost_are_found():
    logs = [State({}, 0, each * 10**6, 72 + each) for each in (0, 30, 60, 90)]
    assert growth(logs) == ["log grew by 60,000,000", "descriptors grew by 60"]
