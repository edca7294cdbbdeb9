"""Every error of the `client` command in one table: what was done, what is said, the exit code.

A last test holds that no place in the client that makes an error is left out of the table, but for those that say why.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qafm.contract import MODELS, QAFM, QAFM_FAST, SCATTER
from qafm.retrieval.descriptors import Descriptors, write_descriptors
from qafm.utility import LENGTH
from qafm.weighting import save_weighting
from qafm.weighting.retrieval import Retrieval
from tests.support.error_places import Places

Env = SimpleNamespace
"""Of a row: `tmp`, an empty folder; `peer`, a server; `data`, a dataset that it knows; `closed`, an address at which
nobody listens; `monkeypatch`."""
PLACES = Places("client")


@dataclass(frozen=True)
class Row:
    """done: what somebody does. code, said: how the command ends. arguments: of the command, once the row's world is
    made. server: whether the peer's address is added."""

    done: str
    code: int
    said: str
    arguments: Callable[[Env], tuple[Any, ...]]
    server: bool = True


def crop(env: Env, content: bytes = b"1") -> Path:
    path = env.tmp / "crop.jpg"
    path.write_bytes(content)
    return path


def npz(env: Env, name: str = "x.npz", **more: Any) -> Path:
    ids = np.array([1])
    vectors = np.eye(1000, dtype=np.float32)[:1]
    write_descriptors(env.tmp / name, Descriptors(**{"descriptors": vectors, "pids": ids, "camids": ids} | more))
    return env.tmp / name


def report(env: Env, name: str = "report", **content: Any) -> Path:
    folder = env.tmp / name
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(content))
    (folder / "queries.csv").write_text("path,pid,camid,ap,first_match\n")
    return folder


def journal(env: Env, head: bytes) -> tuple[Any, ...]:
    """Beside an evaluation's report, a journal of its model that begins so."""
    folder = env.tmp / "report"
    folder.mkdir()
    (folder / f"descriptions-{fingerprint(env)}-qafm.journal").write_bytes(head)
    return evaluation(env)


def fingerprint(env: Env) -> str:
    env.peer.manifest = '{"format": 2, "fingerprints": {"qafm": "aaaa-bbbb", "qafm_fixed_alpha": "cccc-dddd"}}'
    return "aaaa-bbbb"


def evaluation(env: Env, *more: Any) -> tuple[Any, ...]:
    return ("eval", "--data", env.data, "--report", env.tmp / "report", *more)


def other_world(env: Env, change: Callable[[Any], object]) -> tuple[Any, ...]:
    """A picture described by a server that differs."""
    change(env.peer)
    return ("describe", crop(env))


def without(models: dict[str, Any]) -> None:
    whole = models[QAFM]
    models[QAFM] = dataclasses.replace(whole, outputs=whole.outputs[1:])


def replaced_after_the_first(env: Env) -> tuple[Any, ...]:
    answer = type(env.peer)._answer

    def replaced(self: Any, request: Any, place: int) -> Any:
        self.manifest = '{"checkpoint": "another"}'
        return answer(self, request, place)

    env.monkeypatch.setattr(type(env.peer), "_answer", replaced)
    return ("describe", crop(env))


def heatmaps(env: Env, listed: str) -> tuple[Any, ...]:
    (env.tmp / "maps").mkdir()
    (env.tmp / "maps/heatmaps.json").write_text(listed)
    return evaluation(env, "--heatmaps", env.tmp / "maps")


def bad_folder(env: Env) -> Path:
    folder = env.tmp / "bad"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"bad")
    return folder


def empty_folder(env: Env) -> Path:
    (env.tmp / "empty").mkdir()
    return env.tmp / "empty"


def read_only(env: Env) -> Path:
    """A file that cannot be written, for root neither."""
    env.monkeypatch.setattr("client.commands.options.os.access", lambda path, mode: False)
    return env.tmp / "out.json"


def pem(env: Env) -> Path:
    """A file for a certificate, empty."""
    path = env.tmp / "some.pem"
    path.touch()
    return path


