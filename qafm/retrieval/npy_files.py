"""Descriptors of other programs: an .npy, float [N,D], beside a CSV of the same stem that says what each row is.

    x.npy  float16, float32 or float64 [N,D]     x.csv  path,pid,camid in its first line, then a line a row

Further columns of the CSV are left unread. Nothing that is pickled is loaded.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from qafm.errors import InvalidDescriptors

_COLUMNS = ("path", "pid", "camid")
_WHOLE_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*", re.ASCII)
"""18 digits always fit int64."""


def read_npy(path: Path) -> dict[str, np.ndarray]:
    """descriptors float32 [N,D]; pids, camids int64 [N]; paths unicode [N]. Whether values are finite is not checked.

    Raises InvalidDescriptors for another type or shape, for a CSV that is missing, and for one that is not valid: then
    it names the line.
    """
    descriptors = _read_array(path)
    table = path.with_suffix(".csv")
    if not table.is_file():
        raise InvalidDescriptors(
            f"{table}: no such file; expected it beside {path.name}, with {','.join(_COLUMNS)} in its first line and "
            "then one line a row"
        )
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(_rows(table, file))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDescriptors(f"{table}: cannot be read as UTF-8 text: {error}") from error
    if len(rows) != len(descriptors):
        raise InvalidDescriptors(
            f"{table}: lists {len(rows)} images, but {path.name} has {len(descriptors)} rows; expected one line a row, "
            "in the same order"
        )
    return {
        "descriptors": descriptors,
        "pids": np.array([pid for _, pid, _ in rows], np.int64),
        "camids": np.array([camid for _, _, camid in rows], np.int64),
        "paths": np.array([name for name, _, _ in rows], np.str_),
    }


def _read_array(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # NumPy has no type of its own for a damaged or a pickled file
        raise InvalidDescriptors(
            f"{path}: cannot be read as an .npy array: {error}. Nothing pickled is loaded; expected numbers [N, D], as "
            "numpy.save writes them"
        ) from error
    if array.ndim != 2 or array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise InvalidDescriptors(
            f"{path}: is {array.dtype.name} {list(array.shape)}; expected float16, float32 or float64 [N, D]"
        )
    with np.errstate(over="ignore"):  # too large becomes infinite, and that is refused
        return np.ascontiguousarray(array, np.float32)


def _rows(table: Path, file: TextIO) -> Iterator[tuple[str, int, int]]:
    """Path, pid and camid of each line after the first; empty lines do not count."""
    lines = _numbered(table, file)
    number, header = next(lines, (1, []))
    if absent := [name for name in _COLUMNS if name not in header]:
        raise InvalidDescriptors(
            f"{table}, line {number}: lacks the column(s) {', '.join(absent)}; expected {','.join(_COLUMNS)}, got "
            f"{','.join(header)!r}"
        )
    path, pid, camid = (header.index(name) for name in _COLUMNS)
    for number, cells in lines:
        if len(cells) != len(header):
            raise InvalidDescriptors(f"{table}, line {number}: has {len(cells)} values; expected {len(header)}")
        for column in (pid, camid):
            if not _WHOLE_NUMBER.fullmatch(cells[column]):
                raise InvalidDescriptors(
                    f"{table}, line {number}: {header[column]} is {cells[column]!r}; expected a whole number"
                )
        yield cells[path], int(cells[pid]), int(cells[camid])


def _numbered(table: Path, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that has any, and the number of the line."""
    reader = csv.reader(file, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise InvalidDescriptors(f"{table}, line {reader.line_num}: {error}") from error
