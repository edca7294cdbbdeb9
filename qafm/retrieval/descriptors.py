"""Descriptors of a set of images, and the .npz file that carries them from one tool to another.

    descriptors  float32 [N,D]     pids, camids  int64 [N]     paths  unicode [N]
    and where known: alpha, identifiability  float32 [N]; visual, semantic  float32 [N,1024];
    attributes  float32 [N,30]

Ranking needs only the first three. Nothing in the file is pickled.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from qafm.contract import ATTRIBUTE_SIZE, VECTOR_SIZE
from qafm.errors import InvalidDescriptors
from qafm.files import whole_file

RANKED_FIELDS = ("descriptors", "pids", "camids")
"""What ranking needs, and what every descriptor file has."""

# Field: kind of number, and the sizes after N; None is any size.
_LAYOUT: dict[str, tuple[str, tuple[int | None, ...]]] = {
    "descriptors": ("float32", (None,)),
    "pids": ("int64", ()),
    "camids": ("int64", ()),
    "paths": ("unicode", ()),
    "alpha": ("float32", ()),
    "identifiability": ("float32", ()),
    "visual": ("float32", (VECTOR_SIZE,)),
    "semantic": ("float32", (VECTOR_SIZE,)),
    "attributes": ("float32", (ATTRIBUTE_SIZE,)),
    "scatter": ("float32", (34,)),
    "utility": ("float32", ()),
}


@dataclass(frozen=True, eq=False)
class Descriptors:
    """N images, one row each in every array.

    descriptors: float32 [N,D], finite. pids: int64 [N], -1 for junk. camids: int64 [N]. paths: unicode [N].
    alpha: float32 [N], in [0,1]. identifiability: float32 [N], higher is worse. visual, semantic: float32
    [N,1024]. attributes: float32 [N,30], probabilities. An array that is not known is None. Raises
    InvalidDescriptors, naming the array, for another type, another length or a value that is not finite.
    """

    descriptors: np.ndarray
    pids: np.ndarray
    camids: np.ndarray
    paths: np.ndarray | None = None
    alpha: np.ndarray | None = None
    identifiability: np.ndarray | None = None
    visual: np.ndarray | None = None
    semantic: np.ndarray | None = None
    attributes: np.ndarray | None = None
    scatter: np.ndarray | None = None
    utility: np.ndarray | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        for name, array in self.arrays().items():
            _check_type(name, array)
        for name, array in self.arrays().items():
            if len(array) != len(self):
                raise InvalidDescriptors(
                    f"{name} has {len(array)} rows but pids has {len(self)}; expected one row an image"
                )

    def __len__(self) -> int:
        return len(self.pids)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are known, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "model"}
        return {name: array for name, array in named.items() if array is not None}


def read_descriptors(path: Path, names: Collection[str] = tuple(_LAYOUT)) -> Descriptors:
    """Read a descriptor file: of the arrays it has, those in `names`, and always the ones ranking needs.

    Raises InvalidDescriptors for a file that is missing, is not an .npz, lacks an array that ranking needs,
    or holds an array that is pickled or not as `Descriptors` says.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidDescriptors(f"{path}: no such file; expected an .npz of descriptors, as `client eval` writes it")
    if not zipfile.is_zipfile(path):
        raise InvalidDescriptors(f"{path}: not an .npz file; expected the descriptors that `client eval` writes")
    try:
        with np.load(path, allow_pickle=False) as file:
            if absent := [name for name in RANKED_FIELDS if name not in file]:
                raise InvalidDescriptors(
                    f"{path}: lacks the array(s) {', '.join(absent)}; "
                    f"expected at least {', '.join(RANKED_FIELDS)}, got {', '.join(file.files) or 'nothing'}"
                )
            wanted = [name for name in _LAYOUT if name in file and name in {*RANKED_FIELDS, *names}]
            arrays = {name: _read(path, file, name) for name in wanted}
    except InvalidDescriptors:
        raise
    except Exception as error:  # zipfile, zlib and NumPy share no type for a damaged file
        raise InvalidDescriptors(f"{path}: the file is damaged and cannot be read: {error}") from error
    try:
        return Descriptors(**arrays)
    except InvalidDescriptors as error:
        raise InvalidDescriptors(f"{path}: {error}") from None


def write_descriptors(path: Path, descriptors: Descriptors) -> None:
    """Write a descriptor file. A crash half-way leaves the file that was there before, or none."""
    with whole_file(Path(path)) as file:
        np.savez(file, **descriptors.arrays())  # type: ignore[arg-type]  # no array is named allow_pickle


def _read(path: Path, file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        return file[name]
    except Exception as error:  # pickled, or damaged: see above
        raise InvalidDescriptors(f"{path}: the array {name} cannot be read: {error}") from error


def _check_type(name: str, array: np.ndarray) -> None:
    kind, sizes = _LAYOUT[name]
    expected = f"{kind} [{', '.join(['N', *(str(size or 'D') for size in sizes)])}]"
    if not isinstance(array, np.ndarray):
        raise InvalidDescriptors(f"{name} is a {type(array).__name__}; expected an array {expected}")
    found = "unicode" if array.dtype.kind == "U" else array.dtype.name
    fits = array.ndim == 1 + len(sizes) and all(
        want in (None, got) for want, got in zip(sizes, array.shape[1:], strict=True)
    )
    if found != kind or not fits:
        raise InvalidDescriptors(f"{name} is {found} {list(array.shape)}; expected {expected}")
    if kind == "float32" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise InvalidDescriptors(f"{name} has a value that is not finite, first in row {row}")
