import os
from pathlib import Path

import pytest

from qafm.errors import ServerFailed
from server import log as module
from server.log import Log


def test_a_log_that_grows_begins_anew_and_keeps_what_a_named_one_had(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    log = Log(tmp_path / "server.log")
    other = os.dup(log.file.fileno())  # as a server has it
    os.write(other, b"x" * 80 + b"\n")
    log.trim()
    assert not (tmp_path / "server.log.1").exists()
    os.write(other, b"y" * 80 + b"\n")
    log.trim()
    os.write(other, b"after\n")
    assert log.tail() == "after" and (tmp_path / "server.log").read_bytes() == b"after\n"
    assert (tmp_path / "server.log.1").stat().st_size == 162
    os.close(other)
    log.close()


def test_one_without_a_name_is_cut_too(monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    log = Log(None)
    os.write(log.file.fileno(), b"many bytes, and more\n")
    log.trim()
    assert log.tail() == ""
    log.close()


def test_an_error_that_scrolled_out_is_kept(tmp_path):
    log = Log(tmp_path / "log")
    os.write(log.file.fileno(), b"E0101 first\n" + b"line\n" * 50)
    assert log.tail(2) == "E0101 first\nline\nline"
    log.close()


def test_an_earlier_log_is_not_continued(tmp_path):
    (tmp_path / "log").write_text("before")
    log = Log(tmp_path / "log")
    assert log.tail() == ""
    log.close()


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ServerFailed, match=r"the log .*missing/server\.log cannot be written: No such file"):
        Log(tmp_path / "missing" / "server.log")


def test_what_is_no_regular_file_is_written_and_stays():
    log = Log("/dev/null")
    os.write(log.file.fileno(), b"gone\n")
    log.trim()
    log.close()
    assert Path("/dev/null").is_char_device()


def test_a_copy_that_cannot_be_made_does_not_let_it_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    log = Log(tmp_path / "log")
    (tmp_path / "log.1").mkdir()
    os.write(log.file.fileno(), b"many bytes, and more\n")
    log.trim()
    assert log.tail() == ""
    log.close()
