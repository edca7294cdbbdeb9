"""What is kept of each run of a study: small CSV files, from which two recipes can be compared on the same people."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qafm.attribute_metrics import head_metrics
from qafm.attributes import MISSING, SCHEMA
from qafm.datasets.attribute_file import read_attributes, require_attributes
from qafm.datasets.crops import without_junk
from qafm.datasets.layouts import open_dataset
from qafm.errors import InvalidDescriptors, InvalidSettings
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


class Origin(NamedTuple):
    """What a result is of, as the first line of its file says. settings: a digest, or the name of what made it. people:
    a digest of the test files."""

    settings: str
    people: str

    def line(self) -> str:
        return f"# settings {self.settings} people {self.people}\n"

    @classmethod
    def read(cls, path: Path) -> Origin:
        """Raises InvalidDescriptors where the file does not begin so."""
        with path.open() as file:
            words = file.readline().split()
        if words[:2] != ["#", "settings"] or len(words) != 5:
            raise InvalidDescriptors(f"{path}: it does not say what it is of; expected a file that this command wrote")
        return cls(words[2], words[4])


def require_origin(path: Path, origin: Origin) -> None:
    """Raises InvalidSettings where a result that is there is of something else."""
    for name, found, wanted in zip(Origin._fields, Origin.read(path), origin, strict=True):
        if found != wanted:
            raise InvalidSettings(
                f"{path}: it is of other {name} ({found}, now {wanted}); choose another --results, or delete it"
            )


def digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def digest_of_people(data: Path) -> str:
    """Of the names and sizes of a dataset's test files, without junk."""
    dataset = open_dataset(data)
    crops = [crop for side in ("query", "gallery") for crop in without_junk(dataset.split(side))]
    return digest_of(sorted((crop.path.name, crop.path.stat().st_size) for crop in crops))


def write_identities(
    path: Path, query: dict[str, Descriptors], gallery: dict[str, Descriptors], origin: Origin
) -> None:
    """A row an identity: how many of its queries have a true match, and for each vector the means over these of average
    precision and of being right at Rank-1."""
    columns: dict[str, np.ndarray] = {}
    for vector in query:
        for metric, values in per_query(evaluate(query[vector], gallery[vector], distance="cosine")).items():
            known = ~np.isnan(values)
            pids, places, counts = np.unique(query[vector].pids[known], return_inverse=True, return_counts=True)
            columns |= {"pid": pids, "queries": counts}
            columns[f"{vector}_{metric}"] = (np.bincount(places, values[known]) / counts).round(_DIGITS)
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    _write(path, list(columns), rows, origin.line())


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


def _write(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]], first: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        lines = [header, *rows]
        file.write((first + "".join(",".join(str(value) for value in line) + "\n" for line in lines)).encode())


def result_path(folder: Path, recipe: str, seed: int) -> Path:
    return folder / f"{recipe}-{seed}.csv"


def read_results(folder: Path) -> dict[str, list[Result]]:
    """The runs of each recipe in a folder, by ascending seed.

    Raises InvalidDescriptors where two are of different test people.
    """
    found: dict[str, list[Result]] = {}
    people: dict[str, Path] = {}
    for path in sorted(folder.glob("*-[0-9]*.csv")):
        if path.name.endswith(HEADS):
            continue
        recipe, seed = path.stem.rsplit("-", 1)
        people.setdefault(Origin.read(path).people, path)
        if len(people) > 1:
            raise InvalidDescriptors(f"{' and '.join(map(str, people.values()))} are of different test people")
        with path.open(newline="") as file:
            file.readline()
            rows = list(csv.DictReader(file))
        columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
        pids, queries = columns.pop("pid").astype(np.int64), columns.pop("queries").astype(np.int64)
        means = {tuple(name.rsplit("_", 1)): values for name, values in columns.items()}
        found.setdefault(recipe, []).append(Result(recipe, int(seed), pids, queries, means))
    return {recipe: sorted(runs, key=lambda run: run.seed) for recipe, runs in found.items()}


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
    for run in runs:
        if not np.array_equal(run.pids, runs[0].pids) or not np.array_equal(run.queries, runs[0].queries):
            raise InvalidDescriptors(
                f"seeds {runs[0].seed} and {run.seed} of {run.recipe} are of different test people"
            )
    values = [np.repeat(run.means[vector, metric], run.queries) for run in runs]
    return np.stack(values), np.repeat(runs[0].pids, runs[0].queries)
