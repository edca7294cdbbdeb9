"""Descriptors of a set of images, and the files that carry them from one tool to another (`docs/formats.md`).

    descriptors  float32 [N,D]     pids, camids  int64 [N]     paths  unicode [N]
    and where known: alpha, identifiability, utility  float32 [N]; scatter  float32 [N,34];
    visual, semantic  float32 [N,1024]; attributes  float32 [N,30]; model  unicode, one for all

Ranking needs only the first three. Nothing in a file is pickled.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from qafm.errors import InvalidDescriptors
from qafm.files import whole_file
from qafm.record import RECORD
from qafm.retrieval.npy_files import read_npy

FORMAT = 2
"""The format of the .npz that is written. Format 1, which has neither `model` nor `format`, is read as well."""

_UNPACKED, _PACKED_TIMES = 64 * 2**20, 20
"""An .npz is read where it unpacks to so many bytes, or to so many times its own."""

RANKED_FIELDS = ("descriptors", "pids", "camids")
"""What ranking needs, and what every descriptor file has."""

# Array: kind of number, and the sizes after N; None is any size: other people's descriptors have other lengths.
_LAYOUT: dict[str, tuple[str, tuple[int | None, ...]]] = {
    "descriptors": ("float32", (None,)),
    "pids": ("int64", ()),
    "camids": ("int64", ()),
    "paths": ("unicode", ()),
    **{field.array: ("float32", field.shape) for field in RECORD if field.array != "descriptors"},
}


@dataclass(frozen=True, eq=False)
class Descriptors:
    """N images, one row each in every array.

    descriptors: float32 [N,D], finite. pids: int64 [N], -1 for junk. camids: int64 [N]. paths: unicode [N].
    alpha: float32 [N], in [0,1]. identifiability: float32 [N], higher is worse. scatter: float32 [N,34], for each
    perturbation the distance of its features to the original's. utility: float32 [N], in [0,1], higher is better.
    visual, semantic: float32 [N,1024]. attributes: float32 [N,30], probabilities. model: the name of what made the
    descriptors, any text. What is not known is None. Raises InvalidDescriptors, naming the array, for another type,
    another length or a value that is not finite.
    """

    descriptors: np.ndarray
    pids: np.ndarray
    camids: np.ndarray
    paths: np.ndarray | None = None
    alpha: np.ndarray | None = None
    identifiability: np.ndarray | None = None
    scatter: np.ndarray | None = None
    utility: np.ndarray | None = None
    visual: np.ndarray | None = None
    semantic: np.ndarray | None = None
    attributes: np.ndarray | None = None
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
        return {name: array for name in _LAYOUT if (array := getattr(self, name)) is not None}


def of_both(query: Descriptors, gallery: Descriptors, name: str) -> np.ndarray | None:
    """One array of the query, then of the gallery; None where one of them does not have it."""
    arrays = [side.arrays()[name] for side in (query, gallery) if name in side.arrays()]
    return np.concatenate(arrays) if len(arrays) == 2 else None


def require_one_model(query: str | None, gallery: str | None) -> None:
    """Refuse to compare descriptors of two models, by their names; None, where a name is not known, is accepted.

    Raises InvalidDescriptors.
    """
    if query and gallery and query != gallery:
        raise InvalidDescriptors(
            f"the query is described by the model {query}, the gallery by {gallery}; distances between the two mean "
            "nothing. Describe both with one model"
        )


def read_descriptors(path: Path, names: Collection[str] = tuple(_LAYOUT)) -> Descriptors:
    """Read a descriptor file: those of `names` that it has, and always `model` and the arrays that ranking needs.

    An .npz, or an .npy beside a CSV of the same stem (`qafm.retrieval.npy_files`), which has paths as well. Raises
    InvalidDescriptors for a file that is missing, is neither, lacks an array that ranking needs, is of a newer format,
    or holds an array that is pickled or not as `Descriptors` says.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidDescriptors(f"{path}: no such file; expected an .npz of descriptors, as `client eval` writes it")
    content = read_npy(path) if path.suffix.lower() == ".npy" else _read_npz(path, {*RANKED_FIELDS, *names})
    try:
        return Descriptors(**content)
    except InvalidDescriptors as error:
        raise InvalidDescriptors(f"{path}: {error}") from None


