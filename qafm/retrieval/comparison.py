"""The 95 % intervals of a result, and two results of the same queries compared, by bootstrap over identities."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from qafm.datasets.crops import JUNK_PID
from qafm.errors import InvalidDescriptors
from qafm.retrieval.bootstrap import Difference, Interval, difference, interval
from qafm.retrieval.descriptors import Descriptors

Differences = dict[str, Difference]
"""Of rank1 and mAP, by name."""


class Ranked(Protocol):
    """What two results of the same queries are compared by, as `qafm.retrieval.metrics.Metrics` has it."""

    @property
    def average_precision(self) -> np.ndarray: ...

    @property
    def first_match(self) -> np.ndarray: ...


def per_query(metrics: Ranked) -> dict[str, np.ndarray]:
    """What the means of rank1 and mAP are of: for each float64 [N], one a query; NaN for one without a true match."""
    first_is_right = np.where(metrics.first_match > 0, metrics.first_match == 1, np.nan)
    return {"rank1": first_is_right, "mAP": metrics.average_precision}


def intervals(metrics: Ranked, pids: np.ndarray) -> dict[str, Interval]:
    """The 95 % intervals of rank1 and mAP. pids: int64 [N], of the queries."""
    return {name: interval(values, pids) for name, values in per_query(metrics).items()}


def differences(metrics: Ranked, other: Ranked, pids: np.ndarray, rows: np.ndarray | None = None) -> Differences:
    """By how much rank1 and mAP of `metrics` exceed those of `other`, with paired 95 % intervals.

    pids: int64 [N], of the queries. rows: int64 [N], for each of them its row in `other`, as `same_queries` has it; by
    default they are in the same order. Raises InvalidDescriptors where a query has a true match in one result only.
    """
    others = per_query(other)
    if rows is not None:
        others = {name: np.where(rows < 0, np.nan, values[rows]) for name, values in others.items()}
    return {name: difference(values, others[name], pids) for name, values in per_query(metrics).items()}


def differences_summary(found: Differences) -> dict[str, Any]:
    """What JSON says of differences: of each metric `value` and `interval`."""
    return {name: each.summary() for name, each in found.items()}


def gallery_warning(images: int, others: int) -> str | None:
    """What to know of a comparison of two results whose galleries have so many images; None where they have as many."""
    if images == others:
        return None
    return f"the galleries have {images:,} and {others:,} images: part of the difference may be due to that"


def same_queries(query: Descriptors, other: Descriptors) -> np.ndarray:
    """The row of `other` that has the picture of each row of `query`, by their paths: int64 [N], -1 for junk.

    Raises InvalidDescriptors where either has no paths, or has one twice; and where the two are not the same pictures
    of the same people, junk aside.
    """
    rows, other_rows = (_rows_by_path(side, name) for side, name in ((query, "first"), (other, "other")))
    for lacking, where, there in (
        (rows.keys() - other_rows.keys(), "other", "first"),
        (other_rows.keys() - rows.keys(), "first", "other"),
    ):
        if lacking:
            raise InvalidDescriptors(
                f"the results are not of the same queries: {len(lacking)} of the {there} result, such as "
                f"{min(lacking)}, are not in the {where} one. Describe the same pictures, with paths from one folder"
            )
    places = np.full(len(query), -1)
    for path, row in rows.items():
        places[row] = other_rows[path]
        ours, theirs = ((side.pids[at], side.camids[at]) for side, at in ((query, row), (other, places[row])))
        if ours != theirs:
            raise InvalidDescriptors(
                f"the results are not of the same queries: {path} has pid {ours[0]} and camid {ours[1]} in the first "
                f"result, pid {theirs[0]} and camid {theirs[1]} in the other one. Label both alike"
            )
    return places


def _rows_by_path(side: Descriptors, name: str) -> dict[str, int]:
    """{path: row} of the queries that are not junk."""
    if side.paths is None:
        raise InvalidDescriptors(
            f"the queries of the {name} result have no paths, so nothing says whether both results are of the same "
            "pictures; expected an array `paths`, as `client eval` writes it"
        )
    kept = np.flatnonzero(side.pids != JUNK_PID)
    rows = dict(zip(side.paths[kept].tolist(), kept.tolist(), strict=True))
    if len(rows) < len(kept):
        twice, counts = np.unique(side.paths[kept], return_counts=True)
        raise InvalidDescriptors(
            f"the queries of the {name} result have the path {twice[counts > 1][0]} more than once; expected each "
            "picture once"
        )
    return rows
