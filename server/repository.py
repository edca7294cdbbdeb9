"""A model repository as a server takes it: its models, the configurations of a chosen name, and what must be there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from qafm.errors import ContractMismatch, ServerFailed
from server.integrity import check_files


class Repository:
    """The models in a folder, as `python -m export` writes them.

    config_name: serve `configs/<config_name>.pbtxt` in the models that have one ("tensorrt").
    """

    def __init__(self, folder: Path, config_name: str | None = None) -> None:
        self.folder = Path(folder).absolute()
        self.config_name = config_name

    def models(self) -> list[str]:
        return sorted(path.parent.name for path in self.folder.glob("*/config.pbtxt"))

    def variants(self) -> dict[str, Path]:
        """The models that have a configuration of the chosen name, and its file."""
        if not self.config_name:
            return {}
        return {path.parent.parent.name: path for path in self.folder.glob(f"*/configs/{self.config_name}.pbtxt")}

    def check(self) -> None:
        """Raises ServerFailed where it cannot be served, or where a file is not the one that was exported."""
        if not self.models():
            raise ServerFailed(
                f"no models in {self.folder}: expected folders with a config.pbtxt; "
                "export a trained run to it with `python -m export RUN`"
            )
        if re.search(r"\s", str(self.folder)):
            raise ServerFailed(
                f"the path {str(self.folder)!r} has a space, with which Triton starts no Python model; move the "
                "repository, or make a link to it without one"
            )
        # The server itself falls back to config.pbtxt without a word.
        if self.config_name and not self.variants():
            known = sorted({path.stem for path in self.folder.glob("*/configs/*.pbtxt")})
            raise ServerFailed(
                f"no model in {self.folder} has configs/{self.config_name}.pbtxt; "
                f"known names: {', '.join(known) or 'none'}. The export writes them: `python -m export RUN`, "
                "but none that fails its gate"
            )
        try:
            check_files(self.folder)
        except ContractMismatch as error:
            raise ServerFailed(f"the manifest in {self.folder} cannot be read: {error}") from error
        except OSError as error:
            raise ServerFailed(f"{error.filename}: cannot be read: {error.strerror}") from error

    def build_plans(self) -> None:
        """Have the plans of the chosen variant built where they are missing or do not fit this machine.

        Raises ServerFailed.
        """
        planned = sorted(model for model, path in self.variants().items() if backend(path) == "tensorrt")
        if not planned:
            return
        command = [sys.executable, "-m", "server.plans", str(self.folder), *planned]
        built = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if built.returncode:
            raise ServerFailed(built.stderr.strip().removeprefix("server: "))


def backend(config: Path) -> str | None:
    """The backend that a model configuration names."""
    line = re.search(r'^backend:\s*"(\w+)"', config.read_text(), re.MULTILINE)
    return line[1] if line else None