def write_descriptors(path: Path, descriptors: Descriptors) -> None:
    """Write an .npz of descriptors. A crash half-way leaves the file that was there before, or none."""
    with whole_file(Path(path)) as file:
        save_descriptors(file, descriptors)


def save_descriptors(file: BinaryIO, descriptors: Descriptors) -> None:
    """Write the content of an .npz of descriptors."""
    model = {} if descriptors.model is None else {"model": np.array(descriptors.model)}
    np.savez(file, format=np.array(FORMAT), **model, **descriptors.arrays())  # type: ignore[arg-type]


def _read_npz(path: Path, names: Collection[str]) -> dict[str, Any]:
    """The arguments of `Descriptors` that the file has; of its arrays only those in `names`."""
    if not zipfile.is_zipfile(path):
        raise InvalidDescriptors(
            f"{path}: not an .npz file; expected the descriptors that `client eval` writes, or an .npy beside a CSV"
        )
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as file:
            _check_format(path, file)
            if absent := [name for name in RANKED_FIELDS if name not in file]:
                raise InvalidDescriptors(
                    f"{path}: lacks the array(s) {', '.join(absent)}; "
                    f"expected at least {', '.join(RANKED_FIELDS)}, got {', '.join(file.files) or 'nothing'}"
                )
            content: dict[str, Any] = {
                name: _read(path, file, name) for name in _LAYOUT if name in file and name in names
            }
            if "model" in file:
                content["model"] = _model(path, _read(path, file, "model"))
            return content
    except InvalidDescriptors:
        raise
    except Exception as error:  # zipfile, zlib and NumPy share no type for a damaged file
        raise InvalidDescriptors(f"{path}: the file is damaged and cannot be read: {error}") from error


def _check_sizes(path: Path) -> None:
    """Before anything is unpacked: numbers are hardly smaller in a packed file."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    most = max(_UNPACKED, _PACKED_TIMES * path.stat().st_size)
    if unpacked > most:
        raise InvalidDescriptors(
            f"{path}: unpacks to {unpacked:,} bytes, from {path.stat().st_size:,}; at most {most:,} are read. Write it "
            "again with numpy.savez"
        )


def _check_format(path: Path, file: np.lib.npyio.NpzFile) -> None:
    if "format" not in file:
        return  # 1, or another program's
    number = _read(path, file, "format")
    if number.ndim or number.dtype.kind not in "iu" or number < 1:
        raise InvalidDescriptors(f"{path}: format is {number!r}; expected a whole number from 1 to {FORMAT}")
    if number > FORMAT:
        raise InvalidDescriptors(
            f"{path}: is of format {number}, and this version reads formats 1 to {FORMAT}: a newer version wrote it. "
            "Update this one, or write the file again with this version"
        )


def _model(path: Path, name: np.ndarray) -> str | None:
    if name.ndim or name.dtype.kind != "U":
        raise InvalidDescriptors(f"{path}: model is {name.dtype.name} {list(name.shape)}; expected one unicode text")
    return str(name) or None


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
    dtype = "unicode" if array.dtype.kind == "U" else array.dtype.name
    fits = array.ndim == 1 + len(sizes) and all(
        want in (None, got) for want, got in zip(sizes, array.shape[1:], strict=True)
    )
    if dtype != kind or not fits:
        raise InvalidDescriptors(f"{name} is {dtype} {list(array.shape)}; expected {expected}")
    if kind == "float32" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise InvalidDescriptors(f"{name} has a value that is not finite, first in row {row}")
