"""Evaluations as their reports' folders keep them, compared query by query."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.evaluation.ablation import known
from client.evaluation.folder import REPORT_FILE, REPORT_FORMAT
from client.evaluation.lists import QUERIES_FILE, rounded
from qafm.errors import InvalidSettings
from qafm.retrieval.comparison import Differences, differences, differences_summary, gallery_warning, same_queries
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import Metrics

NOTICEABLE = 0.01
"""By so much an average precision has to differ to count as better or worse: one point."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """An evaluation. query: its queries, with paths and without vectors. average_precision: float64 [N], as rounded as
    queries.csv has it, NaN where a query has no true match. first_match: int64 [N], from 1; 0 where there is none.
    model, created, rank1, mAP, gallery (how many images it has): as its report has them; model and created are empty
    where it does not say. name: of its folder, for people."""

    name: str
    model: str
    created: str
    rank1: float
    mAP: float  # noqa: N815, the name every report of this metric uses
    gallery: int
    query: Descriptors
    average_precision: NDArray[np.float64]
    first_match: NDArray[np.int64]

    @classmethod
    def of(cls, name: str, model: str, created: str, metrics: Metrics, query: Descriptors) -> Evaluated:
        """What was measured just now."""
        bare = Descriptors(np.empty((len(query), 0), np.float32), query.pids, query.camids, query.paths)
        # What is read from a file is rounded: the same result must not differ by that.
        precision = np.array([float(rounded(each)) for each in metrics.average_precision.tolist()])
        of = (metrics.rank1, metrics.mAP, metrics.gallery)
        return cls(name, model, created, *of, bare, precision, metrics.first_match)

    def summary(self) -> dict[str, Any]:
        """For JSON: what it is."""
        return {name: getattr(self, name) for name in ("name", "model", "created", "rank1", "mAP")}


@dataclass(frozen=True)
class Change:
    """A query and its average precision, in [0,1], in the earlier and in the later of two evaluations."""

    path: str
    pid: int
    before: float
    after: float

    @property
    def gain(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, eq=False)
class Changes:
    """An evaluation beside an earlier one of the same queries.

    differences: by how much rank1 and mAP exceed the earlier ones. changes: of every query that has a true match, the
    largest gain first.
    """

    before: Evaluated
    after: Evaluated
    differences: Differences
    changes: tuple[Change, ...]

    @property
    def warning(self) -> str | None:
        """What else differs."""
        return gallery_warning(self.after.gallery, self.before.gallery)

    @property
    def better(self) -> tuple[Change, ...]:
        """The queries that gained noticeably, the largest gain first."""
        return tuple(change for change in self.changes if change.gain >= NOTICEABLE)

    @property
    def worse(self) -> tuple[Change, ...]:
        """The queries that lost noticeably, the largest loss first."""
        return tuple(change for change in reversed(self.changes) if change.gain <= -NOTICEABLE)

    def summary(self) -> dict[str, Any]:
        """For JSON: of either evaluation what it is, `difference`, and the average precision of every query in both."""
        return {
            "before": self.before.summary(),
            "after": self.after.summary(),
            "difference": differences_summary(self.differences),
            "better": len(self.better),
            "worse": len(self.worse),
            "queries": [
                {"path": change.path, "pid": change.pid, "ap": change.after, "before": change.before}
                for change in self.changes
            ],
        }


def read_evaluated(folder: Path) -> Evaluated:
    """What `client eval` left in a folder. Raises InvalidSettings where there is no such report, or one of a newer
    version of this client."""
    try:
        report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
        number = report.get("format", 1)
        if number > REPORT_FORMAT:
            raise InvalidSettings(f"{folder}: is a report of format {number}, of a newer version of this client")
        rows = list(_rows(folder / QUERIES_FILE))
        pids, camids, first = (np.array([row[name] for row in rows], np.int64) for name in ("pid", "camid", "first"))
        return Evaluated(
            name=str(folder),
            model=report.get("model", ""),
            created=report.get("created", ""),
            rank1=report["rank1"],
            mAP=report["mAP"],
            gallery=report["gallery"],
            query=Descriptors(
                np.empty((len(rows), 0), np.float32), pids, camids, np.array([row["path"] for row in rows], np.str_)
            ),
            average_precision=np.array([row["ap"] for row in rows], np.float64),
            first_match=first,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidSettings(
            f"{folder}: expected the folder of a report of `client eval`, with {REPORT_FILE} and {QUERIES_FILE}, got "
            f"something else ({error!r})"
        ) from error


def compare_evaluations(after: Evaluated, before: Evaluated) -> Changes:
    """Raises InvalidDescriptors where the two are not of the same queries."""
    rows = same_queries(after.query, before.query)
    found = differences(after, before, after.query.pids, rows)
    changes = [
        Change(path, pid, float(before.average_precision[row]), precision)
        for path, pid, precision, row in zip(
            known(after.query.paths).tolist(),
            after.query.pids.tolist(),
            after.average_precision.tolist(),
            rows.tolist(),
            strict=True,
        )
        if row >= 0 and not np.isnan(precision)
    ]
    return Changes(before, after, found, tuple(sorted(changes, key=lambda change: -change.gain)))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {
                "path": row["path"],
                "pid": int(row["pid"]),
                "camid": int(row["camid"]),
                "ap": float(row["ap"] or "nan"),
                "first": int(row["first_match"] or 0),
            }
