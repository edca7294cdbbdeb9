"""`attributes.csv`: the attributes of the identities of a dataset, as a table that anybody can write.

    pid,gender,upcolour,bag
    anna,female,red,yes
    0042,male,,no

The columns are `pid`, as the dataset itself names its identities, and any of the attributes of `qafm.attributes`, whose
words the cells have. An empty cell, an attribute without a column and an identity without a line are unknown: they take
no part in a loss or a score. UTF-8.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qafm.attributes import MISSING, SCHEMA, Attribute
from qafm.datasets.csv_rows import csv_rows
from qafm.errors import InvalidDataset

ATTRIBUTE_TABLE = "attributes.csv"
_PID = "pid"
_BY_NAME = {attribute.name: attribute for attribute in SCHEMA}


def read_attribute_table(path: Path, pid_of: Callable[[str], int | None]) -> dict[int, NDArray[np.int8]]:
    """{pid: int8 [12]} of the identities in a table. pid_of: the pid of a name, None where the dataset has no such
    identity; such lines are passed over: a table may be of more.

    Raises InvalidDataset that names line and column.
    """
    found: dict[int, NDArray[np.int8]] = {}
    line_of: dict[int, int] = {}
    for line, row in csv_rows(path, partial(_check_header, path)):
        pid = pid_of(row[_PID])
        if pid is None:
            continue
        if line_of.setdefault(pid, line) != line:
            raise InvalidDataset(f"{path}, line {line}: identity {row[_PID]} stands in line {line_of[pid]} already")
        values = [_value(f"{path}, line {line}", attribute, row.get(attribute.name, "")) for attribute in SCHEMA]
        found[pid] = np.array(values, np.int8)
    if not found:
        raise InvalidDataset(f"{path}: none of its lines is of an identity here; expected pids as the images have them")
    return found


def _check_header(path: Path, header: list[str]) -> None:
    if header.count(_PID) != 1:
        raise InvalidDataset(f"{path}, line 1: expected the column {_PID} once, got {','.join(header)[:200]!r}")
    for column in header:
        if column != _PID and column not in _BY_NAME:
            nearest = difflib.get_close_matches(column, _BY_NAME, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"expected some of {', '.join(_BY_NAME)}"
            raise InvalidDataset(f"{path}, line 1: no attribute is called {column!r}; {hint}")
        if header.count(column) > 1:
            raise InvalidDataset(f"{path}, line 1: the column {column} is there twice")


def _value(where: str, attribute: Attribute, word: str) -> int:
    if not word:
        return MISSING
    if word not in attribute.values:
        raise InvalidDataset(
            f"{where}, column {attribute.name}: expected {', '.join(attribute.values)} or nothing, got {word!r}"
        )
    return attribute.values.index(word)
