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
    monkeypatch.setattr(module, "_ASK_EVERY_S", 0)

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


def test_a_model_that_answers_nothing_while_requests_wait_is(process, page):
    found = Health({process.pid: "the server"}, page.endpoint, silent_s=0.3)
    page.text = metrics(iqa=(5, 0, 2), views=(5, 0, 0))
    assert found.complaint() is None
    time.sleep(0.35)
    assert found.complaint() == "iqa has answered nothing for 0.3 s, though requests wait"


@pytest.mark.parametrize("later", [(6, 0, 2), (5, 1, 2), (5, 0, 0)], ids=["answers", "refuses", "idle"])
def test_one_that_answers_something_or_has_nothing_to_do_is_none(process, page, later):
    found = Health({process.pid: "the server"}, page.endpoint, silent_s=0.3)
    page.text = metrics(iqa=(5, 0, 2))
    assert found.complaint() is None
    time.sleep(0.35)
    page.text = metrics(iqa=later)
    assert found.complaint() is None


def test_a_server_that_does_not_answer_at_all_is(process, page):
    found = Health({process.pid: "the server"}, NOWHERE, silent_s=0.3)
    assert found.complaint() is None
    time.sleep(0.35)
    assert found.complaint() == "the server itself has answered nothing for 0.3 s, though requests wait"


def test_its_silence_is_counted_from_its_last_answer(process, page):
    found = Health({process.pid: "the server"}, NOWHERE, silent_s=0.3)
    assert found.complaint() is None
    time.sleep(0.2)
    found._metrics = page.endpoint
    assert found.complaint() is None
    found._metrics = NOWHERE
    time.sleep(0.2)
    assert found.complaint() is None
    time.sleep(0.2)
    assert found.complaint()


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
