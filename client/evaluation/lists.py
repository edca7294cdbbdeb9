"""Lists of an evaluation's images, as CSV: queries.csv and images.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from client.evaluation.ablation import Ablation, known
from qafm.files import whole_file
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import Metrics

QUERIES_FILE, IMAGES_FILE = "queries.csv", "images.csv"


def write_queries(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """What `query_rows` says, as CSV."""
    _write(path, rows)


def rounded(precision: float) -> str:
    """An average precision as files have it."""
    return f"{precision:.6g}"


def query_rows(query: Descriptors, metrics: Metrics) -> list[list[object]]:
    """A head, and one row a query: without a true match it has no AP and no first match; utility and Q (higher is
    worse) where they are known."""
    quality = {name: array for name in ("utility", "identifiability") if (array := getattr(query, name)) is not None}
    columns = (known(query.paths), query.pids, query.camids, metrics.average_precision, metrics.first_match)
    rows = [
        [path, pid, camid, rounded(precision) if first else "", first or "", *(f"{value:.6g}" for value in values)]
        for path, pid, camid, precision, first, *values in zip(
            *(column.tolist() for column in (*columns, *quality.values())), strict=True
        )
    ]
    return [["path", "pid", "camid", "ap", "first_match", *quality], *rows]


def write_images(path: Path, query: Descriptors, gallery: Descriptors, ablation: Ablation) -> None:
    """One line an image as CSV: what is wrong with it, Q, α; of a query also its AP fused and by each branch's cosine.

    A gallery image has no AP, nor has a query without a true match; where α was given there is no Q. Their fields are
    empty.
    """
    fused, apn, apan, *_ = ablation.rows
    recorded = ablation.degradation.recorded if ablation.degradation else {}
    unknown = np.full(len(gallery), np.nan)
    rows: list[list[object]] = [["path", "kind", "strength", "identifiability", "alpha", "ap", "ap_apn", "ap_apan"]]
    for side, precisions in (
        (query, [row.metrics.average_precision for row in (fused, apn, apan)]),
        (gallery, [unknown] * 3),
    ):
        score = np.full(len(side), np.nan) if side.identifiability is None else side.identifiability
        columns = (score, known(side.alpha), *precisions)
        for image, *numbers in zip(known(side.paths).tolist(), *columns, strict=True):
            cells = ("" if np.isnan(number) else f"{number:.6g}" for number in numbers)
            degradation = recorded.get(image)
            named = (degradation.kind, degradation.strength) if degradation else ("", "")
            rows.append([image, *named, *cells])
    _write(path, rows)


def _write(path: Path, rows: Iterable[Iterable[object]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    with whole_file(path) as file:
        file.write(text.getvalue().encode())
