"""Options that more than one command of this folder has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[Path, typer.Argument(help="A finished run.", exists=True)]
Data = Annotated[Path, typer.Option(help="Its dataset, with what is wrong with each picture.", exists=True)]
Out = Annotated[Path, typer.Option(help="Folder for what is described; what is there is read.")]
Results = Annotated[Path, typer.Option(help="The CSV file of the figures.")]