def perf_analyzer(env: Env) -> None:
    binary = env.tmp / "perf_analyzer"
    binary.write_text("#!/bin/sh\necho Perf Analyzer\n")
    binary.chmod(0o755)
    env.monkeypatch.setenv("PERF_ANALYZER", str(binary))


def bench(env: Env, *more: Any) -> tuple[Any, ...]:
    return ("bench", "--data", env.data, *more)


def no_perf_analyzer(env: Env) -> tuple[Any, ...]:
    env.monkeypatch.setenv("PERF_ANALYZER", str(env.tmp / "none"))
    return bench(env)


def broken_perf_analyzer(env: Env) -> tuple[Any, ...]:
    perf_analyzer(env)
    (env.tmp / "perf_analyzer").write_text("#!/bin/sh\necho no such library >&2\n")
    return bench(env)


def changed_under_load(env: Env) -> tuple[Any, ...]:
    perf_analyzer(env)
    fingerprint(env)

    def changes(*arguments: Any, **named: Any) -> list[Any]:
        env.peer.manifest = '{"format": 2, "fingerprints": {"qafm": "xxxx-yyyy", "qafm_fixed_alpha": "cccc-dddd"}}'
        return []

    env.monkeypatch.setattr("client.load.load_test", changes)
    return bench(env)


def of_another_dataset(env: Env) -> tuple[Any, ...]:
    report(env, format=2, data="elsewhere", dataset={"folder": "f0", "images": "1a"})
    return evaluation(env)


def in_use(env: Env) -> tuple[Any, ...]:
    @contextmanager
    def taken(folder: Path) -> Iterator[bool]:
        yield False

    env.monkeypatch.setattr("client.evaluation.folder.alone_in", taken)
    return evaluation(env)


def weighting(env: Env, length: bool) -> tuple[Any, ...]:
    linear = np.zeros(40, np.float32)
    linear[LENGTH if length else 0] = 1
    save_weighting(
        env.tmp / "w.npz", Retrieval(np.zeros(40, np.float32), np.ones(40, np.float32), linear, np.float32(0))
    )
    return evaluation(env, "--weighting", env.tmp / "w.npz")


def broken_diagnosis(env: Env) -> tuple[Any, ...]:
    env.peer.manifest = json.dumps({"diagnosis": {"darkness": 3}})
    env.peer.models[QAFM] = dataclasses.replace(MODELS[QAFM], outputs=(*MODELS[QAFM].outputs, SCATTER))
    return ("describe", crop(env))


def silent(env: Env) -> tuple[Any, ...]:
    """A server that answers nothing in time, to more pictures than are waited for."""
    env.peer.delay_s = 0.2
    for number in range(20):
        (env.data / f"bounding_box_test/0001_c2s1_{number:06d}_07.jpg").write_bytes(b"1")
    return evaluation(env, "--request-timeout", 0.01, "--concurrency", 1)


