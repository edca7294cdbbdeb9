"""Where ONNX Runtime's build with OpenVINO is.

It is a package of the same name as the build without, so it has a folder of its own, which a process puts in front of
its other packages.
"""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT_VARIABLE = "QAFM_OPENVINO"
"""Names the folder, where it is another one; `server/onnxruntime_backend.py` reads it too."""
_MADE = Path(__file__).resolve().parent.parent / "build" / "openvino"


def openvino_folder() -> Path:
    """The folder in which OpenVINO is looked for, absolute: the one that is named, or what `make openvino` makes."""
    return Path(os.environ.get(ENVIRONMENT_VARIABLE) or _MADE).absolute()


def find_openvino() -> Path | None:
    """That folder, or none where OpenVINO is not in it."""
    folder = openvino_folder()
    return folder if (folder / "onnxruntime").is_dir() else None
