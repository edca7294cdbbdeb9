"""`python -m train`: from a dataset to a run that can be exported."""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from qafm.errors import QafmError, TrainingFailed
from train.pipeline import train
from train.settings import STAGES, load_preset, preset_names

StageChoice = Enum("StageChoice", {name: name for name in STAGES}, type=str)  # type: ignore[misc]


def main(
    preset: Annotated[
        str,
        typer.Option(help=f"Settings to train with: {', '.join(preset_names())}, or a .yaml file.", show_default=False),
    ],
    data: Annotated[
        Path, typer.Option(help="Folder of a dataset in a known layout, with attributes.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the run.", show_default=False)],
    stage: Annotated[StageChoice | None, typer.Option(help="Only this stage.", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run was interrupted.")] = False,
    weights: Annotated[
        str | None,
        typer.Option(help='First weights of the trunks: "imagenet", "none" or a file.', show_default="the preset's"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.", show_default="the preset's")] = None,
) -> None:
    """Train the image-quality network, the two branches and their fusion on a dataset.

    On several GPUs: torchrun --nproc-per-node N -m train ...
    """
    # torchrun numbers its processes: one of them speaks.
    console = Console(quiet=os.environ.get("RANK", "0") != "0")
    given = {"weights": weights, "seed": seed}
    try:
        settings = load_preset(preset, **{key: value for key, value in given.items() if value is not None})
        train(settings, data, out, stage=stage and stage.value, resume=resume, console=console)
    except (QafmError, OSError) as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1 if isinstance(error, TrainingFailed) else 2)
    console.print(f"[green]done[/]: {out}; next: python -m export {out}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
