"""A dataset of one's own as a list: a CSV file with the columns path, pid, camid and split, and any others.

    path,pid,camid,split
    images/anna-1.jpg,anna,entrance,query
    images/anna-2.jpg,anna,stairs,gallery

The file is named `dataset.csv` and its folder is the dataset, or the file itself is named. UTF-8; paths are relative
to the file's folder, with forward slashes. `qafm.datasets.numbering` says what becomes of pid and camid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from qafm.datasets.crops import IMAGE_SUFFIXES, SPLITS, Crop, Split, is_image
from qafm.datasets.csv_rows import csv_rows
from qafm.datasets.dataset import Dataset
from qafm.datasets.numbering import NamedImage, number_pids, numbered
from qafm.errors import InvalidDataset

FILE = "dataset.csv"
COLUMNS = ("path", "pid", "camid", "split")


class CsvList(Dataset):
    """A dataset listed in a CSV file, in the order of its lines. Raises InvalidDataset that names line and column."""

    name = "CSV"
    expected = f"a file {FILE} with the columns {','.join(COLUMNS)}; or name such a file itself"

    def __init__(self, root: Path) -> None:
        self.file = root if _is_csv(root) else root / FILE
        super().__init__(self.file.parent)
        rows = list(_read(self.file))
        self._crops = numbered([image for image, _ in rows])
        self._pids = number_pids(image.pid for image, _ in rows)
        self._split_of = [split for _, split in rows]

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return _is_csv(root) or (root / FILE).is_file()

    def pid_named(self, text: str) -> int | None:
        return self._pids.get(text)

    def _list(self, split: Split) -> Sequence[Crop]:
        crops = [crop for crop, mine in zip(self._crops, self._split_of, strict=True) if mine == split]
        if not crops:
            raise InvalidDataset(f"{self.file}: no line has {split} in the column split")
        return crops


def _is_csv(root: Path) -> bool:
    return root.suffix.lower() == ".csv" and not root.is_dir()


def _read(file: Path) -> Iterator[tuple[NamedImage, Split]]:
    """The image of each line, and its split."""
    line_of: dict[Path, int] = {}
    for line, row in csv_rows(file, partial(_check_header, file)):
        image = NamedImage(_path(file, line, row), _text(file, line, row, "pid"), _text(file, line, row, "camid"))
        first = line_of.setdefault(image.path, line)
        if first != line:
            raise InvalidDataset(f"{file}, line {line}, column path: {row['path']} is already listed in line {first}")
        yield image, _split(file, line, row)


def _check_header(file: Path, header: list[str]) -> None:
    if wrong := [column for column in COLUMNS if header.count(column) != 1]:
        raise InvalidDataset(
            f"{file}, line 1: expected each of the columns {','.join(COLUMNS)} once; not so: "
            f"{', '.join(wrong)}. It begins {','.join(header)[:200]!r}"
        )


def _text(file: Path, line: int, row: Mapping[str, str], column: str) -> str:
    if not row[column]:
        raise InvalidDataset(f"{file}, line {line}, column {column}: is empty")
    return row[column]


def _path(file: Path, line: int, row: Mapping[str, str]) -> Path:
    relative = PurePosixPath(_text(file, line, row, "path"))
    where = f"{file}, line {line}, column path: {relative}"
    if relative.is_absolute() or ".." in relative.parts:
        raise InvalidDataset(f"{where}: expected a path below the folder of the CSV file; move the file there")
    path = file.parent / relative
    if not is_image(path):
        raise InvalidDataset(
            f"{where}: not the name of an image; expected one that ends in {', '.join(IMAGE_SUFFIXES)}"
        )
    try:
        exists = path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a zero byte
        exists = False
    if not exists:
        raise InvalidDataset(f"{where}: no such file")
    return path


def _split(file: Path, line: int, row: Mapping[str, str]) -> Split:
    for split in SPLITS:
        if row["split"] == split:
            return split
    raise InvalidDataset(f"{file}, line {line}, column split: expected {', '.join(SPLITS)}, got {row['split']!r}")
