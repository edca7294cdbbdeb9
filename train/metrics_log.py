"""What a training measured: RUN/metrics.jsonl to compute with, RUN/tensorboard to look at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from train.files import whole_file, writing
from train.settings import StageName

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"


class MetricsLog:
    """The log of one stage, from step `first_step` on; what an earlier attempt logged from there is dropped.

    Without `enabled` it logs nothing: of several processes one keeps the log. Raises TrainingFailed where there is no
    room.
    """

    def __init__(self, run: Path, stage: StageName, first_step: int, *, enabled: bool) -> None:
        self.stage = stage
        self.path = run / METRICS_FILE
        self.file = self.board = None
        if enabled:
            _drop(self.path, stage, first_step)
            with writing(self.path):
                self.file = self.path.open("a")
                self.board = SummaryWriter(str(run / TENSORBOARD_FOLDER / stage), purge_step=first_step)

    def write(self, step: int, **values: float | Mapping[str, float]) -> None:
        """One line, and one curve for each number: `write(7, rate=1e-3, loss={"identity": 2.5})`."""
        if self.file is None or self.board is None:
            return
        with writing(self.path):
            self.file.write(json.dumps({"stage": self.stage, "step": step} | values) + "\n")
            for name, value in values.items():
                for part, number in value.items() if isinstance(value, Mapping) else [("", value)]:
                    self.board.add_scalar(f"{name}/{part}".strip("/"), number, step)

    def flush(self) -> None:
        if self.file is not None and self.board is not None:
            with writing(self.path):
                self.file.flush()
                self.board.flush()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.file is not None and self.board is not None:
            with writing(self.path):
                self.file.close()
                self.board.close()


def forget_metrics(run: Path, stage: StageName) -> None:
    """Drop all that was logged of a stage."""
    _drop(run / METRICS_FILE, stage, 0)
    shutil.rmtree(run / TENSORBOARD_FOLDER / stage, ignore_errors=True)


def _drop(path: Path, stage: StageName, first_step: int) -> None:
    if path.is_file():
        lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        records = [json.loads(line) for line in lines]
        kept = [record["stage"] != stage or record["step"] < first_step for record in records]
        with whole_file(path) as file:
            file.write("".join(line for line, keep in zip(lines, kept, strict=True) if keep).encode())
