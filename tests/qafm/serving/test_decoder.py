"""The process that decodes: what it gives, what it refuses, and what becomes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.campaign.decoded import cpu_s, memory_of
from qafm.errors import InvalidImage, NotAvailable
from qafm.images import decode
from qafm.serving import decoder as module
from qafm.serving.decoder import Decoder
from tests.support.bad_images import ACCEPTED, CASES, GOOD
from tests.support.hostile_images import REFUSED_BY_STRUCTURE, SIDE, png_rgba16, webp_with_alpha


@pytest.fixture(scope="module")
def decoder():
    made = Decoder()
    yield made
    made.close()


@pytest.mark.parametrize("name", CASES)
def test_it_gives_what_decoding_here_gives(decoder, name):
    data = CASES[name].data
    assert _outcome(decoder.decode, data) == _outcome(decode, data)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(1, len(GOOD)))
@settings(max_examples=100, deadline=None)
def test_of_a_damaged_file_too(decoder, position, value, length):
    damaged = bytearray(GOOD[:length])
    if position < length:
        damaged[position] = value
    assert _outcome(decoder.decode, bytes(damaged)) == _outcome(decode, bytes(damaged))


@pytest.mark.parametrize("name", REFUSED_BY_STRUCTURE)
def test_a_hostile_file_costs_under_a_second_and_300_megabytes(decoder, name):
    make, why = REFUSED_BY_STRUCTURE[name]
    data, keeper = make(), decoder.keeper
    before = cpu_s(keeper)
    with pytest.raises(InvalidImage, match=why):
        decoder.decode(data)
    assert cpu_s(keeper) - before < 1
    assert memory_of(_worker(decoder), "VmHWM") < 300e6
    assert _outcome(decoder.decode, GOOD) == _outcome(decode, GOOD)


@pytest.mark.parametrize("make", [png_rgba16, webp_with_alpha])
def test_the_largest_picture_is_described_in_bounded_memory(decoder, make):
    data = make(*SIDE)
    assert _outcome(decoder.decode, data) == _outcome(decode, data)
    assert memory_of(_worker(decoder), "VmHWM") < 300e6


def test_a_picture_that_takes_too_long_is_stopped_by_the_kernel():
    with closing(Decoder(cpu_s=0.05)) as decoder:
        worker = _worker(decoder)
        with pytest.raises(InvalidImage, match=r"takes over 0\.05 s to decode"):
            decoder.decode(png_rgba16(*SIDE))
        assert _worker(decoder) != worker
        assert _outcome(decoder.decode, GOOD) == _outcome(decode, GOOD)


def test_a_picture_that_takes_too_much_memory_is_refused_and_the_worker_stays():
    with closing(Decoder(memory_bytes=16 * 2**20)) as decoder:
        worker = _worker(decoder)
        with pytest.raises(InvalidImage, match="takes more memory to decode"):
            decoder.decode(png_rgba16(*SIDE))
        assert _worker(decoder) == worker
        assert _outcome(decoder.decode, GOOD) == _outcome(decode, GOOD)


@pytest.mark.parametrize("killed", ["worker", "keeper"])
def test_one_that_is_killed_while_it_waits_is_replaced_and_nothing_is_lost(decoder, killed):
    os.kill(_worker(decoder) if killed == "worker" else decoder.keeper, signal.SIGKILL)
    assert _outcome(decoder.decode, GOOD) == _outcome(decode, GOOD)


def test_a_keeper_that_died_after_an_answer_is_replaced(decoder):
    """Its worker may have answered before it followed it: only the next caller finds it gone."""
    keeper = decoder.keeper
    os.kill(keeper, signal.SIGKILL)
    _wait_until(lambda: decoder.keeper != keeper)
    assert _worker(decoder)
    assert _outcome(decoder.decode, GOOD) == _outcome(decode, GOOD)


def test_a_question_that_went_with_a_worker_that_was_killed_is_asked_again(decoder):
    """A process that is killed in a read may have emptied its pipe: whether it had is seen by nobody."""
    worker, written = _worker(decoder), os.write
    os.kill(worker, signal.SIGSTOP)

    def taken(pipe: int, question: bytes) -> int:
        """The question is taken out of the pipe again, and its worker killed."""
        written(pipe, question)
        with Path(f"/proc/self/fd/{pipe}").open("rb", buffering=0) as other:
            other.read(len(question))
        os.kill(worker, signal.SIGKILL)
        return len(question)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.os, "write", lambda *question: patch.undo() or taken(*question))
        assert _outcome(decoder.decode, GOOD) == _outcome(decode, GOOD)


@pytest.mark.parametrize("stopped", ["worker", "keeper"])
def test_one_that_is_stopped_is_replaced_after_a_while(stopped):
    with closing(Decoder(wait_s=2)) as decoder:
        decoder.decode(GOOD)
        keeper, worker = decoder.keeper, _worker(decoder)
        os.kill(worker if stopped == "worker" else keeper, signal.SIGSTOP)
        if stopped == "worker":  # a keeper does nothing while its worker lives
            with pytest.raises(NotAvailable, match="no answer within 2 s"):
                decoder.decode(GOOD)
            assert _gone(keeper) and _gone(worker)
        assert _outcome(decoder.decode, GOOD) == _outcome(decode, GOOD)


def test_one_that_cannot_be_kept_alive_says_so(monkeypatch):
    monkeypatch.setattr(module, "_python", lambda: "true")
    with closing(Decoder()) as decoder, pytest.raises(NotAvailable, match="was ended, and again"):
        decoder.decode(GOOD)


def test_nothing_is_left_of_one_that_is_closed():
    decoder = Decoder()
    keeper, worker = decoder.keeper, _worker(decoder)
    decoder.close()
    assert _gone(keeper) and _gone(worker)


def test_nothing_is_left_where_whoever_asked_was_killed():
    code = (
        "import os, signal, sys; from qafm.serving.decoder import Decoder;"
        f"made = Decoder(); made.decode(bytes.fromhex('{GOOD.hex()}')); print(made._process.pid, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    keeper = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout)
    assert _gone(keeper)


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_crop_is_its_callers_own(decoder, name):
    first = decoder.decode(ACCEPTED[name].data)
    kept = first.copy()
    decoder.decode(GOOD)
    np.testing.assert_array_equal(first, kept)
    first[0, 0] = 7


def _outcome(decoding, data):
    try:
        crop = decoding(data)
    except InvalidImage as error:
        return str(error)
    return crop.shape, crop.dtype, crop.tobytes()


def _worker(decoder: Decoder) -> int:
    _wait_until(lambda: decoder.worker)
    return decoder.worker


def _wait_until(condition, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _gone(pid: int) -> bool:
    _wait_until(lambda: not Path(f"/proc/{pid}").exists())
    return True
