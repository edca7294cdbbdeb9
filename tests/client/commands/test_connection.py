"""The options that say how to reach a server: before and after a command's name."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from client import defaults
from client.commands.app import app
from client.commands.connection import Connection


class Reached(Exception):
    """A command has come to where it asks for a client."""


def reached(*arguments: object) -> Connection:
    """The connection with which a command would ask the server."""
    with patch.object(Connection, "client", autospec=True, side_effect=Reached) as client:
        result = CliRunner().invoke(app, list(map(str, arguments)))
    assert type(result.exception) is Reached, result.output
    (connection,), _ = client.call_args
    return connection


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Each command that reaches a server, with what it needs to come so far."""
    for folder in ("query", "bounding_box_test"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0001_c1s1_000001_00.jpg").write_bytes(b"1")
    perf_analyzer = tmp_path / "perf_analyzer"
    perf_analyzer.write_text("#!/bin/sh\necho Perf Analyzer\n")
    perf_analyzer.chmod(0o755)
    monkeypatch.setenv("PERF_ANALYZER", str(perf_analyzer))
    return {
        "eval": ("eval", "--data", tmp_path),
        "describe": ("describe", "crop.jpg"),
        "search": ("search", "crop.jpg", "--gallery", tmp_path),
        "bench": ("bench", "--data", tmp_path),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pem")
    paths = [folder / name for name in ("one.pem", "two.pem")]
    for path in paths:
        path.touch()
    return paths


def test_without_options_it_is_the_server_on_this_machine():
    assert reached("describe", "crop.jpg") == Connection(defaults.URL, defaults.CONNECT_TIMEOUT_S)


@pytest.mark.parametrize("name", ["eval", "describe", "search", "bench"])
def test_options_stand_before_and_after_the_name(commands, name):
    options, expected = ("--url", "host:1", "--connect-timeout", "0"), Connection("host:1", 0.0)
    assert reached(*options, *commands[name]) == expected
    assert reached(*commands[name], *options) == expected
    assert reached(*options[:2], *commands[name], *options[2:]) == expected


def test_what_stands_after_the_name_wins_and_headers_add_up():
    before = ("--url", "host:1", "--header", "Authorization: Bearer a:b", "--header", "tenant: one")
    after = ("--url", "host:2", "--header", "authorization:Bearer c", "--header", "trace: on")
    assert reached(*before, "describe", "crop.jpg", *after) == Connection(
        "host:2", headers={"authorization": "Bearer c", "tenant": "one", "trace": "on"}
    )


names = st.sampled_from(["authorization", "Authorization", "AUTHORIZATION", "x-trace", "X-Trace"])
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=5)
an_option = st.one_of(
    st.tuples(st.just("--url"), st.sampled_from(["", "host:1", "host:2"])),
    st.tuples(st.just("--connect-timeout"), st.sampled_from(["0", "1.5", "20"])),
    st.tuples(st.just("--tls")),
    st.tuples(
        st.sampled_from(["--ca-certificate", "--certificate", "--private-key"]), st.sampled_from(["one.pem", "two.pem"])
    ),
    st.tuples(st.just("--header"), st.builds("{}: {}".format, names, values)),
)


def read_one_by_one(options: list[tuple[str, ...]]) -> Connection:
    """What the options say when they are read in the order in which they stand."""
    fields: dict[str, object] = {}
    headers: dict[str, str] = {}
    for name, *value in options:
        if name == "--header":
            header, text = value[0].split(": ", 1)
            headers[header.lower()] = text
        elif name == "--tls":
            fields["tls"] = True
        elif name == "--connect-timeout":
            fields["connect_timeout_s"] = float(value[0])
        else:
            fields[name.removeprefix("--").replace("-", "_")] = value[0]
    return Connection(**fields, headers=headers)


@settings(max_examples=60, deadline=None)
@given(before=st.lists(an_option, max_size=5), after=st.lists(an_option, max_size=5))
def test_the_place_of_an_option_changes_nothing_but_its_turn(files, before, after):
    by_name = {path.name: path for path in files}

    def with_files(options):
        return [tuple(by_name.get(word, word) for word in option) for option in options]

    before, after = with_files(before), with_files(after)
    words = [[word for option in options for word in option] for options in (before, after)]
    assert reached(*words[0], "describe", "crop.jpg", *words[1]) == read_one_by_one(before + after)


@pytest.mark.parametrize("header", ["authorization", ": value", ""])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_header_without_a_name_or_a_value(client, header, place):
    option, command = ("--header", header), ("describe", "crop.jpg")
    code, _, errors = client(*option, *command) if place == "before" else client(*command, *option)
    assert code == 2 and f"expected NAME: VALUE, got {header!r}" in errors.replace("\n", " ")


@pytest.mark.parametrize("option", [("--certificate", "absent.pem"), ("--connect-timeout", "-1"), ("--user", "me")])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_wrong_option(client, option, place):
    command = ("describe", "crop.jpg")
    code, _, errors = client(*option, *command) if place == "before" else client(*command, *option)
    assert code == 2
    assert option[0] in errors and "Traceback" not in errors


def test_certificates_and_headers_reach_the_server(client, guarded_peer, certificates, tmp_path):
    (tmp_path / "crop.jpg").write_bytes(b"1")
    describe = ("describe", tmp_path / "crop.jpg", "--url", guarded_peer.url, "--connect-timeout", 2)
    root = ("--ca-certificate", certificates.root)
    own = ("--certificate", certificates.chain, "--private-key", certificates.key)
    header = ("--header", "authorization: Bearer a:b")
    for arguments in ((*root, *own, *header, *describe), (*describe, *root, *own, *header)):
        code, output, errors = client(*arguments)
        assert (code, errors) == (0, "") and "alpha" in output
        assert guarded_peer.headers[-1]["authorization"] == "Bearer a:b"
    # Half of it before the name and half after.
    assert client(*root, *own[:2], *describe, *own[2:])[0] == 0
    code, _, errors = client(*root, *own[:2], *describe)
    assert code == 2 and "expected both or neither" in errors
    assert client(*describe)[0] == 3


@pytest.mark.parametrize("option", [("--tls",), ("--header", "a: b"), ("--ca-certificate", __file__)])
@pytest.mark.parametrize("place", ["before", "after"])
def test_bench_refuses_what_perf_analyzer_is_not_told(client, commands, option, place):
    bench = commands["bench"]
    code, _, errors = client(*option, *bench) if place == "before" else client(*bench, *option)
    assert code == 2 and "TLS or headers" in errors


def test_score_asks_no_server(client):
    code, _, errors = client("score", "query.npz", "gallery.npz", "--url", "host:1")
    assert code == 2 and "--url" in errors
    code, _, errors = client("--url", "host:1", "--tls", "score", "query.npz", "gallery.npz")
    assert code == 2 and "query.npz: no such file" in errors
