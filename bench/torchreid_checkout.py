"""A checkout of torchreid, which is no dependency of the project: the benchmarks beside it are told where one lies."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import typer


def import_from(checkout: Path, folders: tuple[str, ...], *names: str) -> list[ModuleType]:
    """Modules by name, with `folders` of the checkout first on the path. Raises typer.BadParameter without torchreid.

    The folders stay on the path: worker processes and torchreid's own late imports look there too.
    """
    if not (checkout / "torchreid/__init__.py").is_file():
        raise typer.BadParameter(
            f"{checkout}: expected a checkout of torchreid, found no torchreid/__init__.py in it; "
            "clone KaiyangZhou/deep-person-reid and name its folder"
        )
    sys.path[:0] = [str((checkout / folder).resolve()) for folder in folders]
    return [importlib.import_module(name) for name in names]


def import_torchreid(checkout: Path) -> ModuleType:
    """The whole package. Raises typer.BadParameter."""
    for name in ("gdown", "cv2"):
        # It imports the first to download weights and datasets and the second to draw ranked lists, neither of which
        # is ever called here: where they are not installed, an empty module will do.
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            sys.modules[name] = ModuleType(name)
    (torchreid,) = import_from(checkout, (".",), "torchreid")
    return torchreid
