"""Measure a served ensemble under load with NVIDIA's perf_analyzer: write its input, read its reports."""

from __future__ import annotations

import base64
import csv
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from qafm.contract import ALPHA, IMAGE, QAFM_FIXED_ALPHA
from qafm.errors import LoadTestFailed

ENVIRONMENT_VARIABLE = "PERF_ANALYZER"
FIXED_ALPHA = 0.5
"""What qafm_fixed_alpha is asked with where no other α is given."""
_HOW_TO_GET_IT = (
    "install it with `pip install perf-analyzer` on a system with glibc 2.38 or later (Debian 13, Ubuntu 24.04), or "
    f"take it from NVIDIA's Triton SDK image, and name the binary in {ENVIRONMENT_VARIABLE} if it is not on PATH"
)
# What the server did with a request, in the columns of the report of an ensemble or of one of its models.
_QUEUE = "Server Queue"
_COMPUTE = ("Server Compute Input", "Server Compute Infer", "Server Compute Output")


@dataclass(frozen=True)
class ModelTime:
    """Mean time of one request in a composing model, in milliseconds: waiting, and being computed."""

    queue_ms: float
    compute_ms: float


@dataclass(frozen=True)
class Load:
    """What was measured with `concurrency` requests in flight all the time, one image each.

    images_per_second: answered. p50_ms, p95_ms, p99_ms: latency that a client sees. models: by name.
    """

    concurrency: int
    images_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    models: dict[str, ModelTime]

    def summary(self) -> dict[str, object]:
        """The same as plain numbers, for JSON."""
        return asdict(self)


def find_perf_analyzer() -> str:
    """The binary to run: what PERF_ANALYZER names, or `perf_analyzer` on PATH. Raises LoadTestFailed."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    binary = shutil.which(named or "perf_analyzer")
    if binary is None:
        what = f"{ENVIRONMENT_VARIABLE} names {named}, which cannot be run" if named else "no perf_analyzer on PATH"
        raise LoadTestFailed(f"{what}; {_HOW_TO_GET_IT}")
    # On older systems pip installs an empty package in its place.
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    output = answer.stdout + answer.stderr
    if "Perf Analyzer" not in output:
        last_line = output.strip().splitlines()[-1:] or ["it says nothing"]
        raise LoadTestFailed(f"{binary} is no working perf_analyzer ({last_line[0]}); {_HOW_TO_GET_IT}")
    return str(Path(binary).absolute())


def load_test(
    url: str,
    model: str,
    images: Sequence[bytes],
    *,
    alpha: float = FIXED_ALPHA,
    concurrency: tuple[int, int, int] = (1, 4, 1),
    seconds: float = 10.0,
    requests: int | None = None,
    stability: float = 10.0,
    perf_analyzer: str,
) -> list[Load]:
    """Send `images`, encoded files, in turn to an ensemble, at each concurrency of a range (first, last, step).

    url: HOST:PORT of the gRPC endpoint. alpha: in [0,1], for qafm_fixed_alpha. A measurement takes `seconds`, or with
    `requests` until so many are answered. It is repeated until three agree within `stability` per cent, ten times at
    most. Raises LoadTestFailed where nothing was measured.
    """
    first, last, step = concurrency
    with tempfile.TemporaryDirectory(prefix="load-test-") as name:
        folder = Path(name)
        (folder / "input.json").write_text(json.dumps({"data": [_request(model, image, alpha) for image in images]}))
        command = [perf_analyzer, "-m", model, "-u", url, "-i", "grpc", "--input-data", "input.json"]
        command += ["--concurrency-range", f"{first}:{last}:{step}"]
        if requests is None:
            command += ["--measurement-interval", str(round(1000 * seconds))]
        else:
            # Not --request-count: that divides by whole seconds.
            command += ["--measurement-mode", "count_windows", "--measurement-request-count", str(requests)]
        command += ["--stability-percentage", str(stability)]
        # A bare name in the folder it runs in: with a path it drops the composing models' files.
        command += ["-f", "report.csv"]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        try:
            loads = _read(folder)
        except (KeyError, TypeError, ValueError) as error:
            raise LoadTestFailed(f"perf_analyzer wrote a report that cannot be read: {error!r}") from error
    # It can end with 0 and have measured nothing, or only a part.
    measured = {load.concurrency for load in loads if load.images_per_second > 0}
    missing = sorted(set(range(first, last + 1, step)) - measured)
    if ended.returncode or missing:
        what = f", without a result for concurrency {', '.join(map(str, missing))}" if missing else ""
        last_lines = "\n".join((ended.stdout + ended.stderr).strip().splitlines()[-15:])
        raise LoadTestFailed(f"perf_analyzer ended with {ended.returncode}{what}; it says:\n{last_lines}")
    return loads


def _request(model: str, image: bytes, alpha: float) -> dict[str, object]:
    """One image as perf_analyzer reads it: a string tensor is 4 bytes of length, little-endian, and the bytes."""
    encoded = base64.b64encode(len(image).to_bytes(4, "little") + image).decode()
    request: dict[str, object] = {IMAGE.name: {"b64": encoded}}
    if model == QAFM_FIXED_ALPHA:
        request[ALPHA.name] = [alpha]
    return request


def _read(folder: Path) -> list[Load]:
    models = {path.name.rsplit("_v", 1)[0]: _rows(path) for path in sorted(folder.glob("*_v*.report.csv"))}
    return [
        Load(
            concurrency=number,
            images_per_second=float(row["Inferences/Second"]),
            p50_ms=_milliseconds(row, "p50 latency"),
            p95_ms=_milliseconds(row, "p95 latency"),
            p99_ms=_milliseconds(row, "p99 latency"),
            models={
                name: ModelTime(_milliseconds(rows[number], _QUEUE), _milliseconds(rows[number], *_COMPUTE))
                for name, rows in models.items()
            },
        )
        for number, row in sorted(_rows(folder / "report.csv").items())  # it sorts them by throughput
    ]


def _rows(path: Path) -> dict[int, dict[str, str]]:
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {int(row["Concurrency"]): row for row in csv.DictReader(file)}


def _milliseconds(row: dict[str, str], *columns: str) -> float:
    return sum(float(row[column]) for column in columns) / 1000
