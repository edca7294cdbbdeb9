"""What is kept of each run of a study: small CSV files, from which two recipes can be compared on the same people."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qafm.attribute_metrics import head_metrics
from qafm.attributes import MISSING, SCHEMA
from qafm.datasets.attribute_file import read_attributes, require_attributes
from qafm.datasets.layouts import open_dataset
from qafm.errors import InvalidDescriptors
from qafm.files import whole_file
from qafm.retrieval.bootstrap import Difference, Interval, difference, interval
from qafm.retrieval.comparison import per_query
from qafm.retrieval.descriptors import Descriptors
from qafm.retrieval.metrics import evaluate

METRICS = ("mAP", "rank1")
HEADS = ".heads.csv"
_DIGITS = 4


@dataclass(frozen=True)
class Result:
    """A run on the test people. means: by (vector, metric) float64 [P], of the queries of each identity."""

    recipe: str
    seed: int
    pids: np.ndarray
    queries: np.ndarray
    means: dict[tuple[str, str], np.ndarray]


def write_identities(path: Path, query: dict[str, Descriptors], gallery: dict[str, Descriptors]) -> None:
    """A row an identity: how many of its queries have a true match, and for each vector the means over these of average
    precision and of being right at Rank-1."""
    columns: dict[str, np.ndarray] = {}
    for vector in query:
        for metric, values in per_query(evaluate(query[vector], gallery[vector])).items():
            known = ~np.isnan(values)
            pids, places, counts = np.unique(query[vector].pids[known], return_inverse=True, return_counts=True)
            columns |= {"pid": pids, "queries": counts}
            columns[f"{vector}_{metric}"] = (np.bincount(places, values[known]) / counts).round(_DIGITS)
    _write(path, list(columns), zip(*(column.tolist() for column in columns.values()), strict=True))


def write_heads(path: Path, sides: Iterable[Descriptors], data: Path) -> None:
    """A row an attribute, over the pictures of the test people: how well it is predicted, and of how many people its
    rarest value is."""
    pids = np.concatenate([side.pids[side.pids > 0] for side in sides])
    probabilities = np.concatenate([side.attributes[side.pids > 0] for side in sides])  # type: ignore[index]
    file = open_dataset(data).attribute_file
    if file is None:
        raise InvalidDescriptors(f"{data}: it has no attributes; expected a market_attribute.mat")
    known = read_attributes(file, "test")
    people = require_attributes(known, np.unique(pids), file)
    found = head_metrics(probabilities, require_attributes(known, pids, file), pids)
    header = ["head", "values", "rarest", "images", "accuracy", "majority", "balanced", "low", "high", "auc"]
    rows: list[list[Any]] = []
    for attribute, values in zip(SCHEMA, people.T, strict=True):
        counts = np.bincount(values[values != MISSING], minlength=len(attribute.values))
        head = found[attribute.name]
        assert head.balanced_accuracy_interval is not None
        measured = (head.accuracy, head.majority, head.balanced_accuracy, *head.balanced_accuracy_interval, head.auc)
        shown = ["" if value is None else round(value, _DIGITS) for value in measured]
        rows.append([attribute.name, len(attribute.values), counts.min(), head.images, *shown])
    _write(path, header, rows)


def _write(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        lines = [header, *rows]
        file.write("".join(",".join(str(value) for value in line) + "\n" for line in lines).encode())


def result_path(folder: Path, recipe: str, seed: int) -> Path:
    return folder / f"{recipe}-{seed}.csv"


def read_results(folder: Path) -> dict[str, list[Result]]:
    """The runs of each recipe in a folder, by ascending seed."""
    found: dict[str, list[Result]] = {}
    for path in sorted(folder.glob("*-[0-9]*.csv")):
        if path.name.endswith(HEADS):
            continue
        recipe, seed = path.stem.rsplit("-", 1)
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
        pids, queries = columns.pop("pid").astype(np.int64), columns.pop("queries").astype(np.int64)
        means = {(vector, metric): each for (vector, metric), each in _named(columns)}
        found.setdefault(recipe, []).append(Result(recipe, int(seed), pids, queries, means))
    return found


def _named(columns: dict[str, np.ndarray]) -> list[tuple[tuple[str, str], np.ndarray]]:
    return [((vector, metric), values) for name, values in columns.items() for vector, metric in [name.rsplit("_", 1)]]


def mean(runs: Sequence[Result], vector: str, metric: str = "mAP") -> tuple[float, Interval]:
    """Over queries and runs, with its 95 % interval."""
    values, pids = _queries(runs, vector, metric)
    return float(values.mean()), interval(values, pids)


def gain(runs: Sequence[Result], others: Sequence[Result], vector: str, metric: str = "mAP") -> Difference:
    """Of one recipe over another, runs of the same seed together where both have the same seeds."""
    values, pids = _queries(runs, vector, metric)
    other_values, other_pids = _queries(others, vector, metric)
    if not np.array_equal(pids, other_pids):
        raise InvalidDescriptors(f"{runs[0].recipe} and {others[0].recipe} are not of the same test people")
    paired = [run.seed for run in runs] == [other.seed for other in others]
    return difference(values, other_values, pids, paired_runs=paired)


def _queries(runs: Sequence[Result], vector: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """float64 [S,N] with the mean of its identity in the place of each query, and the pids, int64 [N]: sums over
    identities are what they were, and the bootstrap needs nothing else."""
    values = [np.repeat(run.means[vector, metric], run.queries) for run in runs]
    return np.stack(values), np.repeat(runs[0].pids, runs[0].queries)
