"""`market_attribute.mat`: the attributes of Market-1501's identities, as their annotation was published.

The file marks each colour in a field of its own, and leaves some identities without any.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from qafm.attributes import MISSING, SCHEMA, Attribute
from qafm.errors import InvalidDataset

AttributeSplit = Literal["train", "test"]

_COLOUR_PREFIX = {"upcolour": "up", "downcolour": "down"}


def _fields(attribute: Attribute) -> tuple[str, ...]:
    """The names of an attribute's fields in the file: one a colour, else one with the attribute's name."""
    prefix = _COLOUR_PREFIX.get(attribute.name)
    return tuple(prefix + value for value in attribute.values) if prefix else (attribute.name,)


def read_attributes(path: Path, split: AttributeSplit) -> dict[int, np.ndarray]:
    """Read one split of a `market_attribute.mat`.

    Returns {pid: int8 [12]} in ascending order of pid. Fields are read by name: the published file orders them
    differently in its two splits. Raises InvalidDataset for a file that is missing or not of this format.
    """
    path = Path(path)
    table = _load_mat(path).get(split)
    if table is None:
        raise InvalidDataset(f"{path}: it has no '{split}' split; expected the structure market_attribute.{split}")
    wanted = {"image_index", *(field for attribute in SCHEMA for field in _fields(attribute))}
    if absent := sorted(wanted - table.keys()):
        raise InvalidDataset(f"{path}: the {split} split lacks the field(s) {', '.join(absent)}")

    pids = _pids(path, split, table["image_index"])
    columns = [_values(path, split, table, attribute, len(pids)) for attribute in SCHEMA]
    labels = np.stack(columns, axis=1)
    return {int(pids[row]): labels[row] for row in np.argsort(pids)}


def require_attributes(attributes: Mapping[int, np.ndarray], pids: np.ndarray | list[int], path: Path) -> np.ndarray:
    """int8 [N,12], the attributes of each of N pids. Raises InvalidDataset that names the pids `path` lacks."""
    if absent := sorted({int(pid) for pid in pids} - attributes.keys()):
        shown = ", ".join(f"{pid:04d}" for pid in absent[:5]) + (", ..." if len(absent) > 5 else "")
        raise InvalidDataset(
            f"{path}: no attributes for {len(absent)} of the identities in the images: {shown}. "
            "Use the attribute file that belongs to this dataset"
        )
    return np.stack([attributes[int(pid)] for pid in pids])


def write_attributes(path: Path, train: Mapping[int, np.ndarray], test: Mapping[int, np.ndarray]) -> None:
    """Write a `market_attribute.mat` in the published format: {pid: int8 [12]} for each split."""
    from scipy.io import savemat

    splits = {}
    for split, attributes in (("train", train), ("test", test)):
        pids = sorted(attributes)
        labels = np.stack([attributes[pid] for pid in pids])
        fields: dict[str, np.ndarray] = {}
        for column, attribute in enumerate(SCHEMA):
            names = _fields(attribute)
            for value, name in enumerate(names):
                chosen = labels[:, column] == value if len(names) > 1 else labels[:, column]
                fields[name] = (chosen + 1).astype(np.uint8)[None]
        index = np.empty((1, len(pids)), dtype=object)
        index[0] = [f"{pid:04d}" for pid in pids]
        fields["image_index"] = index
        splits[split] = fields
    savemat(path, {"market_attribute": splits})


def _load_mat(path: Path) -> dict[str, dict[str, np.ndarray]]:
    from scipy.io import loadmat  # an extra: the server reads no attribute file

    if not path.is_file():
        raise InvalidDataset(f"{path}: no such file; expected the attribute file market_attribute.mat")
    try:
        root = loadmat(path)["market_attribute"][0, 0]
        splits = {split: root[split][0, 0] for split in root.dtype.names}
        return {split: {field: table[field].ravel() for field in table.dtype.names} for split, table in splits.items()}
    except Exception as error:  # scipy raises many types on a damaged file, and has no common base for them
        raise InvalidDataset(
            f"{path}: not a market_attribute.mat ({type(error).__name__}: {error}); expected a MATLAB file "
            "with the structure market_attribute, fields train and test"
        ) from error


def _pids(path: Path, split: str, names: np.ndarray) -> np.ndarray:
    try:
        pids = np.array([int(name.item()) for name in names], dtype=np.int64)
    except (ValueError, AttributeError) as error:
        raise InvalidDataset(f"{path}: the {split} split's image_index is not a list of numbers: {error}") from error
    if len(set(pids.tolist())) < len(pids):
        raise InvalidDataset(f"{path}: the {split} split lists an identity twice in image_index")
    return pids


def _values(path: Path, split: str, table: dict[str, np.ndarray], attribute: Attribute, count: int) -> np.ndarray:
    """int8 [count], the values of one attribute, from 0; MISSING where every colour says no."""
    fields = _fields(attribute)
    for field in fields:
        most = 2 if len(fields) > 1 else len(attribute.values)
        values = table[field]
        if values.shape != (count,) or not np.isin(values, np.arange(1, most + 1)).all():
            raise InvalidDataset(
                f"{path}: the {split} split's field {field} has shape {values.shape} and values "
                f"{np.unique(values).tolist()}; expected {count} values from 1 to {most}"
            )
    if len(fields) == 1:
        return (table[fields[0]].astype(np.int8) - 1).astype(np.int8)
    marked = np.stack([table[field] == 2 for field in fields])
    if (twice := marked.sum(axis=0) > 1).any():
        pid = table["image_index"][twice.argmax()].item()
        raise InvalidDataset(f"{path}: identity {pid} of the {split} split has two {attribute.name} values")
    return np.where(marked.any(axis=0), marked.argmax(axis=0), MISSING).astype(np.int8)
