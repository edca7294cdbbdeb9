"""Which layouts there are, and which one a folder has."""

from __future__ import annotations

from pathlib import Path

from qafm.datasets.csv_list import CsvList
from qafm.datasets.cuhk03 import Cuhk03
from qafm.datasets.dataset import Dataset
from qafm.datasets.dukemtmc import DukeMtmc
from qafm.datasets.folders import has_folders
from qafm.datasets.market1501 import Market1501
from qafm.datasets.msmt17 import Msmt17
from qafm.datasets.name_pattern import NamePattern
from qafm.errors import InvalidDataset

LAYOUTS: tuple[type[Dataset], ...] = (CsvList, Msmt17, Market1501, DukeMtmc, Cuhk03)
"""In the order in which they are tried. A list is the first: whoever wrote one wants it read."""


def open_dataset(root: Path, name_pattern: str | None = None) -> Dataset:
    """The dataset at `root`, in the layout that its files show, or read by `name_pattern` where that is given.

    Raises InvalidDataset for a folder of no known layout, and where the files of a known one are not valid.
    """
    root = Path(root)
    if name_pattern is not None:
        return NamePattern(root, name_pattern)
    for layout in LAYOUTS:
        if layout.recognises(root):
            return layout(root)
    if has_folders(root):
        return Market1501(root)  # which says what is wrong with the names
    layouts: tuple[type[Dataset], ...] = (*LAYOUTS, NamePattern)
    known = "; ".join(f"{layout.name}: {layout.expected}" for layout in layouts)
    raise InvalidDataset(
        f"{root}: {_content(root)}, which is no known layout of a dataset. Known are {known}. "
        "Make a dataset with `python -m synthetic --out DIR`"
    )


def _content(root: Path) -> str:
    """What is there instead, in words."""
    if root.is_file():
        return "is a file"
    if not root.is_dir():
        return "no such folder"
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
    return f"holds {', '.join(names[:8])}{' and more' if len(names) > 8 else ''}" if names else "is an empty folder"
