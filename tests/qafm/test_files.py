from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qafm.files import alone_in, read_file, whole_file, write_json


def test_a_file_takes_the_place_of_the_old_one_only_when_it_is_whole(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with whole_file(path) as file:
        file.write(b"new, and longer")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new, and longer"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_what_goes_wrong_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), whole_file(path) as file:
        file.write(b"half")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


HALF = """
import sys, time
from pathlib import Path
from qafm.files import whole_file
with whole_file(Path(sys.argv[1])) as file:
    file.write(b"x" * 100_000)
    file.flush()
    print("half", flush=True)
    time.sleep(60)
"""


def half_written(path):
    process = subprocess.Popen([sys.executable, "-c", HALF, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "half\n"
    return process


def test_processes_that_are_killed_leave_one_file_and_the_next_writer_takes_it_over(tmp_path):
    """One a process would heap up: an evaluation of Market-1501's size leaves 200 MB each time."""
    path = tmp_path / "gallery.npz"
    for _ in range(3):
        process = half_written(path)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert [entry.name for entry in tmp_path.iterdir()] == [".gallery.npz.partial"]
    with whole_file(path) as file:
        file.write(b"short")
    assert path.read_bytes() == b"short" and [entry.name for entry in tmp_path.iterdir()] == ["gallery.npz"]


def test_a_second_writer_waits_for_the_first(tmp_path):
    path = tmp_path / "a.bin"
    written = []

    def write_second():
        with whole_file(path) as file:
            written.append("second")
            file.write(b"second")

    with whole_file(path) as file:
        thread = threading.Thread(target=write_second)
        thread.start()
        time.sleep(0.3)
        assert written == []
        file.write(b"the first, longer")
    thread.join(timeout=10)
    assert path.read_bytes() == b"second" and [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_json_is_for_people_too(tmp_path):
    write_json(tmp_path / "a.json", {"α": [1]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"α": [1]}
    assert (tmp_path / "a.json").read_text(encoding="utf-8").count("\n") == 5


def test_one_process_at_a_time_has_a_folder(tmp_path):
    with alone_in(tmp_path) as first, alone_in(tmp_path) as second:
        assert (first, second) == (True, False)
    with alone_in(tmp_path) as again:
        assert again
    assert list(tmp_path.iterdir()) == []


def test_of_a_link_the_target_is_replaced_and_a_pipe_is_written_as_it_is(tmp_path):
    (tmp_path / "target.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
    write_json(tmp_path / "link.json", [1])
    assert (tmp_path / "link.json").is_symlink() and json.loads((tmp_path / "target.json").read_text()) == [1]

    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True)
    write_json(tmp_path / "pipe", [2])
    assert json.loads(reader.communicate(timeout=10)[0]) == [2]
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_that_cannot_be_locked_is_not_taken_for_one_that_somebody_has(tmp_path, monkeypatch):
    """As on a network file system that does not lock folders."""

    def refuse(*_):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("qafm.files.fcntl.flock", refuse)
    with alone_in(tmp_path) as alone:
        assert alone
    write_json(tmp_path / "a.json", [])


def test_a_regular_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    (tmp_path / "link").symlink_to(path)
    assert read_file(path, 5) == read_file(tmp_path / "link", 5) == b"12345"
    with pytest.raises(OSError) as caught:
        read_file(path, 4)
    assert caught.value.strerror == "it has 5 bytes; at most 4 are read"


def test_what_never_ends_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("pipe.jpg", "zero.jpg"):
        with pytest.raises(OSError) as caught:
            read_file(tmp_path / name, 5)
        assert caught.value.strerror == "it is no regular file"
    with pytest.raises(OSError):
        read_file(tmp_path / "folder.jpg", 5)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "gone.jpg", 5)


def test_a_file_that_says_it_is_empty_and_is_not_is_limited_too():
    with pytest.raises(OSError) as caught:
        read_file(Path("/proc/self/maps"), 10)
    assert "at most 10 are read" in caught.value.strerror
