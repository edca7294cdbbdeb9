"""`alpha.npz`, a weighting on disk.

    format  int [], 2
    kind    unicode [], "paper", "constant" or "retrieval"
    ...     the arrays of that kind, float32: see its class
    utility_...   where a utility was taught, its arrays: see `qafm.utility`

Format 1 had only the arrays of the paper's perceptron: a file without `format` and `kind` is read as that. A newer
format is refused. A reader of format 1 reads the paper's perceptron from a file of format 2, and refuses other kinds.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from qafm.errors import InvalidCheckpoint
from qafm.files import whole_file
from qafm.utility import Utility
from qafm.weighting.constant import Constant
from qafm.weighting.perceptron import Perceptron
from qafm.weighting.retrieval import Retrieval
from qafm.weighting.weighting import Weighting

FORMAT = 2
KINDS: dict[str, type[Weighting]] = {kind.kind: kind for kind in (Perceptron, Constant, Retrieval)}


def save_weighting(path: Path, weighting: Weighting, utility: Utility | None = None) -> None:
    """Write `alpha.npz`, whole or not at all. Raises OSError."""
    taught = utility.arrays() if utility else {}
    with whole_file(Path(path)) as file:
        arrays = {"format": np.array(FORMAT), "kind": np.array(weighting.kind)} | weighting.arrays() | taught
        np.savez(file, **arrays)  # type: ignore[arg-type]  # of NumPy 1, it would store allow_pickle


def load_weighting(path: Path) -> Weighting:
    """Read what `save_weighting` wrote, in this version or an earlier one.

    Raises InvalidCheckpoint for a file that is damaged, of a newer format or an unknown kind, or whose arrays are
    missing or malformed; OSError where there is no such file.
    """
    arrays = _read(Path(path))
    if arrays.get("format", np.array(1)).tolist() not in range(1, FORMAT + 1):
        raise InvalidCheckpoint(
            f"{path}: expected format {FORMAT} or an earlier one, got {arrays['format']}; a newer version wrote it: "
            "update qafm here, or export the model again with this version"
        )
    name = str(arrays.get("kind", Perceptron.kind))
    if name not in KINDS:
        raise InvalidCheckpoint(f"{path}: no weighting of kind {name!r} is known; the kinds are {', '.join(KINDS)}")
    kind = KINDS[name]
    if absent := sorted(kind.shapes.keys() - arrays.keys()):
        raise InvalidCheckpoint(
            f"{path}: no array {', '.join(absent)}; expected {', '.join(kind.shapes)} of the kind {name!r}"
        )
    try:
        return kind.from_arrays({array: arrays[array] for array in kind.shapes})
    except InvalidCheckpoint as error:
        raise InvalidCheckpoint(f"{path}: {error}") from None


def load_utility(path: Path) -> Utility | None:
    """The utility in an `alpha.npz`, or None. Raises InvalidCheckpoint for a damaged file or one of its arrays."""
    try:
        return Utility.from_arrays(_read(Path(path)))
    except InvalidCheckpoint as error:
        raise InvalidCheckpoint(f"{path}: {error}") from None


def _read(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise InvalidCheckpoint(f"{path}: not an .npz file; expected the weighting that `python -m export` writes")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except Exception as error:  # zipfile, zlib and NumPy share no type for a damaged file
            raise InvalidCheckpoint(f"{path}: the file is damaged and cannot be read: {error}") from error
