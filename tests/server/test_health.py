"""What tells that a server lives, with processes of a shell and a page of metrics in the place of one."""

import http.server
import os
import signal
import subprocess
import threading
import time

import pytest

from server import health as module
from server.endpoint import Endpoint
from server.health import Health, processes_of

NOWHERE = Endpoint("127.0.0.1:1")


@pytest.fixture
def process():
    started = subprocess.Popen(["sleep", "60"])
    yield started
    started.kill()
    started.wait()


@pytest.fixture
def page(monkeypatch):
    """Metrics that a test writes: `page.text`, at `page.endpoint`."""
    monkeypatch.setattr(module, "_ASK_EVERY_S", 0.1)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(served.text.encode())

        def log_message(self, *_):
            pass

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.text, served.endpoint = "", Endpoint(f"127.0.0.1:{served.server_port}")
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


def metrics(**models):
    """Of models by name: requests answered well, answered with an error, and waiting."""
    lines = ["# HELP nv_inference_request_success Number of successful inference requests"]
    for name, (well, badly, waiting) in models.items():
        lines += [
            f'nv_inference_request_success{{model="{name}",version="1"}} {well}',
            f'nv_inference_request_failure{{model="{name}",reason="OTHER",version="1"}} {badly}',
            f'nv_inference_pending_request_count{{model="{name}",version="1"}} {waiting}',
        ]
    return "\n".join(lines)


def test_a_process_that_lives_is_no_complaint(process):
    found = Health({process.pid: "the server"}, NOWHERE)
    assert [found.complaint() for _ in range(3)] == [None] * 3


def test_one_that_is_killed_is(process):
    found = Health({process.pid: "the server"}, NOWHERE)
    process.kill()
    while not (complaint := found.complaint()):
        time.sleep(0.01)
    assert complaint == f"the server (process {process.pid}) is gone"  # a zombie, until somebody waits for it
    process.wait()
    assert found.complaint() == complaint


def test_one_that_is_stopped_is_at_the_second_look(process):
    found = Health({process.pid: "the server"}, NOWHERE)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(0.1)
    assert found.complaint() is None
    assert found.complaint() == f"the server (process {process.pid}) is stopped"
    os.kill(process.pid, signal.SIGCONT)
    time.sleep(0.1)
    assert found.complaint() is None


def said(health, seconds):
    """What is complained of first, looking again and again for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if complaint := health.complaint():
            return complaint
        time.sleep(0.02)
    return None


def test_a_model_that_answers_nothing_while_it_is_asked_is(process, page):
    found = Health({process.pid: "the server"}, page.endpoint, silent_s=1)
    page.text = metrics(iqa=(5, 0, 2), views=(5, 0, 0))
    begun = time.monotonic()
    assert said(found, 30) == "iqa has answered nothing for 1 s, though it was asked"
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize("change", ["answers", "refuses", "idle"])
def test_one_that_answers_something_or_has_nothing_to_do_is_none(process, page, change):
    found = Health({process.pid: "the server"}, page.endpoint, silent_s=1)
    for number in range(5):
        page.text = {
            "answers": metrics(iqa=(number, 0, 2)),
            "refuses": metrics(iqa=(0, number, 2)),
            "idle": metrics(iqa=(5, 0, number % 2)),
        }[change]
        assert said(found, 0.4) is None


def test_one_that_computes_has_ten_times_as_long(page):
    """A batch of eight pictures in float32, on a slow machine."""
    busy = subprocess.Popen(["bash", "-c", "while :; do :; done"])
    try:
        found = Health({busy.pid: "the process of model iqa_0_0"}, page.endpoint, silent_s=0.5)
        page.text = metrics(iqa=(5, 0, 2))
        begun = time.monotonic()
        assert said(found, 60) == "iqa has answered nothing for 5 s, though it was asked"
        assert time.monotonic() - begun >= 5
    finally:
        busy.kill()
        busy.wait()


def test_a_server_that_does_not_answer_at_all_is(process, page):
    found = Health({process.pid: "the server"}, NOWHERE, silent_s=1)
    assert said(found, 30) == "the server itself has answered nothing for 1 s, though it was asked"


def test_its_silence_begins_anew_with_an_answer(process, page):
    found = Health({process.pid: "the server"}, NOWHERE, silent_s=2)
    assert said(found, 1) is None
    found._metrics = page.endpoint
    assert said(found, 0.3) is None
    found._metrics = NOWHERE
    begun = time.monotonic()
    assert said(found, 30)
    assert time.monotonic() - begun >= 1.8


def test_a_machine_that_was_paused_has_not_waited(process, page, monkeypatch):
    found = Health({process.pid: "the server"}, page.endpoint, silent_s=2)
    page.text = metrics(iqa=(5, 0, 2))
    assert said(found, 0.3) is None
    now = time.monotonic
    monkeypatch.setattr(module.time, "monotonic", lambda: now() + 3600)
    assert found.complaint() is None


def test_the_children_of_every_thread_belong_to_a_server():
    """As Triton starts them."""
    code = (
        "import subprocess, sys, threading\n"
        "threading.Thread(target=lambda: subprocess.Popen(['sleep', '60'])).start()\n"
        "subprocess.Popen(['bash', '-c', 'exec -a stub sleep 60', 'iqa_0_1'])\n"
        "print(flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(["python3", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    parent.stdout.readline()
    try:
        names = processes_of(parent.pid)
        assert names[parent.pid] == "the Triton server" and len(names) == 3
    finally:
        for pid in names:
            os.kill(pid, signal.SIGKILL)
        parent.wait()