ROWS = [
    # What is typed.
    Row(
        "an address without a port",
        2,
        "it has no port; expected HOST:PORT",
        lambda e: ("describe", "x", "--url", "localhost"),
        False,
    ),
    Row("an empty address", 2, "the server's address is empty", lambda e: ("describe", "x", "--url", ""), False),
    Row(
        "an address for browsers", 2, "without http://", lambda e: ("describe", "x", "--url", "http://host:8001"), False
    ),
    Row(
        "an IPv6 address",
        2,
        "stands in brackets, as in [::1]:8001",
        lambda e: ("describe", "x", "--url", "::1:8001"),
        False,
    ),
    Row(
        "an address with a blank",
        2,
        "is no address of a server: expected HOST:PORT",
        lambda e: ("describe", "x", "--url", "a b:1"),
        False,
    ),
    Row(
        "a port that is none",
        2,
        "its port is '99999', expected a number from 1 to 65535",
        lambda e: ("describe", "x", "--url", "host:99999"),
        False,
    ),
    Row("a header without a value", 2, "expected NAME: VALUE, got 'x'", lambda e: ("describe", "x", "--header", "x")),
    Row(
        "a header that cannot be sent",
        2,
        "the header 'ä' cannot be sent",
        lambda e: ("describe", "x", "--header", "ä: 1"),
    ),
    Row("half of a certificate", 2, "expected both or neither", lambda e: ("describe", "x", "--certificate", pem(e))),
    Row(
        "a certificate that is empty",
        2,
        "the file is empty; expected a certificate or key in PEM",
        lambda e: ("describe", "x", "--ca-certificate", pem(e)),
    ),
    Row(
        "α for a model that weighs by itself",
        2,
        "expected --model qafm_fixed_alpha, or no --alpha",
        lambda e: ("describe", "x", "--alpha", "0.5"),
    ),
    Row(
        "a model that wants α, without",
        2,
        "takes its weight from you; add --alpha",
        lambda e: ("describe", "x", "--model", "qafm_fixed_alpha"),
    ),
    Row(
        "α that is no weight",
        2,
        "expected a weight from 0 to 1, got 2.0",
        lambda e: ("describe", "x", "--model", "qafm_fixed_alpha", "--alpha", "2"),
    ),
    Row(
        "a folder as the output",
        2,
        "is a folder; expected a file to write",
        lambda e: ("describe", "x", "--json", e.tmp),
    ),
    Row(
        "an output in no folder",
        2,
        "is not there; make it first",
        lambda e: ("describe", "x", "--json", e.tmp / "no/x.json"),
    ),
    Row(
        "a picture where --json writes",
        2,
        "is a picture, and --json writes a file; name another, or - to print",
        lambda e: ("describe", "--json", crop(e), crop(e)),
    ),
    Row(
        "a gallery without descriptors",
        2,
        "has no descriptors; expected some to search in",
        lambda e: (
            *("search", crop(e), "--gallery"),
            npz(
                e,
                **{name: np.array([], np.int64) for name in ("pids", "camids")},
                descriptors=np.ones((0, 3), np.float32),
                paths=np.array([], np.str_),
            ),
        ),
    ),
    Row(
        "an output that cannot be written",
        2,
        "cannot be written: permission denied",
        lambda e: ("describe", "x", "--json", read_only(e)),
    ),
    Row(
        "a name pattern for a file",
        2,
        "is no folder; a pattern reads the names in one",
        lambda e: ("search", "x", "--gallery", npz(e), "--name-pattern", "(?P<pid>.*)"),
    ),
    Row(
        "vectors of nothing to compare with",
        2,
        "name these as well",
        lambda e: ("score", npz(e), npz(e), "--against-vectors", "visual"),
        False,
    ),
    Row(
        "one report to compare",
        2,
        "alone cannot be compared; expected two reports or more",
        lambda e: ("compare", e.tmp),
        False,
    ),
    Row("a range that is none", 2, "expected a number from 1, or FIRST:LAST", lambda e: bench(e, "--concurrency", "x")),
    Row(
        "perf_analyzer through headers",
        2,
        "perf_analyzer is not told of TLS or headers",
        lambda e: bench(e, "--header", "a: b"),
    ),
    Row(
        "quality of a model without",
        2,
        "computes no quality of an image, which --abstain would read",
        lambda e: evaluation(e, "--model", "qafm_fixed_alpha", "--alpha", "1", "--abstain", "0.1"),
    ),
    # Files and folders.
    Row(
        "a picture that is not there",
        2,
        "gone.jpg: the file cannot be read: No such file",
        lambda e: ("describe", e.tmp / "gone.jpg"),
    ),
    Row(
        "a picture of 9 MB",
        2,
        "it has 9,000,000 bytes; at most 8,388,608 are read",
        lambda e: ("describe", crop(e, bytes(9_000_000))),
    ),
    Row("a picture that is damaged", 2, "crop.jpg: the image is damaged", lambda e: ("describe", crop(e, b"bad"))),
    Row(
        "a gallery without paths",
        2,
        "has no paths, so what is found in it cannot be named",
        lambda e: ("search", crop(e), "--gallery", npz(e)),
    ),
    Row(
        "a gallery of other vectors",
        2,
        "the gallery's descriptors have 3 numbers, the image's 1000",
        lambda e: (
            "search",
            crop(e),
            "--gallery",
            npz(e, descriptors=np.ones((1, 3), np.float32), paths=np.array(["a"])),
        ),
    ),
    Row(
        "a gallery of another α",
        2,
        "the server has the gallery's, by --model qafm_fixed_alpha --alpha 0.5",
        lambda e: (
            fingerprint(e),
            "search",
            crop(e),
            "--gallery",
            npz(e, model="cccc-dddd/qafm_fixed_alpha@0.5", paths=np.array(["a"])),
        )[1:],
    ),
    Row(
        "a gallery that is not there",
        2,
        "no such file; expected an .npz of descriptors",
        lambda e: ("search", crop(e), "--gallery", e.tmp / "none.npz"),
    ),
    Row(
        "a folder that is not there",
        2,
        "no such folder; expected one with image files, at any depth",
        lambda e: ("embed", e.tmp / "none", "--out", e.tmp / "x.npz"),
    ),
    Row(
        "a folder without pictures",
        2,
        "no images in it; expected files that end in .jpg",
        lambda e: ("embed", empty_folder(e), "--out", e.tmp / "x.npz"),
    ),
    Row(
        "a folder of nothing but broken pictures",
        2,
        "none of its 1 images could be described",
        lambda e: ("embed", bad_folder(e), "--out", e.tmp / "x.npz"),
    ),
    Row(
        "a search among nothing but broken pictures",
        2,
        "none of the gallery's 1 images could be described",
        lambda e: ("search", crop(e), "--gallery", bad_folder(e)),
    ),
    Row("heat maps that are none", 2, "not a folder of heat maps", lambda e: evaluation(e, "--heatmaps", e.tmp)),
    Row(
        "heat maps whose picture is gone",
        2,
        "is no picture in this folder; make the heat maps again",
        lambda e: heatmaps(e, '{"heatmaps": [{"image": "a", "file": "gone.png"}]}'),
    ),
    Row(
        "a report of a newer version to compare",
        2,
        "of a newer version of this client",
        lambda e: evaluation(e, "--against", report(e, "newer", format=9)),
    ),
    Row(
        "no report to compare",
        2,
        "expected the folder of a report of `client eval`",
        lambda e: ("compare", e.tmp, e.tmp),
        False,
    ),
    Row("a report folder in use", 2, "another evaluation is writing there", in_use),
    Row(
        "a report folder with something else",
        2,
        "expected a report of this client, got something else",
        lambda e: (report(e), *evaluation(e))[1:],
    ),
    Row(
        "a report folder of a newer version",
        2,
        "is a report of format 9, of a newer version",
        lambda e: (report(e, format=9, data="x"), *evaluation(e))[1:],
    ),
    Row("a report folder of another dataset", 2, "is the report of another dataset, elsewhere", of_another_dataset),
    Row(
        "a journal of another version",
        2,
        "expected a journal of format 2, got one that begins with",
        lambda e: journal(e, b"QAFM descriptions 9\n{}\n"),
    ),
    Row(
        "a journal that is damaged",
        2,
        "the journal does not say what it is of",
        lambda e: journal(e, b"QAFM descriptions 2\n{}\n"),
    ),
    Row(
        "a journal of another dataset",
        2,
        "is of another dataset, whose evaluation has not ended",
        lambda e: journal(
            e,
            b'QAFM descriptions 2\n{"model": "x", "dataset": {"folder": "f0", "images": "1a"}, "fields": []}\n',
        ),
    ),
    Row(
        "a weighting of distances that the server lacks",
        2,
        "reads SCATTER, which this server does not give",
        lambda e: weighting(e, False),
    ),
    Row(
        "a weighting of the features' length",
        2,
        "reads the length of an image's features",
        lambda e: weighting(e, True),
    ),
    # The server.
    Row(
        "no server",
        3,
        "no server is ready at",
        lambda e: ("describe", "x", "--url", e.closed, "--connect-timeout", "0.2"),
        False,
    ),
    Row(
        "a server that refuses",
        2,
        "refuses this client: who are you?. Check its headers and its certificate",
        lambda e: other_world(e, lambda peer: setattr(peer, "refuse", True)),
    ),
    Row(
        "a server without the ensemble",
        2,
        "does not serve 'qafm_fast'; it serves qafm, qafm_fixed_alpha",
        lambda e: ("describe", crop(e), "--model", QAFM_FAST),
    ),
    Row(
        "a sweep of a model that was trained without attributes",
        2,
        "trained without attributes: its descriptor has one branch, so there is nothing to weigh",
        lambda e: (
            other_world(e, lambda peer: peer.models.update({QAFM: MODELS[QAFM]})) and evaluation(e, "--sweep-alpha")
        ),
    ),
    Row(
        "a server of other models",
        2,
        "does not serve the model 'qafm': expected the ensembles",
        lambda e: other_world(e, lambda peer: peer.models.pop(QAFM)),
    ),
    Row(
        "a server of other tensors",
        2,
        "does not fit this client: its outputs differ: expected DESCRIPTOR",
        lambda e: other_world(e, lambda peer: without(peer.models)),
    ),
    Row(
        "a server without a manifest",
        2,
        "has no manifest that this client can read",
        lambda e: other_world(e, lambda peer: setattr(peer, "manifest", None)),
    ),
    Row("a manifest whose diagnosis is damaged", 0, "the manifest's diagnosis cannot be read", broken_diagnosis),
    Row("a model that fails", 1, "the model 'qafm' at", lambda e: ("describe", crop(e, b"broken"))),
    Row(
        "a server that is replaced meanwhile",
        2,
        "has come back with another model: first it served",
        replaced_after_the_first,
    ),
    Row("a server that never answers in time", 3, "has answered none of 16 requests in a row within 0.01 s", silent),
    Row(
        "an evaluation of nothing but failures",
        1,
        "there is nothing to measure, because images failed",
        lambda e: ([path.write_bytes(b"bad") for path in e.data.glob("*/*.jpg")], *evaluation(e))[1:],
    ),
    Row("no perf_analyzer", 2, "which cannot be run; install it with", no_perf_analyzer),
    Row("a perf_analyzer that does not work", 2, "is no working perf_analyzer (no such library)", broken_perf_analyzer),
    Row("another model under load", 2, "has come back with another model; measure again", changed_under_load),
]
NOT_IN_THE_TABLE = {
    "images.py: an array of pixels is": "the library takes arrays, the command does not",
    "images.py: the image is": "of an array",
    "images.py: the image has": "of bytes that the library is given",
    "images.py: the picture cannot be read": "of a picture of Pillow's",
    "pooling.py: no description": "the library pools, no command does",
    "pooling.py: the pictures are described by the models": "likewise",
    "baseline.py: ": "a picture that goes between being described and being looked at for the baseline",
    "journal.py: expected records of": "test_journal.py, which writes such a journal",
    "transport.py: the certificate or key cannot be read": "typer says before that a file is not there",
    "server.py: what answers at": "test_reid.py, with a server that speaks another protocol",
    "load.py: ": "test_load.py, with reports that perf_analyzer may write",
}


@pytest.fixture(autouse=True)
def places(monkeypatch):
    """Notes where errors are made."""
    PLACES.watch(monkeypatch)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.done)
def test_an_error_says_what_to_do_and_the_code_tells_its_kind(
    row, client, peer, dataset, closed_url, tmp_path, monkeypatch
):
    monkeypatch.setattr("client.evaluate.describe_by_colour", lambda root, images, step: images)
    world = tmp_path / "world"
    world.mkdir()
    env = Env(tmp=world, peer=peer, data=dataset, closed=closed_url, monkeypatch=monkeypatch)
    arguments = row.arguments(env)
    code, _, errors = client(*arguments, *(("--url", peer.url) if row.server else ()))
    # Typer draws a box around what is wrong with an option.
    said = " ".join(errors.replace("│", " ").split())
    assert row.said in said and code == row.code, (code, errors)
    assert "Traceback" not in errors


def test_the_table_has_every_error_that_the_client_makes():
    """Runs after the rows: they say what they have seen."""
    if len(PLACES.seen) < len(ROWS) // 2:
        pytest.skip("the rows did not run")
    left_out = list(PLACES.unseen(NOT_IN_THE_TABLE))
    assert not left_out, "\n".join(left_out)
